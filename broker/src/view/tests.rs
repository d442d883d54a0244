//! What the view keeps, what it lets go, and whom it believes to be alive.

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::status::Phase;
use time::OffsetDateTime;

use super::*;

fn status(id: RelocationId, revision: u64, phase: Phase) -> RelocationStatus {
    let at = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(revision);
    RelocationStatus {
        id,
        revision,
        service: "shop".parse().unwrap(),
        source: "a".parse().unwrap(),
        target: None,
        phase,
        conditions: vec![],
        parts: vec![],
        steps: vec![],
        transfers: vec![],
        rate_bytes_per_sec: None,
        eta_seconds: None,
        failure: None,
        created_at: at,
        changed_at: at,
        report: None,
    }
}

fn changed(status: RelocationStatus) -> Notice {
    Notice::RelocationChanged { status: Box::new(status) }
}

fn worker(name: &str) -> WorkerSeen {
    WorkerSeen {
        worker: name.parse().unwrap(),
        kinds: vec![MigratorKind::Image, MigratorKind::Volume],
        sites: vec!["b".parse().unwrap()],
        slots: 2,
        busy: vec![],
        version: "0.1.0".into(),
        draining: false,
    }
}

fn need(kind: MigratorKind) -> WorkerNeed {
    WorkerNeed { kind, site: "b".parse().unwrap() }
}

#[test]
fn an_older_status_never_replaces_a_newer_one() {
    let (mut view, now, id) = (View::default(), Instant::now(), RelocationId::new());
    view.apply(changed(status(id, 7, Phase::Creating)), now);
    view.apply(changed(status(id, 3, Phase::Planned)), now);
    assert_eq!(view.relocation(id).unwrap().phase, Phase::Creating);
    view.apply(changed(status(id, 8, Phase::Succeeded)), now);
    assert!(view.is_over(id));
}

#[test]
fn ended_relocations_make_room_oldest_first_and_running_ones_stay() {
    let (mut view, now) = (View::default(), Instant::now());
    let running = RelocationId::new();
    view.apply(changed(status(running, 0, Phase::InitialSync)), now);
    let ended: Vec<_> =
        (1..=RELOCATIONS_MAX as u64).map(|revision| (revision, RelocationId::new())).collect();
    for (revision, id) in &ended {
        view.apply(changed(status(*id, *revision, Phase::Succeeded)), now);
    }
    assert_eq!(view.relocations().len(), RELOCATIONS_MAX);
    assert!(view.relocation(running).is_some());
    assert!(view.relocation(ended[0].1).is_none());
    assert!(view.relocation(ended[1].1).is_some());
}

#[test]
fn a_worker_counts_until_it_was_silent_for_long_or_drains() {
    let (mut view, start) = (View::default(), Instant::now());
    view.apply(Notice::WorkerSeen(worker("w1")), start);
    assert_eq!(view.served(start), [need(MigratorKind::Image), need(MigratorKind::Volume)].into());
    assert!(view.served(start + WORKER_GONE_AFTER).is_empty());
    assert_eq!(view.workers(start + WORKER_GONE_AFTER).len(), 1, "it is shown a while longer");
    assert!(view.workers(start + WORKER_FORGOTTEN_AFTER).is_empty());

    view.apply(Notice::WorkerSeen(WorkerSeen { draining: true, ..worker("w1") }), start);
    assert!(view.served(start).is_empty());
}

#[test]
fn the_newest_relocation_is_shown_first() {
    let (mut view, now) = (View::default(), Instant::now());
    let (old, new) = (RelocationId::new(), RelocationId::new());
    view.apply(changed(status(new, 9, Phase::Pending)), now);
    view.apply(changed(status(old, 1, Phase::Pending)), now);
    let shown: Vec<_> = view.relocations().iter().map(|status| status.id).collect();
    assert_eq!(shown, [new, old]);
}

#[test]
fn a_refusal_is_remembered_by_its_id_and_changes_no_relocation() {
    let (mut view, now, id) = (View::default(), Instant::now(), RelocationId::new());
    let failure = Failure::never(Code::ConflictingRequest, "same id, another body", "choose another id");
    view.apply(Notice::RequestRefused { id: Some(id), failure: failure.clone() }, now);
    assert_eq!(view.refusal(id), Some(&failure));
    assert!(view.relocation(id).is_none());
    for _ in 0..REFUSED_MAX {
        let notice = Notice::RequestRefused { id: Some(RelocationId::new()), failure: failure.clone() };
        view.apply(notice, now + Duration::from_secs(1));
    }
    assert_eq!(view.refusal(id), None, "the oldest made room");
}
