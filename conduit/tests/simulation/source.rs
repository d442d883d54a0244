//! What happens to the source behind our back: its host reboots, somebody writes to its disks, its guest does not
//! shut down.

use fluidcloud_conduit::relocation::Fact;
use fluidcloud_conduit::report::report;
use fluidcloud_conduit::status::phase;
use fluidcloud_proto::bus::Bus;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Power};
use fluidcloud_providers::Provider;
use fluidcloud_providers::memory::{Call, Guest, Op};

use crate::points::Act;
use crate::world::{APP_MAC, Play, Script, content};
use crate::{invariants, play, points_of, simulate};

#[test]
fn a_source_whose_host_reboots_at_any_point_never_runs_beside_the_target() {
    let mut cases = 0;
    for wrong_at_target in [false, true] {
        let script = Script { wrong_at_target, ..Script::default() };
        for (at, label) in points_of(&script).iter().enumerate() {
            let case = format!("reboot at point {at}, {label}, wrong at target: {wrong_at_target}");
            let acts = vec![(at, Act::SourceReboots)];
            let (ended, state, _) = play(&case, Script { acts, ..script.clone() });
            let expected = if wrong_at_target { Phase::RolledBack } else { Phase::Succeeded };
            assert_eq!(ended, expected, "{case}: {:?}", state.failure);
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_source_that_ran_and_was_stopped_again_during_the_move_ends_it_before_the_target_runs() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let synced = |fact: &Fact| matches!(fact, Fact::StepDone { step: StepId::Sync(disk), .. } if disk.component.as_str() == "app");
        let meddler = play.world.as_soon_as(synced, |world| {
            let shop = "shop".parse().unwrap();
            world.a.set_power(&shop, Power::Running);
            let place = DiskPlace { path: "/own/shop-hda".into(), format: DiskFormat::Raw };
            // What it writes is what was there: only the writing itself can be noticed.
            world.a.guest_writes(&place, 0, &content(3)[..8]);
            world.a.set_power(&shop, Power::Stopped);
        });
        let state = play.run().await;
        meddler.await.unwrap();
        let ended = invariants::hold("source written", &play.world, &state).await;
        let failure = state.failure.unwrap();
        assert_eq!((ended, failure.code), (Phase::RolledBack, Code::SourceChanged));
        assert!(failure.message.contains("written to"), "{failure}");
        let started = |call: &Call| call.op == Op::Start && call.subject == "shop";
        assert!(!play.world.b.calls().iter().any(started), "the target did not run");
    });
}

#[test]
fn a_guest_that_had_to_be_forced_off_is_told_while_it_moves_and_in_the_report() {
    simulate(async {
        let mut play = Play::new(Script { deaf: true, ..Script::default() });
        let mut notices = play.world.bus.watch().await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("deaf", &play.world, &state).await, Phase::Succeeded);
        let concerns = report(&state).concerns;
        assert!(
            concerns.iter().any(|concern| concern.subject == "app" && concern.message.contains("forced off"))
        );
        assert!(!concerns.iter().any(|concern| concern.subject == "db"), "{concerns:?}");
        let mut shown = Vec::new();
        while let Ok(message) = notices.try_recv() {
            if let Notice::RelocationChanged { status } = serde_json::from_slice(&message.body).unwrap() {
                shown.extend(status.conditions);
            }
        }
        assert!(shown.iter().any(|condition| condition.starts_with("unclean_stop: app")), "{shown:?}");
    });
}

#[test]
fn a_source_that_is_paused_when_it_should_stop_is_left_alone() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let observed = |fact: &Fact| matches!(fact, Fact::StepDone { step: StepId::Observe(_), .. });
        let meddler = play.world.as_soon_as(observed, |world| {
            world.a.set_power(&"shop-db".parse().unwrap(), Power::Other);
        });
        let state = play.run().await;
        meddler.await.unwrap();
        assert_eq!(phase(&state), Phase::RolledBack);
        assert_eq!(state.failure.unwrap().code, Code::SourceChanged);
        let touched = |call: &Call| matches!(call.op, Op::Stop | Op::Start) && call.subject == "shop-db";
        assert!(!play.world.a.calls().iter().any(touched), "whoever paused it had a reason");
        assert_eq!(play.world.a.power(&"shop-db".parse().unwrap()).await.unwrap(), Power::Other);
        assert_eq!(play.world.a.running_instances().len(), 1, "the other one runs again");
    });
}

#[test]
fn a_source_that_gets_another_disk_after_it_was_inspected_is_not_moved() {
    simulate(async {
        let mut play = Play::new(Script::default());
        let planned = |fact: &Fact| matches!(fact, Fact::Planned { .. });
        let meddler = play.world.as_soon_as(planned, |world| {
            // The same instance, and a volume that was attached now.
            let guest = Guest::new("shop").running().autostart().nic(APP_MAC);
            let guest = guest.disk("hda", content(3)).disk("hdb", content(5)).disk("hdc", content(9));
            world.a.seed(guest);
        });
        let state = play.run().await;
        meddler.await.unwrap();
        let ended = invariants::hold("another disk", &play.world, &state).await;
        let failure = state.failure.unwrap();
        assert_eq!((ended, failure.code), (Phase::RolledBack, Code::SourceChanged));
        assert!(failure.message.contains("disk hdc"), "{failure}");
    });
}

#[test]
fn a_source_that_cannot_be_started_for_minutes_runs_in_the_end() {
    simulate(async {
        let mut play = Play::new(Script { wrong_at_target: true, ..Script::default() });
        for _ in 0..12 {
            let away = fluidcloud_providers::Error::TimedOut { what: "the start".into(), secs: 1 };
            play.world.a.fail_next(Op::Start, away);
        }
        let state = play.run().await;
        let ended = invariants::hold("late start", &play.world, &state).await;
        assert_eq!(ended, Phase::RolledBack, "its host was away for minutes, and nobody was needed");
    });
}
