//! Every undo failed in turn: for a while, and for ever until a person has helped.

use std::time::Duration;

use fluidcloud_conduit::relocation::UNDO_ATTEMPTS_MAX;
use fluidcloud_proto::bus::{Queue, publish_command};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::status::Phase;
use fluidcloud_providers::Error;
use fluidcloud_providers::memory::Op;

use crate::failures::cloud;
use crate::points::Act;
use crate::world::{Play, Script, World};
use crate::{invariants, play_with, points_of, simulate};

/// The calls that take something back, each only made in an undo, and the ones that let the undo begin late.
const UNDOS: [(&str, Op); 11] = [
    ("cloud-b", Op::Stop),
    ("cloud-b", Op::DeleteInstance),
    ("cloud-b", Op::ReleaseAddresses),
    ("cloud-a", Op::IsKept),
    ("cloud-a", Op::ReleaseSource),
    ("cloud-a", Op::Start),
    ("cloud-b", Op::DeleteDisk),
    ("cloud-b", Op::MadeFor),
    ("cloud-b", Op::DropImage),
    ("cloud-b", Op::DropAside),
    ("cloud-a", Op::DropSnapshot),
];

fn rolls_back() -> Script {
    Script { wrong_at_target: true, ..Script::default() }
}

fn fail(world: &World, at: &str, op: Op, times: u32) {
    for _ in 0..times {
        cloud(world, at).fail_next(op, Error::TimedOut { what: "the provider".into(), secs: 1 });
    }
}

#[test]
fn an_undo_that_fails_for_a_while_is_tried_again() {
    let mut cases = 0;
    for (at, op) in UNDOS {
        for times in [1, 2, 5, UNDO_ATTEMPTS_MAX - 1] {
            let case = format!("{op:?} at {at} fails {times} times");
            let (ended, _, _) = play_with(&case, rolls_back(), |world| fail(world, at, op, times));
            assert_eq!(ended, Phase::RolledBack, "{case}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn an_undo_whose_answer_is_lost_is_the_same_as_one_undo() {
    let mut cases = 0;
    for (at, op) in UNDOS {
        for nth in 1..=3 {
            let case = format!("the answer of {op:?} number {nth} at {at} is lost");
            let (ended, _, _) =
                play_with(&case, rolls_back(), |world| cloud(world, at).lose_answer_at(op, nth));
            assert_eq!(ended, Phase::RolledBack, "{case}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn an_undo_that_fails_for_ever_sticks_and_a_retry_after_help_finishes_it() {
    for (at, op) in UNDOS {
        for crash in [false, true] {
            simulate(async {
                let case = format!("{op:?} at {at} fails for ever, crash while stuck: {crash}");
                let mut play = Play::new(rolls_back());
                fail(&play.world, at, op, 1_000);
                let state = play.run().await;
                assert_eq!(invariants::hold(&case, &play.world, &state).await, Phase::Stuck, "{case}");
                let failure = state.failure.expect("a stuck relocation says why");
                assert!(
                    failure.message.contains("cannot undo") && failure.remedy.contains("retry"),
                    "{failure}"
                );

                // A person repairs the provider. The queue of faults is used up by asking.
                let cloud = cloud(&play.world, at).clone();
                while cloud_fails(&cloud, op, &play.world).await {}
                if crash {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                }
                let retry = Control::Retry { relocation: play.world.id };
                publish_command(&*play.world.bus, &Queue::Control, &retry).await.unwrap();
                let id = play.world.id;
                let state = play.run_again(&[id]).await.remove(0);
                assert_eq!(invariants::hold(&case, &play.world, &state).await, Phase::RolledBack, "{case}");
            });
        }
    }
    println!("simulated cases: {}", UNDOS.len() * 2);
}

/// Uses one waiting fault up by a call that changes nothing.
async fn cloud_fails(cloud: &fluidcloud_providers::memory::MemoryProvider, op: Op, world: &World) -> bool {
    use fluidcloud_providers::Provider;
    let nothing: fluidcloud_proto::ids::InstanceName = "nothing-of-this-name".parse().unwrap();
    let disk = fluidcloud_proto::ids::DiskId {
        component: "nothing".parse().unwrap(),
        disk: "nothing".parse().unwrap(),
    };
    let failed = match op {
        Op::Stop => cloud.stop(&nothing, Duration::ZERO).await.map(drop),
        Op::Start => cloud.start(&nothing).await,
        Op::IsKept => cloud.is_kept(&nothing, world.id).await.map(drop),
        Op::ReleaseSource => cloud.release_source(&nothing, world.id).await,
        Op::DeleteInstance => cloud.delete_instance(world.id, &nothing).await,
        Op::ReleaseAddresses => cloud.release_addresses(world.id, &nothing).await,
        Op::DeleteDisk => cloud.delete_disk(world.id, &disk).await,
        Op::MadeFor => cloud.made_for(world.id).await.map(|_| ()),
        Op::DropImage => cloud.keepsakes().unwrap().drop_image(world.id, &disk.component).await,
        Op::DropAside => cloud.keepsakes().unwrap().drop_aside(world.id, &disk.component).await,
        Op::DropSnapshot => cloud.keepsakes().unwrap().drop_snapshot(world.id, &disk.component).await,
        other => panic!("{other:?} is no undo"),
    };
    matches!(failed, Err(Error::TimedOut { .. }))
}

#[test]
fn a_crash_at_any_point_while_undos_fail_does_no_harm() {
    let mut cases = 0;
    let (at, op) = ("cloud-a", Op::Start);
    let points = points_of(&rolls_back());
    for point in (0..points.len() + 40).step_by(3) {
        let case = format!("{op:?} at {at} fails twice, crash at point {point}");
        let script = Script { acts: vec![(point, Act::Crash)], ..rolls_back() };
        let (ended, _, _) = play_with(&case, script, |world| fail(world, at, op, 2));
        assert_eq!(ended, Phase::RolledBack, "{case}");
        cases += 1;
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_commit_that_fails_takes_the_marks_back() {
    // The second of two sources cannot be marked as gone; both were marked as held when they stopped.
    let (ended, _, world) = play_with("keep_source fails", Script::default(), |world| {
        world.a.fail_at(Op::KeepSource, 4);
        for _ in 0..1_000 {
            world.a.fail_next(Op::Settle, Error::TimedOut { what: "it".into(), secs: 1 });
        }
    });
    // One failed call is tried again; that the marks are right in both ends is among the invariants.
    assert_eq!(ended, Phase::Succeeded);
    assert!(world.a.calls().iter().any(|call| call.op == Op::KeepSource && call.faulted));

    let refused = || Error::Unsupported { provider: "a".into(), what: "mark".into(), remedy: "do".into() };
    let (ended, _, _) = play_with("keep_source refused", Script::default(), |world| {
        world.a.fail_next(Op::KeepSource, refused());
    });
    assert_eq!(ended, Phase::RolledBack);
}

#[test]
fn what_is_left_by_nobodys_undo_is_swept() {
    let (ended, _, _) = play_with("scrap", rolls_back(), |world| {
        world.b.add_scrap(world.id, "/pool/forgotten.lock");
    });
    assert_eq!(ended, Phase::RolledBack);
}
