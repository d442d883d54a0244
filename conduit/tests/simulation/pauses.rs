//! Paused and resumed at every point, and cutovers that a person approves: nothing happens meanwhile, and it ends as it would
//! have without; also together with crashes, cancels, deaf workers, lost workers and everything said twice.

use std::time::Duration;

use fluidcloud_conduit::relocation::{Fact, Relocation};
use fluidcloud_conduit::status::phase;
use fluidcloud_proto::bus::{Bus, Message, Queue};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::request::{Cutover, RelocationRequest};
use fluidcloud_proto::status::Phase;
use fluidcloud_providers::memory::Guest;

use crate::crashes::{at_every_point, fails_its_check};
use crate::points::Act;
use crate::world::{Play, Script, World, content, request};
use crate::{invariants, play, points_of, simulate};

/// What was under way has ended by then, also when a worker has to be given up.
const RESTS_WITHIN: Duration = Duration::from_secs(250);
/// A pause that is longer than anything in a relocation, and longer than what counts as stalled.
const LONG: u64 = 400;

/// What becomes of a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Resume,
    Cancel,
}

/// All that a relocation leaves in the world.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    facts: usize,
    calls: usize,
    published: usize,
    busy: usize,
}

async fn traces(world: &World) -> Traces {
    // What others do, which a pause does not hold: a conduit that is started again, and a person who approves.
    let by_others = |fact: &Fact| matches!(fact, Fact::Resumed | Fact::CutoverApproved);
    let published = world.points.seen();
    let busy = world.worker_counts().lock().unwrap().busy.len();
    Traces {
        facts: world.facts().await.iter().filter(|fact| !by_others(fact)).count(),
        calls: world.a.calls().len() + world.b.calls().len(),
        published: published.iter().filter(|label| label.starts_with("before publishing")).count(),
        busy,
    }
}

async fn say(world: &World, message: &Message) {
    world.bus.publish(&Queue::Control, message.clone()).await.unwrap();
}

fn order(control: &Control) -> Message {
    Message::new(serde_json::to_vec(control).unwrap())
}

/// Pauses, looks whether anything happens, and goes on. Each order is delivered again later, as may happen.
pub async fn pause(world: World, secs: u64, then: Then) {
    let relocation = world.id;
    let pause = order(&Control::Pause { relocation });
    let go_on = order(&match then {
        Then::Resume => Control::Resume { relocation },
        Then::Cancel => Control::Cancel { relocation },
    });
    say(&world, &pause).await;
    say(&world, &pause).await;
    let long = Duration::from_secs(secs);
    if long > RESTS_WITHIN {
        tokio::time::sleep(RESTS_WITHIN).await;
        let at_rest = traces(&world).await;
        tokio::time::sleep(long - RESTS_WITHIN).await;
        // It may have come too late, or what was under way may have turned the relocation back.
        let held = world.state().await.is_some_and(|state| state.is_paused());
        let now = traces(&world).await;
        if held && (now != at_rest || now.busy > 0) {
            world.object(format!("something happens while it is paused: {at_rest:?}, then {now:?}"));
        }
    } else {
        tokio::time::sleep(long).await;
    }
    for message in [&go_on, &pause, &go_on, &pause] {
        say(&world, message).await;
    }
}

/// Approves some time after everything is ready, and looks whether anything happens until then.
pub async fn approve_when_ready(world: World) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let Some(state) = world.state().await else { continue };
        if state.is_ended() {
            return;
        }
        if state.awaits_approval() {
            break;
        }
    }
    // The last of what was said is on its way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (waiting, running) = (traces(&world).await, world.a.running_instances().len());
    tokio::time::sleep(Duration::from_secs(300)).await;
    let still = world.state().await.is_some_and(|state| state.awaits_approval());
    let now = traces(&world).await;
    if still && now.facts == waiting.facts && (now != waiting || now.busy > 0) {
        world.object(format!("something happens before it is approved: {waiting:?}, then {now:?}"));
    }
    if still && world.a.running_instances().len() != running {
        world.object("a source was stopped before it was approved".to_owned());
    }
    let approve = order(&Control::Approve { relocation: world.id });
    say(&world, &approve).await;
    say(&world, &approve).await;
}

fn nothing_counts_as_failed(case: &str, state: &Relocation) {
    for step in &state.steps {
        assert_eq!((step.failures, &step.failure), (0, &None), "{case}: {}", step.id);
    }
}

#[test]
fn a_pause_at_any_point_lets_nothing_happen_and_then_it_succeeds_as_without_it() {
    let points = points_of(&Script::default());
    let (mut cases, mut rested) = (0, 0);
    for secs in [1, 4, LONG] {
        for (at, label) in points.iter().enumerate() {
            let case = format!("paused for {secs} s at point {at}, {label}");
            let script = Script { acts: vec![(at, Act::PauseFor(secs))], ..Script::default() };
            let (ended, state, _) = play(&case, script);
            assert_eq!(ended, Phase::Succeeded, "{case}: {:?}", state.failure);
            nothing_counts_as_failed(&case, &state);
            let transfers = state.steps.iter().filter(|step| matches!(step.id, StepId::Sync(_)));
            rested += transfers.map(|step| step.rests).sum::<u64>();
            cases += 1;
        }
    }
    assert!(rested > 0, "some transfer was under way");
    println!("simulated cases: {cases}, transfers brought to rest: {rested}");
}

#[test]
fn a_pause_at_any_point_of_a_relocation_that_fails_rolls_back_as_without_it() {
    let cases = at_every_point(&fails_its_check(), Act::PauseFor(LONG), &[Phase::RolledBack]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_cancel_of_what_was_paused_at_any_point_undoes_everything_or_comes_too_late() {
    let ends = [Phase::Canceled, Phase::Succeeded];
    let mut cases = at_every_point(&Script::default(), Act::PauseAndCancel(LONG), &ends);
    cases += at_every_point(&Script::default(), Act::PauseAndCancel(2), &ends);
    println!("simulated cases: {cases}");
}

#[test]
fn a_conduit_killed_soon_after_a_pause_is_still_paused_when_it_is_started_again() {
    let points = points_of(&Script::default());
    let mut cases = 0;
    for (at, label) in points.iter().enumerate() {
        for later in [1, 2, 5] {
            let case = format!("paused at point {at}, {label}; crash {later} points later");
            let acts = vec![(at, Act::PauseFor(LONG)), (at + later, Act::CrashFor(20))];
            let (ended, state, _) = play(&case, Script { acts, ..Script::default() });
            assert_eq!(ended, Phase::Succeeded, "{case}: {:?}", state.failure);
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_pause_with_workers_that_do_not_listen_fall_silent_or_die_is_a_pause_all_the_same() {
    let points = points_of(&Script::default());
    let app = "app".parse().unwrap();
    let disk = fluidcloud_proto::ids::DiskId { component: app, disk: "hda".parse().unwrap() };
    let mut cases = 0;
    for at in (0..points.len()).step_by(3) {
        for how in ["stubborn", "silent", "dead"] {
            let case = format!("paused at point {at}, workers: {how}");
            let mut script = Script { acts: vec![(at, Act::PauseFor(LONG))], ..Script::default() };
            match how {
                "stubborn" => script.workers.stubborn = true,
                "silent" => script.workers.silent = Some(StepId::Sync(disk.clone())),
                _ => script.acts.push((at + 1, Act::WorkersDie)),
            }
            let (ended, state, _) = play(&case, script);
            assert_eq!(ended, Phase::Succeeded, "{case}: {:?}", state.failure);
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_pause_while_everything_is_said_twice_and_out_of_order_is_a_pause_all_the_same() {
    let script = Script { echo: Some((7_001, 20_000)), ..Script::default() };
    let points = points_of(&script);
    for at in (0..points.len()).step_by(3) {
        let case = format!("echo, paused at point {at}");
        let (ended, state, _) =
            play(&case, Script { acts: vec![(at, Act::PauseFor(LONG))], ..script.clone() });
        assert_eq!(ended, Phase::Succeeded, "{case}: {:?}", state.failure);
    }
    println!("simulated cases: {}", points.len() / 3);
}

#[test]
fn a_second_pause_soon_after_the_first_was_resumed_holds_too() {
    let points = points_of(&Script::default());
    for at in (0..points.len()).step_by(2) {
        let case = format!("paused at point {at}, and soon again");
        let acts = vec![(at, Act::PauseFor(3)), (at + 4, Act::PauseFor(LONG))];
        let (ended, state, _) = play(&case, Script { acts, ..Script::default() });
        assert_eq!(ended, Phase::Succeeded, "{case}: {:?}", state.failure);
        nothing_counts_as_failed(&case, &state);
    }
    println!("simulated cases: {}", points.len() / 2);
}

#[test]
fn a_paused_relocation_says_so_and_never_looks_stalled() {
    let points = points_of(&Script::default());
    let at = points.iter().position(|label| label.contains("step leased")).unwrap();
    simulate(async {
        let mut play = Play::new(Script { acts: vec![(at, Act::PauseFor(LONG))], ..Script::default() });
        let mut notices = play.world.bus.watch().await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("paused", &play.world, &state).await, Phase::Succeeded);
        let mut conditions = Vec::new();
        while let Ok(message) = notices.try_recv() {
            if let Notice::RelocationChanged { status } = serde_json::from_slice(&message.body).unwrap() {
                assert!(status.conditions.is_empty() || status.eta_seconds.is_none(), "{status:?}");
                conditions.extend(status.conditions);
            }
        }
        conditions.dedup();
        assert_eq!(conditions, ["paused"]);
    });
}

fn manual() -> Script {
    Script { manual: true, ..Script::default() }
}

#[test]
fn a_manual_cutover_waits_with_the_source_running_and_succeeds_when_it_is_approved() {
    simulate(async {
        let mut play = Play::new(manual());
        let mut notices = play.world.bus.watch().await.unwrap();
        let state = play.run().await;
        assert_eq!(invariants::hold("manual", &play.world, &state).await, Phase::Succeeded);
        let mut phases = Vec::new();
        while let Ok(message) = notices.try_recv() {
            if let Notice::RelocationChanged { status } = serde_json::from_slice(&message.body).unwrap() {
                let waits = status.phase == Phase::AwaitingCutover;
                assert!(
                    !waits || (status.conditions.is_empty() && status.eta_seconds.is_none()),
                    "{status:?}"
                );
                phases.push(status.phase);
            }
        }
        phases.dedup();
        let expected = [
            Phase::Pending,
            Phase::Inspecting,
            Phase::Planned,
            Phase::InitialSync,
            Phase::AwaitingCutover,
            Phase::FinalSync,
            Phase::Adapting,
            Phase::Creating,
            Phase::Verifying,
            Phase::Succeeded,
        ];
        let ready = phases.iter().position(|phase| *phase == Phase::AwaitingCutover);
        assert!(ready.is_some(), "{phases:?}");
        assert!(
            expected.iter().filter(|phase| phases.contains(phase)).eq(&phases),
            "in this order: {phases:?}"
        );
    });
}

#[test]
fn a_conduit_killed_at_any_point_before_or_while_it_waits_for_approval_goes_on() {
    let cases = at_every_point(&manual(), Act::Crash, &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn an_approval_at_any_point_counts() {
    let cases = at_every_point(&manual(), Act::Approve, &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_cancel_at_any_point_of_a_manual_cutover_undoes_everything_or_comes_too_late() {
    let cases = at_every_point(&manual(), Act::Cancel, &[Phase::Canceled, Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_pause_at_any_point_of_a_manual_cutover_holds_and_then_it_succeeds() {
    let cases = at_every_point(&manual(), Act::PauseFor(LONG), &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn one_that_waits_for_a_person_keeps_no_other_from_beginning() {
    simulate(async {
        let mut play = Play::new(Script { active_max: Some(1), ..Script::default() });
        let first = RelocationRequest { cutover: Cutover::Manual, ..request(play.world.id) };
        let second: RelocationId = RelocationId::new();
        let other = serde_json::json!({
            "version": 1, "id": second, "target": {},
            "service": {"name": "other", "provider": "cloud-a", "components": [
                {"name": "only", "instance": {"id": "other"}},
            ]},
        });
        play.world.a.seed(Guest::new("other").running().disk("hda", content(1)).nic("52:54:00:00:00:09"));
        for body in [serde_json::to_vec(&first).unwrap(), serde_json::to_vec(&other).unwrap()] {
            play.world.bus.publish(&Queue::Requests, Message::new(body)).await.unwrap();
        }
        let ended = play.run_until_ended(&[second]).await.remove(0);
        assert_eq!(phase(&ended), Phase::Succeeded, "{:?}", ended.failure);
        assert!(play.world.state().await.unwrap().awaits_approval());
        say(&play.world, &order(&Control::Approve { relocation: play.world.id })).await;
        let id = play.world.id;
        assert_eq!(phase(&play.run_again(&[id]).await[0]), Phase::Succeeded);
    });
}
