//! Every step failed in turn: for good, and later-then-well; calls whose answers are lost; workers that fall silent
//! or do not stop; and what is refused before anything is touched.

use fluidcloud_conduit::relocation::{Fact, STEP_ATTEMPTS_MAX, Stage};
use fluidcloud_conduit::report::report;
use fluidcloud_proto::bus::Queue;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::topology::{Concern, Power, Severity};
use fluidcloud_providers::memory::{Guest, MemoryProvider, Op};
use fluidcloud_providers::{Error, Provider};

use crate::points::Act;
use crate::world::{Play, Script, World, content};
use crate::{invariants, play, play_with, points_of, simulate};

const FOR_EVER: usize = 1_000;

fn app(step: impl Fn(fluidcloud_proto::ids::ComponentName) -> StepId) -> StepId {
    step("app".parse().unwrap())
}

fn disk(step: impl Fn(fluidcloud_proto::ids::DiskId) -> StepId, name: &str) -> StepId {
    step(fluidcloud_proto::ids::DiskId { component: "app".parse().unwrap(), disk: name.parse().unwrap() })
}

/// The steps of workers.
fn tasks() -> Vec<StepId> {
    vec![
        app(StepId::Rehearse),
        disk(StepId::Prepare, "hda"),
        disk(StepId::Prepare, "hdb"),
        disk(StepId::Sync, "hda"),
        disk(StepId::Sync, "hdb"),
        app(StepId::Adapt),
        disk(StepId::Fold, "hdb"),
        app(StepId::Rewrite),
    ]
}

/// The provider calls of the conduit's own steps.
fn calls() -> Vec<(&'static str, Op)> {
    vec![
        ("cloud-a", Op::Inspect),
        ("cloud-a", Op::Surroundings),
        ("cloud-b", Op::Reserve),
        ("cloud-b", Op::MayKeep),
        ("cloud-b", Op::Furnish),
        ("cloud-a", Op::Addresses),
        ("cloud-a", Op::Power),
        ("cloud-a", Op::KeepSource),
        ("cloud-a", Op::Stop),
        ("cloud-a", Op::DisksStamp),
        ("cloud-b", Op::HoldAddresses),
        ("cloud-b", Op::CreateInstance),
        ("cloud-a", Op::TakeSnapshot),
        ("cloud-b", Op::SetAside),
        ("cloud-b", Op::KeepImage),
        ("cloud-b", Op::Start),
        ("cloud-b", Op::Addresses),
        ("cloud-b", Op::Power),
        ("cloud-b", Op::DeleteDisk),
        ("cloud-b", Op::Settle),
        ("cloud-a", Op::Settle),
    ]
}

pub fn cloud<'a>(world: &'a World, name: &str) -> &'a MemoryProvider {
    if name == "cloud-a" { &world.a } else { &world.b }
}

fn refusal() -> Error {
    Error::Unsupported { provider: "it".into(), what: "do this".into(), remedy: "do something else".into() }
}

fn trouble() -> Error {
    Error::TimedOut { what: "the provider".into(), secs: 1 }
}

#[test]
fn a_task_that_fails_for_good_rolls_everything_back() {
    for step in tasks() {
        let case = format!("{step} fails for good");
        let mut script = Script::default();
        let failure = Failure::never(Code::GuestUnsupported, "it is not so", "make it so");
        script.workers.fail = Some((step.clone(), failure.clone(), 1));
        let (ended, state, _) = play(&case, script);
        assert_eq!(ended, Phase::RolledBack, "{case}");
        assert_eq!(state.failure, Some(failure), "{case}");
    }
    println!("simulated cases: {}", tasks().len());
}

#[test]
fn a_task_that_fails_for_a_while_is_tried_again_and_its_bytes_are_counted() {
    let mut cases = 0;
    for step in tasks() {
        for times in 1..STEP_ATTEMPTS_MAX {
            let case = format!("{step} fails {times} times");
            let mut script = Script::default();
            script.workers.fail =
                Some((step.clone(), Failure::later(Code::Unreachable, "away", "wait"), times));
            let (ended, state, _) = play(&case, script);
            assert_eq!(ended, Phase::Succeeded, "{case}");
            assert_eq!(state.step(&step).unwrap().epoch.0, u64::from(times) + 1, "{case}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_task_that_fails_too_often_rolls_everything_back() {
    for step in tasks() {
        let case = format!("{step} fails for ever");
        let mut script = Script::default();
        script.workers.fail =
            Some((step.clone(), Failure::later(Code::Unreachable, "away", "wait"), u32::MAX));
        let (ended, state, _) = play(&case, script);
        assert_eq!(ended, Phase::RolledBack, "{case}");
        assert_eq!(state.step(&step).unwrap().failures, STEP_ATTEMPTS_MAX, "{case}");
    }
    println!("simulated cases: {}", tasks().len());
}

#[test]
fn a_call_that_fails_for_good_ends_the_relocation_and_undoes_what_was_done() {
    // What was to stay beside it is worth less than the move: see `decided`.
    let decisive = |op: Op| !matches!(op, Op::TakeSnapshot | Op::KeepImage);
    for (at, op) in calls().into_iter().filter(|(_, op)| decisive(*op)) {
        let case = format!("{op:?} at {at} fails for good");
        let (ended, state, _) = play_with(&case, Script::default(), |world| {
            cloud(world, at).fail_next(op, refusal());
        });
        let expected = match op {
            Op::Inspect | Op::Surroundings | Op::Reserve | Op::MayKeep => Phase::Failed,
            // Past the point of no return.
            Op::DeleteDisk | Op::Settle => Phase::Succeeded,
            _ => Phase::RolledBack,
        };
        assert_eq!(ended, expected, "{case}");
        if ended == Phase::Succeeded {
            let untidy = report(&state).concerns;
            assert!(untidy.iter().any(|concern| concern.severity == Severity::Warning), "{case}: {untidy:?}");
        }
    }
    println!("simulated cases: {}", calls().len());
}

#[test]
fn a_call_that_fails_for_a_while_is_made_again() {
    let mut cases = 0;
    for (at, op) in calls() {
        for times in 1..STEP_ATTEMPTS_MAX as usize {
            let case = format!("{op:?} at {at} fails {times} times");
            let (ended, _, _) = play_with(&case, Script::default(), |world| {
                (0..times).for_each(|_| cloud(world, at).fail_next(op, trouble()));
            });
            assert_eq!(ended, Phase::Succeeded, "{case}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_call_whose_answer_is_lost_is_the_same_as_one_call() {
    let mut cases = 0;
    for (at, op) in calls() {
        for nth in 1..=3 {
            let case = format!("the answer of {op:?} number {nth} at {at} is lost");
            let (ended, _, _) =
                play_with(&case, Script::default(), |world| cloud(world, at).lose_answer_at(op, nth));
            assert_eq!(ended, Phase::Succeeded, "{case}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_worker_that_falls_silent_is_fenced_and_its_late_answer_refused() {
    for step in tasks() {
        let case = format!("silent in {step}");
        let mut script = Script::default();
        script.workers.silent = Some(step.clone());
        let (ended, state, _) = play(&case, script);
        assert_eq!(ended, Phase::Succeeded, "{case}");
        assert_eq!(state.step(&step).unwrap().epoch.0, 2, "{case}: it was handed out twice");
    }
    println!("simulated cases: {}", tasks().len());
}

#[test]
fn work_that_finishes_although_it_was_canceled_is_undone_too() {
    let points = points_of(&Script::default());
    for (at, label) in points.iter().enumerate() {
        let case = format!("cancel at point {at}, {label}; the workers do not listen");
        let mut script = Script { acts: vec![(at, Act::Cancel)], ..Script::default() };
        script.workers.stubborn = true;
        let (ended, _, _) = play(&case, script);
        assert!(matches!(ended, Phase::Canceled | Phase::Succeeded), "{case}: {ended:?}");
    }
    println!("simulated cases: {}", points.len());
}

#[test]
fn a_silent_worker_does_not_keep_a_cancel_from_undoing() {
    let mut cases = 0;
    for step in tasks() {
        let points = points_of(&Script::default());
        let from = points.iter().position(|label| label == "after recording [\"step leased\"]").unwrap();
        for at in (from..points.len()).step_by(9) {
            let case = format!("silent in {step}, cancel at point {at}");
            let mut script = Script { acts: vec![(at, Act::Cancel)], ..Script::default() };
            script.workers.silent = Some(step.clone());
            let (ended, _, _) = play(&case, script);
            assert!(matches!(ended, Phase::Canceled | Phase::Succeeded), "{case}: {ended:?}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn an_answer_that_differs_from_the_sources_rolls_back_and_says_both() {
    let script = Script { wrong_at_target: true, ..Script::default() };
    let (ended, state, _) = play("wrong at target", script);
    assert_eq!(ended, Phase::RolledBack);
    let failure = state.failure.unwrap();
    assert_eq!(failure.code, Code::CheckFailed);
    assert!(failure.message.contains("at the source it was"), "{failure}");
}

#[test]
fn a_critical_concern_ends_it_before_anything_is_touched() {
    let (ended, state, world) = play_with("critical", Script::default(), |world| {
        // The same instance again, with a concern.
        world.a.seed(guest().concern(Concern {
            severity: Severity::Critical,
            subject: "shop".into(),
            message: "its disk is on the moon".into(),
            remedy: "bring it back".into(),
        }));
    });
    assert_eq!(ended, Phase::Failed);
    let failure = state.failure.unwrap();
    assert_eq!((failure.code, failure.remedy.as_str()), (Code::CriticalConcern, "bring it back"));
    assert!(only_looked_at(&world), "{:?}", world.a.calls());
}

fn only_looked_at(world: &World) -> bool {
    world.a.calls().iter().all(|call| matches!(call.op, Op::Inspect | Op::Surroundings | Op::MadeFor))
}

fn guest() -> Guest {
    Guest::new("shop")
        .running()
        .autostart()
        .disk("hda", content(3))
        .disk("hdb", content(5))
        .nic(crate::world::APP_MAC)
}

#[test]
fn no_offer_that_fits_is_told_with_every_reason() {
    let (ended, state, _) = play_with("no offer", Script::default(), |world| {
        let offer = |provider: &str, reason: &str| Offer {
            provider: provider.parse().unwrap(),
            fits: false,
            reasons: vec![reason.to_owned()],
        };
        world.answer_offers(vec![offer("cloud-b", "too small"), offer("cloud-c", "too far")]);
    });
    assert_eq!(ended, Phase::Failed);
    let failure = state.failure.unwrap();
    assert_eq!(failure.code, Code::NoOffer);
    assert!(failure.message.contains("too small") && failure.message.contains("too far"), "{failure}");
}

#[test]
fn an_offer_of_a_provider_that_is_not_configured_is_told_so() {
    let (ended, state, _) = play_with("unknown target", Script::default(), |world| {
        let offer = Offer { provider: "cloud-x".parse().unwrap(), fits: true, reasons: Vec::new() };
        world.answer_offers(vec![offer]);
    });
    assert_eq!((ended, state.failure.unwrap().code), (Phase::Failed, Code::UnknownProvider));
}

#[test]
fn an_instance_that_is_not_there_is_told_so() {
    let (ended, state, _) = play_with("unknown instance", Script::default(), |world| {
        let name = Error::UnknownInstance { provider: "cloud-a".into(), instance: "shop".into() };
        world.a.fail_next(Op::Inspect, name);
    });
    assert_eq!((ended, state.failure.unwrap().code), (Phase::Failed, Code::UnknownInstance));
}

#[test]
fn a_name_that_is_taken_at_the_target_is_told_so_and_left_alone() {
    let (ended, state, world) = play_with("name taken", Script::default(), |world| {
        world.b.seed(Guest::new("shop").disk("hda", content(77)));
    });
    assert_eq!((ended, state.failure.unwrap().code), (Phase::Failed, Code::NameTaken));
    assert!(world.b.inspect(&"shop".parse().unwrap()).await_now().is_ok());
}

/// For calls of the simulated clouds, which never wait.
trait AwaitNow: Future + Sized {
    fn await_now(self) -> Self::Output {
        simulate(self)
    }
}

impl<F: Future> AwaitNow for F {}

#[test]
fn a_source_that_somebody_starts_during_the_move_ends_it_before_the_target_runs() {
    simulate(async {
        let mut play = Play::new(Script::default());
        // As soon as the target is adapted, somebody starts the source.
        let adapted = |fact: &Fact| matches!(fact, Fact::StepDone { step: StepId::Adapt(name), .. } if name.as_str() == "app");
        let meddler = play.world.as_soon_as(adapted, |world| {
            world.a.set_power(&"shop".parse().unwrap(), Power::Running);
        });
        let state = play.run().await;
        meddler.await.unwrap();
        let ended = invariants::hold("source started", &play.world, &state).await;
        assert_eq!((ended, state.failure.unwrap().code), (Phase::RolledBack, Code::SourceChanged));
    });
}

#[test]
fn a_stopped_service_whose_answer_must_be_unchanged_is_refused() {
    let script = Script { stopped: true, ..Script::default() };
    let (ended, state, world) = play("stopped, with a check on what it answers", script);
    assert_eq!((ended, state.failure.unwrap().code), (Phase::Failed, Code::InvalidRequest));
    assert!(only_looked_at(&world), "{:?}", world.a.calls());
}

#[test]
fn every_source_call_failing_for_ever_before_the_freeze_leaves_it_running() {
    for op in [Op::Addresses, Op::Power, Op::KeepSource, Op::Stop, Op::DisksStamp] {
        let case = format!("{op:?} fails for ever");
        let (ended, state, _) = play_with(&case, Script::default(), |world| {
            (0..FOR_EVER).for_each(|_| world.a.fail_next(op, trouble()));
        });
        assert_eq!(ended, Phase::RolledBack, "{case}: {:?}", state.stage);
        assert!(matches!(state.stage, Stage::Ended { .. }));
    }
}

#[test]
fn what_nobody_understands_reaches_the_dead_letters_and_nothing_happens() {
    simulate(async {
        use fluidcloud_proto::bus::{Bus, Message};
        let mut play = Play::new(Script::default());
        let bus = play.world.bus.clone();
        bus.publish(&Queue::Requests, Message::new(b"{not json".to_vec())).await.unwrap();
        bus.publish(&Queue::Events, Message::new(b"{}".to_vec())).await.unwrap();
        bus.publish(&Queue::Control, Message::new(b"[]".to_vec())).await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("garbage", &play.world, &state).await, Phase::Succeeded);
        assert_eq!(bus.depth(&Queue::DeadLetters).await.unwrap().ready, 3);
    });
}
