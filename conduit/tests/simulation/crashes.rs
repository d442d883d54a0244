//! The conduit killed at every point, also in the middle of an undo; workers killed at every point; cancels, outages
//! and clock jumps at every point; everything said twice and out of order.

use fluidcloud_conduit::report::report;
use fluidcloud_proto::status::Phase;

use crate::points::Act;
use crate::world::Script;
use crate::{play, points_of};

/// Plays the script once per point with the act there. Returns the number of cases.
pub fn at_every_point(script: &Script, act: Act, ends_in: &[Phase]) -> usize {
    let points = points_of(script);
    for (at, label) in points.iter().enumerate() {
        let case = format!("{act:?} at point {at}, {label}");
        let mut script = script.clone();
        script.acts.push((at, act));
        let (ended, _, _) = play(&case, script);
        assert!(ends_in.contains(&ended), "{case}: ended in {ended:?}");
    }
    points.len()
}

pub fn fails_its_check() -> Script {
    Script { wrong_at_target: true, ..Script::default() }
}

#[test]
fn an_undisturbed_relocation_succeeds() {
    let (ended, state, world) = play("undisturbed", Script::default());
    assert_eq!(ended, Phase::Succeeded, "{:?}", state.failure);
    println!("points of an undisturbed relocation: {}", world.points.seen().len());
}

#[test]
fn a_conduit_killed_at_any_point_goes_on_and_succeeds() {
    let cases = at_every_point(&Script::default(), Act::Crash, &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_conduit_that_is_away_for_ten_minutes_at_any_point_goes_on_and_succeeds() {
    let cases = at_every_point(&Script::default(), Act::CrashFor(600), &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_conduit_killed_at_any_point_of_an_undo_rolls_back_all_the_same() {
    let cases = at_every_point(&fails_its_check(), Act::Crash, &[Phase::RolledBack]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_cancel_at_any_point_undoes_everything_or_comes_too_late() {
    let ends = [Phase::Canceled, Phase::Succeeded];
    let cases = at_every_point(&Script::default(), Act::Cancel, &ends);
    println!("simulated cases: {cases}");
}

#[test]
fn a_cancel_in_the_middle_of_an_undo_changes_nothing() {
    let ends = [Phase::Canceled, Phase::RolledBack];
    let cases = at_every_point(&fails_its_check(), Act::Cancel, &ends);
    println!("simulated cases: {cases}");
}

#[test]
fn a_cancel_at_any_point_and_a_crash_soon_after_undo_everything_or_come_too_late() {
    let points = points_of(&Script::default());
    let mut cases = 0;
    for (at, label) in points.iter().enumerate() {
        for later in [1, 4, 9, 20] {
            let case = format!("cancel at point {at}, {label}; crash {later} points later");
            let acts = vec![(at, Act::Cancel), (at + later, Act::Crash)];
            let (ended, _, _) = play(&case, Script { acts, ..Script::default() });
            assert!(matches!(ended, Phase::Canceled | Phase::Succeeded), "{case}: ended in {ended:?}");
            cases += 1;
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn a_conduit_killed_twice_in_a_row_at_any_point_goes_on_and_succeeds() {
    let points = points_of(&Script::default());
    for (at, label) in points.iter().enumerate() {
        let case = format!("crash at point {at}, {label}, and soon again");
        let acts = vec![(at, Act::Crash), (at + 3, Act::Crash), (at + 8, Act::Crash)];
        let (ended, _, _) = play(&case, Script { acts, ..Script::default() });
        assert_eq!(ended, Phase::Succeeded, "{case}");
    }
    println!("simulated cases: {}", points.len());
}

#[test]
fn a_worker_killed_at_any_point_of_its_work_is_replaced() {
    let (_, undisturbed, world) = play("undisturbed", Script::default());
    let points = world.worker_counts().lock().unwrap().points();
    let mut moved_again = 0;
    for at in 0..points {
        let case = format!("worker dies at its point {at}");
        let mut script = Script::default();
        script.workers.die_at = Some(at);
        let (ended, state, _) = play(&case, script);
        assert_eq!(ended, Phase::Succeeded, "{case}");
        for (once, now) in report(&undisturbed).transfers.iter().zip(&report(&state).transfers) {
            assert!(now.bytes_on_wire >= once.bytes_on_wire, "{case}: what was moved in vain counts too");
            moved_again += usize::from(now.bytes_on_wire > once.bytes_on_wire);
        }
    }
    assert!(moved_again > 0, "some worker died in the middle of a transfer");
    println!("simulated cases: {points}");
}

#[test]
fn all_workers_killed_at_any_point_of_the_conduit_are_replaced() {
    let cases = at_every_point(&Script::default(), Act::WorkersDie, &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_bus_that_is_away_at_any_point_costs_time_and_nothing_else() {
    let cases = at_every_point(&Script::default(), Act::Outage(200), &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn a_wall_clock_that_jumps_at_any_point_changes_nothing() {
    let mut cases = at_every_point(&Script::default(), Act::ClockJump(-86_400), &[Phase::Succeeded]);
    cases += at_every_point(&Script::default(), Act::ClockJump(86_400), &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}

#[test]
fn whatever_is_said_may_be_said_twice_and_out_of_order() {
    let mut cases = 0;
    for step_ms in [0, 37, 1_009, 7_001, 13_007, 45_007] {
        for turn_ms in [1, 900, 9_000, 60_000] {
            for wrong_at_target in [false, true] {
                let case = format!("echo {step_ms} % {turn_ms} ms, wrong at target: {wrong_at_target}");
                let script = Script { echo: Some((step_ms, turn_ms)), wrong_at_target, ..Script::default() };
                let (ended, _, _) = play(&case, script);
                let expected = if wrong_at_target { Phase::RolledBack } else { Phase::Succeeded };
                assert_eq!(ended, expected, "{case}");
                cases += 1;
            }
        }
    }
    println!("simulated cases: {cases}");
}

#[test]
fn crashes_while_everything_is_said_twice_and_out_of_order_do_no_harm() {
    let script = Script { echo: Some((7_001, 20_000)), ..Script::default() };
    let cases = at_every_point(&script, Act::Crash, &[Phase::Succeeded]);
    println!("simulated cases: {cases}");
}
