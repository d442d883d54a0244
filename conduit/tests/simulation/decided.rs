//! A move with all that its user decided: snapshot, image, key pair, security group, floating IP. Killed and canceled at every
//! point, and refused where it cannot be.

use std::sync::Arc;

use fluidcloud_conduit::report::report;
use fluidcloud_conduit::status::phase;
use fluidcloud_conduit::{Keys, Relocation, overview};
use fluidcloud_proto::bus::{Bus, Message, Queue};
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::request::from_json;
use fluidcloud_proto::status::Phase;
use fluidcloud_providers::memory::Op;
use fluidcloud_providers::{Made, Provider, Registry};
use serde_json::{Value, json};

use crate::points::Act;
use crate::simulate;
use crate::world::{Play, Script, World, content};

const PUBLIC: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkS9yFkkRNFSq0Vw5P5gJfSdhQfV1n2yq1yPqEuzsmN me@host";

/// A created key, a new group and a free address.
fn all() -> Value {
    json!({
        "snapshot": "before", "image": {"name": "golden", "format": "vmdk", "visibility": "shared"},
        "launch": {"keypair": {"create": "made-key"}, "security_group": {"new": "made-group"}, "floating_ip": "free"},
    })
}

async fn run(script: Script, decided: &Value, prepare: impl FnOnce(&World)) -> (Relocation, World) {
    let mut play = Play::new(script);
    play.world.b.seed_keypair("there");
    play.world.b.seed_address("172.24.4.7");
    prepare(&play.world);
    let mut instance = json!({"id": "shop-db", "target_name": "moved-db"});
    instance.as_object_mut().unwrap().extend(decided.as_object().unwrap().clone());
    let request = json!({
        "version": 1, "id": play.world.id, "target": {},
        "service": {"name": "shop", "provider": "cloud-a", "components": [{"name": "db", "instance": instance}]},
    });
    let request = from_json(&serde_json::to_vec(&request).unwrap()).unwrap();
    let message = Message::new(serde_json::to_vec(&request).unwrap());
    play.world.bus.publish(&Queue::Requests, message).await.unwrap();
    let id = play.world.id;
    (play.run_until_ended(&[id]).await.remove(0), play.world)
}

/// All of it is there, once, or nothing is.
async fn holds(case: &str, state: &Relocation, world: &World) -> Phase {
    let ended = phase(state);
    assert_eq!(world.objections(), [] as [&str; 0], "{case}");
    let keys = world.keys.standing(world.id).unwrap();
    let mut made = world.b.made_for(world.id).await.unwrap();
    made.sort();
    if ended != Phase::Succeeded {
        assert_eq!(made, [], "{case}: {ended:?}");
        assert_eq!(world.a.made_for(world.id).await.unwrap(), [], "{case}: {ended:?}");
        assert_eq!(keys, [], "{case}: of no use any more");
        assert_eq!(world.b.free_addresses(), 1, "{case}: what was lent is given back");
        return ended;
    }
    let furniture = |name: &str| Made::Furniture { what: name.to_owned() };
    for made_one in [
        furniture("key pair made-key"),
        furniture("security group made-group"),
        furniture("floating IP 172.24.4.7"),
        Made::Image { name: "golden".into() },
        Made::Instance { name: "moved-db".parse().unwrap() },
    ] {
        assert_eq!(
            made.iter().filter(|made| **made == made_one).count(),
            1,
            "{case}: {made_one:?} in {made:?}"
        );
    }
    // The network of its card, and its disk.
    assert_eq!(made.len(), 7, "{case}: {made:?}");
    assert_eq!(world.a.kept_bytes(), [("before".to_owned(), content(11).into())], "{case}");
    assert_eq!(keys.len(), 1, "{case}");
    ended
}

#[test]
fn each_decision_is_carried_out_and_told_of() {
    let (state, world) = simulate(run(Script::default(), &all(), |_| {}));
    simulate(async {
        assert_eq!(holds("undisturbed", &state, &world).await, Phase::Succeeded);
        let report = report(&state);
        let decided = |kind| {
            let all = report.furnished.iter();
            all.filter(|it| it.kind == kind && it.decided_for.is_some())
                .map(|it| (it.target.as_str(), it.made))
                .collect::<Vec<_>>()
        };
        assert_eq!(decided(FurnitureKind::Keypair), [("made-key", true)]);
        assert_eq!(decided(FurnitureKind::SecurityGroup), [("made-group", true)]);
        assert_eq!(decided(FurnitureKind::FloatingIp), [("172.24.4.7", false)]);
        let kept: Vec<_> =
            report.kept.iter().map(|kept| (kept.name.as_str(), kept.format.as_str())).collect();
        assert_eq!(kept, [("before", ""), ("golden", "vmdk")]);
        assert_eq!((report.keys[0].name.as_str(), report.keys[0].taken_at), ("made-key", None));

        // Nothing of the private half is in the log, the report or the cloud.
        let handed = world.keys.hand_out(world.id, None).unwrap();
        let secret: String = handed.private.reveal().lines().nth(2).unwrap().to_owned();
        let log = serde_json::to_string(&world.facts().await).unwrap();
        assert!(!log.contains(&secret) && !log.contains("PRIVATE KEY"));
        assert!(world.keys.hand_out(world.id, None).is_err(), "once");

        let registry = Registry::default().with(Arc::new(world.a.clone())).with(Arc::new(world.b.clone()));
        let now = time::OffsetDateTime::now_utc();
        let seen = overview(&registry, world.a.id(), &report, now).await.unwrap();
        let one = &seen.instances[0];
        assert_eq!((one.name.as_str(), one.details.status.as_str()), ("moved-db", "running"));
        assert_eq!(one.keypair.as_ref().unwrap().name, "made-key");
        assert_eq!(one.nics[0].security_groups, ["made-group"]);
        let kept: Vec<_> = one.kept.iter().map(|kept| (kept.provider.as_str(), kept.name.as_str())).collect();
        assert_eq!(kept, [("cloud-b", "golden"), ("cloud-a", "before")]);
        world.b.set_reachable(false);
        let failure = overview(&registry, world.a.id(), &report, now).await.unwrap_err();
        assert_eq!(failure.code, Code::Unreachable, "nothing is told from memory");
    });
}

#[test]
fn killed_or_canceled_at_every_point_all_of_it_is_there_once_or_nothing_is() {
    let points = simulate(run(Script::default(), &all(), |_| {})).1.points.seen();
    let mut cases = 0;
    for (at, point) in points.iter().enumerate() {
        for act in [Act::Crash, Act::Cancel] {
            let case = format!("{act:?} at {point} ({at})");
            let script = Script { acts: vec![(at, act)], ..Script::default() };
            simulate(async {
                let (state, world) = run(script, &all(), |_| {}).await;
                let ended = holds(&case, &state, &world).await;
                assert!(ended == Phase::Succeeded || act == Act::Cancel, "{case}: {ended:?}");
            });
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn what_cannot_be_kept_costs_nothing_but_itself() {
    for op in [Op::KeepImage, Op::TakeSnapshot] {
        simulate(async {
            let refusal = || fluidcloud_providers::Error::Unsupported {
                provider: "it".into(),
                what: "do this".into(),
                remedy: "do something else".into(),
            };
            let (state, world) = run(Script::default(), &all(), |world| {
                let cloud = if op == Op::TakeSnapshot { &world.a } else { &world.b };
                cloud.fail_next(op, refusal());
            })
            .await;
            assert_eq!(phase(&state), Phase::Succeeded, "{op:?}");
            assert_eq!(world.objections(), [] as [&str; 0], "{op:?}");
            let report = report(&state);
            let told = report.concerns.iter().filter(|concern| concern.message.contains("could not be"));
            assert_eq!(told.count(), 1, "{op:?}: {:?}", report.concerns);
            assert_eq!(report.kept.len(), 1, "{op:?}: the other one is there");
            let left = (world.a.kept_bytes().len(), world.b.kept_bytes().len());
            assert_eq!(left, if op == Op::TakeSnapshot { (0, 1) } else { (1, 0) }, "{op:?}");
        });
    }
}

#[test]
fn a_call_that_fails_or_whose_answer_is_lost_is_made_again() {
    let ops = [Op::MayKeep, Op::Furnish, Op::SetAside, Op::KeepImage, Op::TakeSnapshot];
    for op in ops {
        for lost in [false, true] {
            let case = format!("{op:?}, its answer lost: {lost}");
            simulate(async {
                let (state, world) = run(Script::default(), &all(), |world| {
                    let cloud = if op == Op::TakeSnapshot { &world.a } else { &world.b };
                    if lost { cloud.lose_answer_at(op, 1) } else { cloud.fail_at(op, 1) }
                })
                .await;
                assert_eq!(holds(&case, &state, &world).await, Phase::Succeeded, "{case}");
            });
        }
    }
}

#[test]
fn a_key_is_selected_imported_or_refused_before_the_source_stops() {
    let with = |launch: Value| json!({"launch": launch});
    let ended = |decided: Value| {
        simulate(async {
            let (state, world) = run(Script::default(), &decided, |_| {}).await;
            let stopped = state.steps.iter().any(|step| step.id.to_string() == "freeze db" && step.begun());
            (phase(&state), state.failure.map(|failure| failure.code), stopped, world.b.default_rules())
        })
    };
    let (ok, refused) = (Phase::Succeeded, Phase::RolledBack);
    assert_eq!(ended(with(json!({"keypair": {"select": "there"}}))), (ok, None, true, 0));
    let import = json!({"keypair": {"import": {"name": "mine", "public_key": PUBLIC}}});
    assert_eq!(ended(with(import)), (ok, None, true, 0));
    let nobody = with(json!({"keypair": {"select": "nobody"}}));
    assert_eq!(ended(nobody), (refused, Some(Code::UnknownKey), false, 0));
    let taken = with(json!({"keypair": {"create": "there"}}));
    assert_eq!(ended(taken), (refused, Some(Code::NameTaken), false, 0));
    let public = json!({"image": {"name": "golden", "visibility": "public"}});
    assert_eq!(ended(public), (Phase::Failed, Some(Code::Provider), false, 0), "before anything is made");
}

#[test]
fn without_a_free_address_it_is_refused_with_the_remedy() {
    simulate(async {
        let free = json!({"launch": {"floating_ip": "free"}});
        let mut play = Play::new(Script::default());
        let request = json!({
            "version": 1, "id": play.world.id, "target": {},
            "service": {"name": "shop", "provider": "cloud-a", "components": [{"name": "db", "instance": {
                "id": "shop-db", "launch": free["launch"]}}]},
        });
        let message = Message::new(serde_json::to_vec(&request).unwrap());
        play.world.bus.publish(&Queue::Requests, message).await.unwrap();
        let id = play.world.id;
        let state = play.run_until_ended(&[id]).await.remove(0);
        let failure = state.failure.unwrap();
        assert!(failure.remedy.contains("floating_ip: new"), "{failure}");
    });
}
