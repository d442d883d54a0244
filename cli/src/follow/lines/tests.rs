//! What is told of a changing status, and that nothing is told twice.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::status::StepStatus;

use super::*;

fn status(phase: Phase, steps: Vec<StepStatus>, transfers: Vec<TransferStatus>) -> RelocationStatus {
    RelocationStatus {
        id: RelocationId::new(),
        revision: 1,
        service: "shop".parse().unwrap(),
        source: "a".parse().unwrap(),
        target: None,
        phase,
        conditions: vec![],
        parts: vec![],
        steps,
        transfers,
        rate_bytes_per_sec: None,
        eta_seconds: None,
        failure: None,
        created_at: time::OffsetDateTime::UNIX_EPOCH,
        changed_at: time::OffsetDateTime::UNIX_EPOCH,
        report: None,
    }
}

fn step(id: StepId, state: StepState, seconds: f64) -> StepStatus {
    StepStatus { id, state, seconds, attempts: 1, worker: None, failure: None }
}

fn transfer(done: u64) -> TransferStatus {
    TransferStatus {
        disk: DiskId { component: "app".parse().unwrap(), disk: "hda".parse().unwrap() },
        state: StepState::Running,
        progress: TransferProgress {
            bytes_total: 100 << 20,
            bytes_done: done << 20,
            rate_bytes_per_sec: 5 << 20,
            eta_seconds: Some(12),
            ..TransferProgress::default()
        },
    }
}

#[test]
fn each_change_is_told_once() {
    let (mut lines, now) = (Lines::new(), Instant::now());
    let begun = status(
        Phase::InitialSync,
        vec![step(StepId::Reserve, StepState::Done, 0.3), step(StepId::Commit, StepState::Waiting, 0.0)],
        vec![transfer(0)],
    );
    let told = [
        "InitialSync",
        "  reserve: done after 0.3 s",
        "  app/hda: 0 %, 0 B of 100.0 MiB, 5.0 MiB/s, 12.0 s left",
    ];
    assert_eq!(lines.news(&begun, now), told);
    assert_eq!(lines.news(&begun, now), [""; 0]);
}

#[test]
fn a_transfer_is_told_every_ten_per_cent_or_when_long_was_silent() {
    let (mut lines, now) = (Lines::new(), Instant::now());
    let mut told = |done, at| lines.news(&status(Phase::InitialSync, vec![], vec![transfer(done)]), at).len();
    assert_eq!(told(3, now), 2, "the phase and the first of the transfer");
    assert_eq!(told(9, now), 0);
    assert_eq!(told(10, now), 1);
    assert_eq!(told(11, now), 0);
    assert_eq!(told(12, now + TELL_EVERY), 1);
    assert_eq!(told(12, now + TELL_EVERY * 3), 0, "it does not move");
}

#[test]
fn a_failed_step_tells_why() {
    let failed = StepStatus {
        failure: Some(Failure::never(Code::NoRoom, "pool is full", "free some room")),
        ..step(StepId::Reserve, StepState::Failed, 1.0)
    };
    let news = Lines::new().news(&status(Phase::Failed, vec![failed], vec![]), Instant::now());
    assert_eq!(news, ["Failed", "  reserve: failed (pool is full; free some room)"]);
}

#[test]
fn what_a_person_can_do_is_told_once_and_the_time_left_with_each_phase() {
    let (mut lines, now) = (Lines::new(), Instant::now());
    let mut waits = status(Phase::AwaitingCutover, vec![], vec![]);
    let id = waits.id;
    let approve = format!(
        "  all is ready and the source still runs: let it stop with `fluidcloud approve {id}`, or undo with \
         `fluidcloud cancel {id}`"
    );
    assert_eq!(lines.news(&waits, now), ["AwaitingCutover".to_owned(), approve]);
    assert_eq!(lines.news(&waits, now), [""; 0]);
    waits.conditions = vec!["paused".to_owned()];
    let resume = format!("  it is paused: let it go on with `fluidcloud resume {id}`");
    assert_eq!(lines.news(&waits, now), ["  paused".to_owned(), resume]);
    let goes_on =
        RelocationStatus { phase: Phase::FinalSync, eta_seconds: Some(90), conditions: vec![], ..waits };
    assert_eq!(lines.news(&goes_on, now), ["FinalSync, about 1 min 30 s left"]);
}
