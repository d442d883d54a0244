//! How long it will take, as the status tells it; and what it is about.

use fluidcloud_conduit::plan::preview::preview;
use fluidcloud_proto::part::{Part, PartKind};
use fluidcloud_proto::topology::DiskRole;

use super::*;

fn shown_at(state: &Relocation, secs: i64, progress: &[(StepId, TransferProgress)]) -> Option<u64> {
    let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(secs);
    status(state, &Seen { revision: 0, now, stalled: false, progress }).eta_seconds
}

fn forward(state: &Relocation) -> bool {
    matches!(state.stage, Stage::Forward { .. })
}

/// Of what `straight` had recorded last.
fn now(state: &Relocation) -> i64 {
    (state.changed_at - OffsetDateTime::UNIX_EPOCH).whole_seconds()
}

#[test]
fn before_anything_is_done_it_is_the_estimate_of_the_plan() {
    let (state, _) = straight(forward);
    let plan = preview(&request(), &topology(), &"cloud-b".parse().unwrap(), None).unwrap();
    let told = shown_at(&state, now(&state), &[]).unwrap();
    assert_eq!(told, plan.estimated_seconds.ceil() as u64);
    let sum: f64 = plan.steps.iter().map(|step| step.seconds).sum();
    assert!((told as f64) < sum, "what goes side by side is not added up: {told} of {sum}");
}

#[test]
fn what_is_done_counts_no_more_and_what_runs_by_what_is_left_of_it() {
    // The last of the long ones, which is on every chain.
    let last = StepId::Verify("app".parse().unwrap());
    let (state, _) = straight(|state| state.step(&last).is_some_and(|step| step.in_flight()));
    let whole = shown_at(&straight(forward).0, 0, &[]).unwrap();
    let begun = shown_at(&state, now(&state), &[]).unwrap();
    assert!(begun < whole, "{begun} of {whole}");
    let step = state.steps.iter().find(|step| step.in_flight()).unwrap();
    let from = (step.issued_at.unwrap() - OffsetDateTime::UNIX_EPOCH).whole_seconds();
    // Of the usual 60 s.
    let later = shown_at(&state, from + 30, &[]).unwrap();
    assert_eq!(shown_at(&state, from, &[]).unwrap() - later, 30);
    let late = shown_at(&state, from + 300, &[]).unwrap();
    assert_eq!(shown_at(&state, from + 900, &[]), Some(late), "about to end, however late it is");
    assert!(late < later && late > 0);
}

#[test]
fn a_transfer_that_runs_counts_by_its_own_rate() {
    let syncing = |state: &Relocation| {
        state.due().iter().any(|effect| matches!(effect, Effect::Await { step: StepId::Sync(_), .. }))
    };
    let (state, _) = straight(syncing);
    let step = state.steps.iter().find(|step| step.in_flight()).unwrap().id.clone();
    let told = |eta_seconds, rate_bytes_per_sec| {
        let progress = TransferProgress {
            bytes_total: 1_000,
            bytes_done: 400,
            rate_bytes_per_sec,
            eta_seconds,
            ..Default::default()
        };
        shown_at(&state, now(&state), &[(step.clone(), progress)]).unwrap()
    };
    assert_eq!(told(Some(5_000), 1) - told(Some(4_000), 1), 1_000);
    assert_eq!(told(None, 1) + 400, told(Some(1_000), 1), "600 bytes are left");
    // Too small to be anywhere near the longest chain, whatever its rate.
    assert_eq!(told(None, 0), told(Some(1), 0));
}

#[test]
fn there_is_no_estimate_where_nobody_can_tell() {
    let issued = |state: &Relocation| {
        state.due().iter().any(|effect| matches!(effect, Effect::Hand { step: StepId::Adapt(_), .. }))
    };
    let (state, _) = straight(issued);
    assert!(shown_at(&state, now(&state), &[]).is_some());
    assert_eq!(shown_at(&state, now(&state) + 60, &[]), None, "no worker has claimed it");
    let at = now(&state);
    let next = |state: Relocation, fact| {
        state.next(&Entry { at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(at), fact }).unwrap()
    };
    let paused = next(state.clone(), Fact::PauseAsked { order: Uuid::from_u128(1) });
    assert_eq!(shown_at(&paused, at, &[]), None, "it is paused");
    assert_eq!(shown_at(&next(state.clone(), Fact::CancelAsked), at, &[]), None, "it is undone");
    let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(at);
    let seen = Seen { revision: 0, now, stalled: true, progress: &[] };
    assert_eq!(status(&state, &seen).eta_seconds, None, "it is stalled");
    let (manual, _) = straight_with(Cutover::Manual, forward);
    assert_eq!(shown_at(&manual, at, &[]), None, "an approval is to come");
    let approved = next(manual, Fact::CutoverApproved);
    assert!(shown_at(&approved, at, &[]).is_some());
    assert_eq!(shown_at(&straight(|_| false).0, at, &[]), None, "it has ended");
    assert_eq!(shown_at(&begun(Cutover::Automatic).0, at, &[]), None, "nothing is known yet");
}

#[test]
fn what_moves_is_told_once_it_was_inspected_in_the_order_of_the_request() {
    let seen = Seen { revision: 0, now: OffsetDateTime::UNIX_EPOCH, stalled: false, progress: &[] };
    assert_eq!(status(&begun(Cutover::Automatic).0, &seen).parts, []);
    let parts: Vec<Part> = status(&straight(forward).0, &seen).parts;
    let names: Vec<(&str, PartKind)> =
        parts.iter().map(|part| (part.component.as_str(), part.kind)).collect();
    assert_eq!(names, [("app", PartKind::Instance), ("db", PartKind::Instance)]);
    let app = &parts[0];
    assert_eq!((app.name.as_str(), &app.target_name, app.vcpus), ("app", &None, Some(1)));
    assert_eq!(app.needs[0].as_str(), "db");
    let disks: Vec<_> =
        app.disks.iter().map(|disk| (disk.disk.as_str(), disk.role, disk.fold_into.as_deref())).collect();
    assert_eq!(disks, [("hda", DiskRole::Root, None), ("hdb", DiskRole::Volume, Some("/srv"))]);
}
