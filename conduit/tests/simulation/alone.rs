//! Volumes, images and containers that move without an instance, or beside one: killed and canceled at every point, and what
//! is left of them when it fails.

use std::collections::BTreeMap;

use fluidcloud_conduit::Relocation;
use fluidcloud_conduit::report::report;
use fluidcloud_conduit::status::phase;
use fluidcloud_proto::alone::disk_of;
use fluidcloud_proto::bus::{Bus, Message, Queue};
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::request::from_json;
use fluidcloud_proto::status::Phase;
use fluidcloud_providers::memory::Op;
use fluidcloud_providers::{Error, Made, Object, ObjectKind, Provider};
use serde_json::{Value, json};

use crate::points::Act;
use crate::simulate;
use crate::world::{Play, Script, World, content};

fn lone() -> Vec<Value> {
    vec![
        json!({"name": "data", "volume": {"id": "data", "target_name": "moved-data"}}),
        json!({"name": "base", "image": {"id": "debian"}}),
        json!({"name": "photos", "container": {"id": "photos", "target_name": "pictures"}}),
    ]
}

fn with_a_database() -> Vec<Value> {
    let mut components = lone();
    components.push(json!({"name": "db", "needs": ["photos"], "instance": {"id": "shop-db"}}));
    components
}

fn seed(world: &World) {
    world.a.seed_volume("data", content(7));
    world.a.seed_image("debian", b"an image of bytes");
    world.a.seed_container("photos", &[("color", "blue")]);
    for number in 0..5_u8 {
        put(world, &format!("photo-{number}"), &[number; 9]);
    }
}

fn put(world: &World, name: &str, bytes: &[u8]) {
    let headers = BTreeMap::from([("content-type".into(), "image/png".into())]);
    let object =
        Object { name: name.into(), bytes: 0, digest: String::new(), kind: ObjectKind::Plain, headers };
    world.a.seed_object("photos", object, bytes, &[]);
}

async fn run(script: Script, components: Vec<Value>, prepare: impl FnOnce(&World)) -> (Relocation, World) {
    let mut play = Play::new(script);
    seed(&play.world);
    prepare(&play.world);
    let id: RelocationId = play.world.id;
    let request = json!({
        "version": 1, "id": id, "target": {},
        "service": {"name": "goods", "provider": "cloud-a", "components": components},
    });
    from_json(&serde_json::to_vec(&request).unwrap()).expect("a valid request");
    let message = Message::new(serde_json::to_vec(&request).unwrap());
    play.world.bus.publish(&Queue::Requests, message).await.unwrap();
    let state = play.run_until_ended(&[id]).await.remove(0);
    (state, play.world)
}

/// Either all of it is there, or nothing; and the source is as it was.
async fn holds(case: &str, state: &Relocation, world: &World) -> Phase {
    let ended = phase(state);
    assert_eq!(world.objections(), [] as [String; 0], "{case}");
    let (source, target) = (world.a.all_objects(), world.b.all_objects());
    assert!(source["photos"].len() >= 5, "{case}: the source's objects");
    assert_eq!(world.a.image_bytes("debian").as_deref(), Some(&b"an image of bytes"[..]), "{case}");
    let made = world.b.made_for(world.id).await.unwrap();
    if ended != Phase::Succeeded {
        assert_eq!((made, target.len()), (vec![], 0), "{case}: something is left");
        return ended;
    }
    assert_eq!(target["pictures"], source["photos"], "{case}: the objects");
    let color = world.b.container_metadata("pictures").unwrap();
    assert_eq!(color.get("color").map(String::as_str), Some("blue"), "{case}");
    assert_eq!(world.b.image_bytes("debian"), world.a.image_bytes("debian"), "{case}: the image");
    let place = state.prepared(&disk_of(&"data".parse().unwrap())).expect("a disk");
    assert_eq!(world.b.disk_bytes(place), Some(content(7)), "{case}: the volume");
    assert_eq!(world.b.disk_name(place).as_deref(), Some("moved-data"), "{case}: its name");
    let scraps: Vec<_> = made.iter().filter(|made| matches!(made, Made::Scrap { .. })).collect();
    assert!(scraps.is_empty(), "{case}: {scraps:?}");
    let told = report(state);
    assert_eq!((told.volumes.len(), told.images.len(), told.containers.len()), (1, 1, 1), "{case}");
    assert_eq!(told.volumes[0].name, "moved-data", "{case}");
    ended
}

#[test]
fn a_service_without_instances_moves() {
    simulate(async {
        let (state, world) = run(Script::default(), lone(), |_| {}).await;
        assert_eq!(holds("alone", &state, &world).await, Phase::Succeeded, "{:?}", state.failure);
        let told = report(&state);
        assert_eq!((told.downtime_seconds, told.target, told.transfers.len()), (None, None, 1));
    });
}

#[test]
fn a_container_beside_an_instance_is_looked_at_again_when_that_has_stopped() {
    simulate(async {
        let (state, world) = run(Script::default(), with_a_database(), |world| {
            let is = |step: &StepId| matches!(step, StepId::Copy(name) if name.as_str() == "photos");
            world.as_soon_as(
                move |fact| matches!(fact, fluidcloud_conduit::relocation::Fact::StepDone { step, .. } if is(step)),
                |world| put(world, "written-late", b"late"),
            );
        })
        .await;
        assert_eq!(holds("beside", &state, &world).await, Phase::Succeeded, "{:?}", state.failure);
        let told = report(&state);
        assert_eq!(told.instances.len(), 1);
        assert_eq!((told.containers[0].objects, told.containers[0].copied), (6, 6));
    });
}

#[test]
fn a_crash_or_a_cancel_at_any_point_leaves_all_or_nothing() {
    let points = simulate(run(Script::default(), lone(), |_| {})).1.points.seen();
    let mut cases = 0;
    for (at, label) in points.iter().enumerate() {
        for act in [Act::Crash, Act::Cancel, Act::WorkersDie] {
            let case = format!("{act:?} at point {at}, {label}");
            simulate(async {
                let script = Script { acts: vec![(at, act)], ..Script::default() };
                let (state, world) = run(script, lone(), |_| {}).await;
                let ended = holds(&case, &state, &world).await;
                let fits = ended == Phase::Succeeded || (act == Act::Cancel && ended == Phase::Canceled);
                assert!(fits, "{case}: {ended:?} {:?}", state.failure);
            });
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_volume_in_use_stops_the_move_before_it_begins() {
    simulate(async {
        let (state, world) =
            run(Script::default(), lone(), |world| world.a.attach_volume("data", true)).await;
        assert_eq!(holds("attached", &state, &world).await, Phase::Failed);
        let failure = state.failure.unwrap();
        assert_eq!((failure.code, failure.remedy.as_str()), (Code::CriticalConcern, "detach it first"));
    });
}

#[test]
fn a_volume_that_was_used_meanwhile_ends_the_move() {
    for attached in [true, false] {
        simulate(async {
            let (state, world) = run(Script::default(), lone(), |world| {
                world.as_soon_as(
                    |fact| {
                        matches!(
                            fact,
                            fluidcloud_conduit::relocation::Fact::StepLeased { step: StepId::Sync(_), .. }
                        )
                    },
                    move |world| world.a.attach_volume("data", attached),
                );
            })
            .await;
            let case = format!("attached meanwhile, and still: {attached}");
            assert_eq!(holds(&case, &state, &world).await, Phase::RolledBack, "{case}");
            assert_eq!(state.failure.unwrap().code, Code::SourceChanged, "{case}");
        });
    }
}

#[test]
fn names_that_are_taken_are_told_before_anything_is_made() {
    simulate(async {
        let (state, world) =
            run(Script::default(), lone(), |world| world.b.seed_container("pictures", &[])).await;
        assert_eq!(phase(&state), Phase::Failed, "{:?}", state.failure);
        assert_eq!(state.failure.unwrap().code, Code::NameTaken);
        assert!(world.b.all_objects()["pictures"].is_empty());
        assert_eq!(world.b.made_for(world.id).await.unwrap(), []);
    });
}

#[test]
fn what_is_not_there_is_told_by_its_kind() {
    for (component, code) in [
        (json!({"name": "x", "volume": {"id": "none"}}), Code::UnknownDisk),
        (json!({"name": "x", "image": {"id": "none"}}), Code::UnknownImage),
        (json!({"name": "x", "container": {"id": "none"}}), Code::UnknownContainer),
    ] {
        simulate(async {
            let (state, world) = run(Script::default(), vec![component], |_| {}).await;
            assert_eq!(phase(&state), Phase::Failed);
            assert_eq!(state.failure.unwrap().code, code);
            assert_eq!(world.b.made_for(world.id).await.unwrap(), []);
        });
    }
}

#[test]
fn a_call_that_fails_for_a_while_is_made_again_and_one_that_fails_for_good_undoes_all() {
    let calls = [
        ("cloud-a", Op::LookAtVolume, Phase::Failed),
        ("cloud-a", Op::LookAtImage, Phase::Failed),
        ("cloud-a", Op::LookAtContainer, Phase::Failed),
        ("cloud-b", Op::PutImage, Phase::RolledBack),
        ("cloud-b", Op::MakeContainer, Phase::RolledBack),
        ("cloud-b", Op::WriteObject, Phase::RolledBack),
        // Past the point of no return.
        ("cloud-b", Op::NameDisk, Phase::Succeeded),
    ];
    for (at, op, expected) in calls {
        for heals in [true, false] {
            simulate(async {
                let case = format!("{op:?} at {at} fails, heals: {heals}");
                let error = match heals {
                    true => Error::TimedOut { what: "it".into(), secs: 1 },
                    false => {
                        Error::Unsupported { provider: "x".into(), what: "y".into(), remedy: "z".into() }
                    }
                };
                let (state, world) = run(Script::default(), lone(), |world| {
                    crate::failures::cloud(world, at).fail_next(op, error);
                })
                .await;
                if heals || expected != Phase::Succeeded {
                    let ended = holds(&case, &state, &world).await;
                    assert_eq!(ended, if heals { Phase::Succeeded } else { expected }, "{case}");
                } else {
                    assert_eq!(phase(&state), expected, "{case}");
                }
            });
        }
    }
}
