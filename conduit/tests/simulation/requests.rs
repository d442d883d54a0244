//! Requests: the same again, the same id with another body, several at once, two for one instance, there and back.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_conduit::relocation::{Fact, Relocation};
use fluidcloud_conduit::status::phase;
use fluidcloud_conduit::{SqliteStore, Store};
use fluidcloud_proto::bus::{Bus, Message, Queue, publish_command};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::status::{Phase, RelocationStatus};
use fluidcloud_providers::Error;
use fluidcloud_providers::memory::{Guest, Op};

use crate::points::Act;
use crate::world::{Play, Script, World, content, request};
use crate::{invariants, play, simulate};

async fn ask(world: &World, request: &RelocationRequest) {
    let body = serde_json::to_vec(request).unwrap();
    world.bus.publish(&Queue::Requests, Message::new(body)).await.unwrap();
}

fn one_instance(id: RelocationId, from: &str, name: &str, target_name: Option<&str>) -> RelocationRequest {
    let mut json = serde_json::json!({
        "version": 1, "id": id, "target": {},
        "service": {"name": name, "provider": from, "components": [
            {"name": "only", "instance": {"id": name}},
        ]},
    });
    if let Some(target_name) = target_name {
        json["service"]["components"][0]["instance"]["target_name"] = target_name.into();
    }
    fluidcloud_proto::request::from_json(&serde_json::to_vec(&json).unwrap()).unwrap()
}

#[test]
fn the_same_request_again_is_the_same_relocation() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let again = request(play.world.id);
        // Another spelling of the same document.
        let pretty = serde_json::to_vec_pretty(&again).unwrap();
        play.world.bus.publish(&Queue::Requests, Message::new(pretty)).await.unwrap();
        ask(&play.world, &again).await;
        let state = play.run().await;
        assert_eq!(invariants::hold("same request", &play.world, &state).await, Phase::Succeeded);
        ask(&play.world, &again).await;
        let id = play.world.id;
        let state = play.run_again(&[id]).await.remove(0);
        assert_eq!(phase(&state), Phase::Succeeded);
        let facts = play.world.facts().await;
        assert_eq!(facts.iter().filter(|fact| matches!(fact, Fact::Requested { .. })).count(), 1);
        assert_eq!(play.world.bus.depth(&Queue::DeadLetters).await.unwrap().ready, 0);
    });
}

#[test]
fn the_same_id_with_another_body_is_refused_and_changes_nothing() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let mut notices = play.world.bus.watch().await.unwrap();
        let state = play.run().await;
        let mut other = request(play.world.id);
        other.service.name = "another".parse().unwrap();
        ask(&play.world, &other).await;
        let id = play.world.id;
        assert_eq!(play.run_again(&[id]).await.remove(0), state);
        let mut dead = play.world.bus.subscribe(&Queue::DeadLetters, 4).await.unwrap();
        let reason = dead.next().await.unwrap().reason.unwrap();
        assert!(reason.starts_with("conflicting_request") && reason.contains(&id.to_string()), "{reason}");
        let mut refused = None;
        while let Ok(message) = notices.try_recv() {
            if let Notice::RequestRefused { id, failure } = serde_json::from_slice(&message.body).unwrap() {
                refused = Some((id, failure.code));
            }
        }
        assert_eq!(refused, Some((Some(id), Code::ConflictingRequest)));
    });
}

#[test]
fn a_second_relocation_of_the_same_instance_is_refused_while_the_first_is_active() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let (first, second) = (play.world.id, RelocationId::new());
        ask(&play.world, &request(first)).await;
        ask(&play.world, &request(second)).await;
        let states = play.run_until_ended(&[first, second]).await;
        assert_eq!(invariants::hold("first of two", &play.world, &states[0]).await, Phase::Succeeded);
        assert_eq!(phase(&states[1]), Phase::Failed);
        let failure = states[1].failure.as_ref().unwrap();
        assert_eq!(failure.code, Code::ConflictingRequest);
        assert!(failure.message.contains(&first.to_string()), "{failure}");
    });
}

#[test]
fn a_source_that_is_only_kept_is_not_moved_again_unless_it_serves_again() {
    simulate(async {
        let mut play = Play::new(Script::default());
        assert_eq!(phase(&play.run().await), Phase::Succeeded);
        let second = RelocationId::new();
        ask(&play.world, &one_instance(second, "cloud-a", "shop", Some("shop-2"))).await;
        // Also after a restart: it is in the log, not in memory.
        let state = play.run_again(&[second]).await.remove(0);
        assert_eq!(phase(&state), Phase::Failed);
        let failure = state.failure.unwrap();
        assert_eq!(failure.code, Code::ConflictingRequest);
        assert!(failure.message.contains("is only kept") && failure.remedy.contains("cloud-b"), "{failure}");
    });
}

#[test]
fn more_relocations_than_may_be_active_wait_their_turn_and_all_succeed() {
    simulate(async {
        let mut play = Play::new(Script { active_max: Some(2), ..Script::default() });
        let mut ids = Vec::new();
        for number in 0..6_u8 {
            let name = format!("vm-{number}");
            let mac = format!("52:54:00:00:01:{number:02x}");
            play.world.a.seed(Guest::new(&name).running().disk("hda", content(number)).nic(&mac));
            let id = RelocationId::new();
            ask(&play.world, &one_instance(id, "cloud-a", &name, None)).await;
            ids.push(id);
        }
        let world = play.world.clone();
        let all = ids.clone();
        let watch = tokio::spawn(async move {
            let mut most = 0;
            loop {
                let mut active = 0;
                for id in &all {
                    let log = world.store.load(*id).await.unwrap();
                    let Ok(state) = Relocation::replay(*id, &log) else { continue };
                    active += usize::from(!matches!(phase(&state), Phase::Pending | Phase::Succeeded));
                }
                most = most.max(active);
                if active == 0 && most > 0 {
                    return most;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
        for state in play.run_until_ended(&ids).await {
            assert_eq!(phase(&state), Phase::Succeeded, "{:?}", state.failure);
        }
        assert_eq!(watch.await.unwrap(), 2);
        assert_eq!(play.world.objections(), Vec::<String>::new());
    });
}

#[test]
fn cancel_after_the_point_of_no_return_is_refused_and_shown() {
    let (_, _, world) = play("undisturbed", Script::default());
    let labels = world.points.seen();
    let commit = labels.iter().rposition(|label| label.starts_with("before keep_source")).unwrap();
    let recorded = labels[commit..].iter().position(|label| label.starts_with("after recording")).unwrap();
    let script = Script { acts: vec![(commit + recorded, Act::Cancel)], ..Script::default() };
    simulate(async {
        let mut play = Play::new(script);
        let mut notices = play.world.bus.watch().await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("late cancel", &play.world, &state).await, Phase::Succeeded);
        let mut shown = Vec::new();
        while let Ok(message) = notices.try_recv() {
            if let Notice::RelocationChanged { status } = serde_json::from_slice(&message.body).unwrap() {
                shown.extend(status.conditions);
            }
        }
        assert!(shown.iter().any(|condition| condition.starts_with("past_no_return")), "{shown:?}");
    });
}

#[test]
fn every_change_is_told_with_a_higher_revision_also_over_crashes_and_asked_for_again() {
    simulate(async {
        let acts = vec![(40, Act::Crash), (90, Act::Crash), (150, Act::Crash)];
        let mut play = Play::new(Script { acts, ..Script::default() });
        let mut notices = play.world.bus.watch().await.unwrap();
        play.run().await;
        assert_eq!(play.starts, 4);
        let mut phases: Vec<RelocationStatus> = Vec::new();
        while let Ok(message) = notices.try_recv() {
            if let Notice::RelocationChanged { status } = serde_json::from_slice(&message.body).unwrap() {
                if let Some(last) = phases.last() {
                    assert!(status.revision > last.revision, "{} then {}", last.revision, status.revision);
                }
                phases.push(*status);
            }
        }
        let mut order: Vec<Phase> = phases.iter().map(|status| status.phase).collect();
        order.dedup();
        let expected = [
            Phase::Pending,
            Phase::Inspecting,
            Phase::Planned,
            Phase::InitialSync,
            Phase::Adapting,
            Phase::Creating,
            Phase::Verifying,
            Phase::Succeeded,
        ];
        assert_eq!(order, expected);
        let moving = phases.iter().flat_map(|status| &status.transfers);
        let seen = moving.filter(|transfer| transfer.progress.bytes_done > 0).count();
        assert!(seen > 0, "progress is shown");

        publish_command(&*play.world.bus, &Queue::Control, &Control::Report).await.unwrap();
        let id = play.world.id;
        play.run_again(&[id]).await;
        let Notice::RelocationChanged { status } =
            serde_json::from_slice(&notices.try_recv().unwrap().body).unwrap()
        else {
            panic!("not a status")
        };
        assert_eq!((status.id, status.phase, status.report.is_some()), (id, Phase::Succeeded, true));
    });
}

#[test]
fn a_second_conduit_on_the_same_log_fences_the_first() {
    simulate(async {
        use fluidcloud_conduit::{Conduit, ConduitOptions, Error};
        let mut play = Play::new(Script::default());
        let world = play.world.clone();
        let first = tokio::spawn(async move {
            let registry = fluidcloud_providers::Registry::default();
            let options = ConduitOptions::new(
                world.bus.clone(),
                world.store.clone(),
                registry,
                Arc::new(world.keys.clone()),
            );
            Conduit::new(options).run(Default::default()).await
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        let state = play.run().await;
        assert_eq!(invariants::hold("two conduits", &play.world, &state).await, Phase::Succeeded);
        // It notices when it next wants to write.
        ask(&play.world, &one_instance(RelocationId::new(), "cloud-a", "shop", Some("x"))).await;
        let told = first.await.unwrap().unwrap_err();
        assert!(matches!(told, Error::Store(fluidcloud_conduit::store::Error::Fenced)), "{told}");
    });
}

#[test]
fn an_order_for_a_relocation_that_nobody_knows_is_a_dead_letter() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let cancel = Control::Cancel { relocation: RelocationId::new() };
        publish_command(&*play.world.bus, &Queue::Control, &cancel).await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("unknown order", &play.world, &state).await, Phase::Succeeded);
        let mut dead = play.world.bus.subscribe(&Queue::DeadLetters, 4).await.unwrap();
        let reason = dead.next().await.unwrap().reason.unwrap();
        assert!(reason.starts_with("unknown_relocation"), "{reason}");
    });
}

#[test]
fn the_log_in_sqlite_carries_a_relocation_over_crashes_too() {
    let points = crate::points_of(&Script::default());
    for at in (5..points.len()).step_by(23) {
        simulate(async {
            let dir = tempfile::tempdir().unwrap();
            let store = std::sync::Arc::new(SqliteStore::open(dir.path().join("log.sqlite")).unwrap());
            let script = Script { acts: vec![(at, Act::Crash)], ..Script::default() };
            let mut play = Play::on(script, store.clone());
            let state = play.run().await;
            assert_eq!(invariants::hold("sqlite", &play.world, &state).await, Phase::Succeeded);
            assert_eq!(store.ids().await.unwrap(), [play.world.id]);
        });
    }
}

#[test]
fn a_service_that_did_not_run_is_moved_and_runs_at_the_target() {
    simulate(async {
        let mut play = Play::new(Script { stopped: true, ..Script::default() });
        let id = RelocationId::new();
        ask(&play.world, &one_instance(id, "cloud-a", "shop-db", None)).await;
        let state = play.run_until_ended(&[id]).await.remove(0);
        assert_eq!(phase(&state), Phase::Succeeded, "{:?}", state.failure);
        assert_eq!(play.world.b.running_instances().len(), 1);
        assert!(play.world.a.running_instances().is_empty());
        assert_eq!(fluidcloud_conduit::report::report(&state).downtime_seconds, None, "it was down before");
    });
}

#[test]
fn a_service_that_did_not_run_is_not_started_by_an_undo() {
    simulate(async {
        let mut play = Play::new(Script { stopped: true, ..Script::default() });
        let refused =
            || Error::Unsupported { provider: "b".into(), what: "start".into(), remedy: "no".into() };
        play.world.b.fail_next(Op::Start, refused());
        let id = RelocationId::new();
        ask(&play.world, &one_instance(id, "cloud-a", "shop-db", None)).await;
        let state = play.run_until_ended(&[id]).await.remove(0);
        assert_eq!(phase(&state), Phase::RolledBack);
        assert!(play.world.a.running_instances().is_empty() && play.world.b.running_instances().is_empty());
    });
}

#[test]
fn a_service_of_one_instance_that_nothing_checks_is_moved_when_it_goes_on_running() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let id = RelocationId::new();
        ask(&play.world, &one_instance(id, "cloud-a", "shop-db", Some("moved-db"))).await;
        let state = play.run_until_ended(&[id]).await.remove(0);
        assert_eq!(phase(&state), Phase::Succeeded, "{:?}", state.failure);
        let at: Vec<String> = play.world.b.running_instances().iter().map(ToString::to_string).collect();
        assert_eq!(at, ["moved-db"]);
        assert!(play.world.b.calls().iter().any(|call| call.op == Op::Start));
    });
}

#[test]
fn a_rule_gets_the_address_that_another_component_then_has() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let state = play.run().await;
        assert_eq!(invariants::hold("addresses", &play.world, &state).await, Phase::Succeeded);
        let report = fluidcloud_conduit::report::report(&state);
        let diffs: Vec<&str> = report.rewritten.iter().map(|file| file.diff.as_str()).collect();
        assert_eq!(diffs, ["-a\n+10.0.0.2 10.9.9.9"]);
        let told: Vec<String> = report
            .addresses
            .iter()
            .map(|one| format!("{} {} {:?} {:?}", one.component, one.name, one.old, one.new))
            .collect();
        assert_eq!(
            told,
            ["app shop Some(10.0.0.1) Some(10.0.0.1)", "db shop-db Some(10.0.0.2) Some(10.0.0.2)"]
        );
    });
}
