//! The state machine under random facts: it never panics, refuses what cannot be, and what it accepts keeps the
//! invariants, whatever the order.

#[path = "relocation/estimates.rs"]
mod estimates;
#[path = "relocation/pauses.rs"]
mod pauses;

use fluidcloud_conduit::plan;
use fluidcloud_conduit::relocation::{
    Cancel, Done, Effect, Entry, Fact, Observation, Pause, Relocation, STEP_ATTEMPTS_MAX, STEP_ISSUES_MAX,
    Stage, State, Undo,
};
use fluidcloud_conduit::report::report;
use fluidcloud_conduit::status::{Seen, phase, status};
use fluidcloud_proto::alone::ImageCopied;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{Epoch, RelocationId};
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::{TransferProgress, TransferReport};
use fluidcloud_proto::request::{Cutover, RelocationRequest};
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::task::{Folded, Hardware, Output, Rehearsed};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Topology};
use fluidcloud_providers::Stopped;
use proptest::prelude::*;
use serde_json::json;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

fn id() -> RelocationId {
    "00000000-0000-4000-8000-000000000001".parse().unwrap()
}

fn request() -> RelocationRequest {
    serde_json::from_value(json!({
        "version": 1, "id": id(), "target": {},
        "service": {"name": "shop", "provider": "cloud-a", "components": [
            {"name": "app", "needs": ["db"], "instance": {
                "id": "app", "volumes": [{"disk": "hdb", "fold_into": "/srv"}],
                "rewrite": [{"file": "/etc/a", "match": "a", "replace": "b"}]}},
            {"name": "db", "instance": {"id": "db"}},
        ]},
        "verify": [{"component": "app", "http": {"port": 80, "unchanged": "digest"}}],
    }))
    .unwrap()
}

fn topology() -> Topology {
    let disk = |name: &str, role: &str| {
        json!({"name": name, "role": role, "bus": "ide", "guest_device": format!("/dev/{name}"),
            "size_bytes": 100, "allocated_bytes": 50, "place": {"path": format!("/p/{name}"), "format": "raw"}})
    };
    let instance = |name: &str, disks: serde_json::Value| {
        json!({"component": name, "needs": [], "instance": {
            "name": name, "power": "running", "machine": "pc", "firmware": "bios", "vcpus": 1,
            "memory_bytes": 1, "disks": disks, "nics": [], "addresses": [], "concerns": []}})
    };
    serde_json::from_value(json!({
        "provider": "cloud-a", "stays": [], "concerns": [],
        "instances": [
            instance("app", json!([disk("hda", "root"), disk("hdb", "volume")])),
            instance("db", json!([disk("hda", "root")])),
        ],
    }))
    .unwrap()
}

fn hardware() -> Hardware {
    Hardware {
        machine: "q35".into(),
        disk_bus: "virtio".into(),
        nic: "virtio".into(),
        format: DiskFormat::Raw,
    }
}

fn failure(retryable: bool) -> Failure {
    let make = if retryable { Failure::later } else { Failure::never };
    make(Code::Provider, "it failed", "help it")
}

fn output(step: &StepId) -> Done {
    let migrated = |output| Done::Migrated { output };
    match step {
        StepId::Reserve => Done::Reserved,
        StepId::Furnish => Done::Furnished { furnished: Default::default() },
        StepId::Rehearse(_) => migrated(Output::Rehearsed(Rehearsed::default())),
        StepId::Rewrite(_) => migrated(Output::Rewritten { files: Vec::new() }),
        StepId::Address(_) => Done::Addressed { nics: Vec::new() },
        StepId::Observe(_) => Done::Observed { values: vec![Observation { check: 0, value: "x".into() }] },
        StepId::Prepare(disk) => {
            let place = DiskPlace { path: format!("/b/{disk}"), format: DiskFormat::Raw };
            migrated(Output::Prepared { place })
        }
        StepId::Freeze(_) => Done::Frozen { stopped: Stopped::Clean, stamp: None },
        StepId::Sync(disk) => migrated(Output::Synced {
            transfer: TransferReport {
                disk: disk.clone(),
                bytes_total: 100,
                bytes_read: 50,
                bytes_zero: 50,
                bytes_reused: 0,
                bytes_on_wire: 40,
                bytes_free: 0,
                areas: Vec::new(),
                seconds: 1.0,
                digest: "d".into(),
                verified: true,
            },
        }),
        StepId::Adapt(_) => migrated(Output::Adapted { changes: Vec::new() }),
        StepId::Fold(_) => {
            migrated(Output::Folded(Folded { into: "/srv".into(), entries: 1, bytes: 1, digest: "d".into() }))
        }
        StepId::Copy(name) | StepId::Recopy(name) => migrated(Output::ImageCopied(ImageCopied {
            component: name.clone(),
            name: "image".into(),
            id: "1".into(),
            bytes: 1,
            disk_format: "raw".into(),
            digest: "d".into(),
            compared: Vec::new(),
            seconds: 1.0,
        })),
        StepId::Snapshot(_) | StepId::KeepImage(_) => Done::Kept { kept: Vec::new() },
        StepId::SetAside(_) => Done::SetAside,
        StepId::Create(name) => Done::Created { instance: name.as_str().parse().unwrap() },
        StepId::Verify(_) => Done::Verified { addresses: Vec::new(), checks: Vec::new(), nics: Vec::new() },
        StepId::Commit => Done::Committed,
        StepId::Tidy => Done::Tidied,
    }
}

/// What is likely next, by what is due: otherwise random facts would seldom get past the first.
fn likely(state: &Relocation, roll: u32) -> Vec<Fact> {
    let mut facts = Vec::new();
    if state.is_paused() {
        facts.push(Fact::ResumeAsked { order: Uuid::from_u128(1_000 + u128::from(state.seq)) });
    } else if state.stage == Stage::Pending {
        facts.push(Fact::Admitted);
    } else if state.awaits_approval() {
        facts.push(Fact::CutoverApproved);
    }
    for effect in state.due() {
        let retryable = !roll.is_multiple_of(3);
        match effect {
            Effect::Inspect { .. } => facts.push(Fact::Inspected { topology: Box::new(topology()) }),
            Effect::AskOffers => facts.push(offers(true)),
            Effect::MakePlan => facts.push(planned()),
            Effect::Issue { step, epoch, .. } => facts.push(Fact::StepIssued { step, epoch }),
            Effect::Hand { step, epoch } => {
                facts.push(Fact::StepLeased { step, epoch, worker: "w".parse().unwrap() });
            }
            Effect::Run { step, epoch }
            | Effect::Halt { step, epoch }
            | Effect::Await { step, epoch, .. }
            | Effect::Abort { step, epoch, .. } => {
                facts.push(if roll.is_multiple_of(8) {
                    let spent = Some(TransferProgress { bytes_on_wire: 7, ..Default::default() });
                    Fact::StepFailed { step, epoch, failure: failure(retryable), spent }
                } else {
                    Fact::StepDone { output: output(&step), step, epoch }
                });
            }
            Effect::BeginUndo { step, attempt, .. } => facts.push(Fact::UndoBegun { step, attempt }),
            Effect::Undo { step, .. } => facts.push(if roll.is_multiple_of(4) {
                Fact::UndoFailed { step, failure: failure(retryable) }
            } else {
                Fact::UndoDone { step }
            }),
            Effect::PlaceWorkers => {}
        }
    }
    if matches!(state.stage, Stage::Stuck { .. }) {
        facts.push(Fact::RetryAsked);
    }
    facts
}

fn offers(fits: bool) -> Fact {
    Fact::OffersMade {
        offers: vec![Offer { provider: "cloud-b".parse().unwrap(), fits, reasons: Vec::new() }],
    }
}

fn planned() -> Fact {
    let plan = plan::make(&request(), &topology(), &"cloud-b".parse().unwrap()).unwrap();
    Fact::Planned { plan: Box::new(plan), hardware: hardware() }
}

/// Anything at all, about any step, under any epoch near the right one.
fn unlikely(state: &Relocation, roll: u32) -> Fact {
    let plan = plan::make(&request(), &topology(), &"cloud-b".parse().unwrap()).unwrap();
    let step = plan.steps[roll as usize / 32 % plan.steps.len()].id.clone();
    let now = state.step(&step).map_or(0, |step| step.epoch.0);
    let epoch = Epoch((now + u64::from(roll) / 1024 % 3).saturating_sub(1));
    let order = Uuid::from_u128(u128::from(roll) / 1024 % 64);
    match roll % 21 {
        0 => Fact::Requested { request: Box::new(request()), digest: "d".into() },
        1 => Fact::Admitted,
        2 => Fact::Resumed,
        3 => Fact::Refused { failure: failure(false) },
        4 => Fact::Inspected { topology: Box::new(topology()) },
        5 => Fact::InspectionFailed { failure: failure(true) },
        6 => offers(false),
        7 => planned(),
        8 => Fact::StepIssued { step, epoch },
        9 => Fact::StepLeased { step, epoch, worker: "x".parse().unwrap() },
        10 => Fact::StepDone { output: output(&step), step, epoch },
        11 => Fact::StepDone { step, epoch, output: Done::Tidied },
        12 => Fact::StepFailed { step, epoch, failure: failure(true), spent: None },
        13 => Fact::CancelAsked,
        14 => Fact::RetryAsked,
        15 => Fact::UndoBegun { step, attempt: 1 },
        16 => Fact::UndoDone { step },
        17 => Fact::CutoverApproved,
        18 => Fact::PauseAsked { order },
        19 => Fact::ResumeAsked { order },
        _ => Fact::UndoFailed { step, failure: failure(false) },
    }
}

fn choose(state: &Relocation, roll: u32) -> Fact {
    let likely = likely(state, roll / 7);
    // Mostly what is likely, or no run would ever come to its end.
    if !roll.is_multiple_of(7) && !likely.is_empty() {
        likely[roll as usize / 7 % likely.len()].clone()
    } else {
        unlikely(state, roll / 7)
    }
}

fn begun(cutover: Cutover) -> (Relocation, Entry) {
    let request = Box::new(RelocationRequest { cutover, ..request() });
    let fact = Fact::Requested { request, digest: "d".into() };
    let first = Entry { at: OffsetDateTime::UNIX_EPOCH, fact };
    (Relocation::begin(id(), &first).unwrap(), first)
}

fn undone(state: &Relocation, id: &StepId) -> bool {
    state.step(id).is_none_or(|step| !state.needs_undo(step) || step.undo == Undo::Done)
}

/// What holds in every state that can be reached.
fn check(state: &Relocation) {
    for step in &state.steps {
        if step.begun() {
            for before in &step.after {
                assert!(state.step(before).unwrap().is_done(), "{} begun before {before} was done", step.id);
            }
        }
        if step.undo != Undo::NotBegun {
            assert!(!state.is_committed(), "{} is undone past the point of no return", step.id);
            for later in state.steps.iter().filter(|later| later.after.contains(&step.id)) {
                assert!(undone(state, &later.id), "{} undone before {}", step.id, later.id);
            }
        }
        if let (StepId::Freeze(name), true) = (&step.id, step.undo != Undo::NotBegun) {
            // The source starts only when nothing of the target can run.
            assert!(
                undone(state, &StepId::Verify(name.clone())) && undone(state, &StepId::Create(name.clone()))
            );
        }
    }
    let undoing = state.steps.iter().any(|step| matches!(step.undo, Undo::Running { .. }));
    let in_flight = state.steps.iter().any(|step| step.in_flight());
    assert!(!(undoing && in_flight), "something is undone while something is still at work");
    let committed = state.step(&StepId::Commit).is_some_and(|step| step.is_done());
    match &state.stage {
        Stage::Ended { phase: Phase::Succeeded, .. } => assert!(committed),
        Stage::Ended { phase, .. } => {
            assert!(state.steps.iter().all(|step| undone(state, &step.id)), "{phase:?} with something left");
            assert_eq!(state.failure.is_none(), *phase == Phase::Canceled && state.failure.is_none());
        }
        Stage::Stuck { .. } => assert!(state.failure.is_some()),
        _ => {}
    }
    let rests = matches!(state.stage, Stage::Pending | Stage::Ended { .. }) || state.waits_for_a_person();
    assert_eq!(state.due().is_empty(), rests, "{:?}, {:?}", state.stage, state.pause);
    held_back(state);
    if state.cancel == Cancel::TooLate {
        assert!(state.is_committed());
    }
    shows(state);
}

/// What a person holds back is not begun, and nobody holds back what is undone or done for good.
fn held_back(state: &Relocation) {
    let going =
        |effect: &Effect| matches!(effect, Effect::Run { .. } | Effect::Await { .. } | Effect::Abort { .. });
    if state.is_paused() {
        assert!(state.due().iter().all(going), "paused, and yet due: {:?}", state.due());
        assert!(!state.is_committed() && !state.is_ended(), "paused in {:?}", state.stage);
        assert!(!matches!(state.stage, Stage::Undoing { .. } | Stage::Stuck { .. }), "an undo is held up");
        let unclaimed = state.steps.iter().find(|step| step.state == State::Issued && !step.by_conduit());
        assert_eq!(unclaimed, None, "nobody works on it, and it could be claimed");
    }
    if state.needs_approval() {
        let stopped = state.steps.iter().find(|step| matches!(step.id, StepId::Freeze(_)) && step.begun());
        assert_eq!(stopped, None, "a source was stopped without approval");
    }
    if state.awaits_approval() {
        assert_eq!(phase(state), Phase::AwaitingCutover);
        assert!(state.due().is_empty(), "{:?}", state.due());
    }
    if state.pause == Pause::TooLate {
        let goes_on = matches!(state.stage, Stage::Pending | Stage::Forward { committed: false });
        assert!(!goes_on || state.may_a_target_run(), "refused without need");
    }
}

/// Status and report are made of any state, and say the same as each other.
fn shows(state: &Relocation) {
    let seen = Seen { revision: 0, now: OffsetDateTime::UNIX_EPOCH, stalled: false, progress: &[] };
    let shown = status(state, &seen);
    assert_eq!(shown.phase, phase(state));
    assert_eq!(shown.report.is_some(), shown.phase.is_final());
    assert_eq!(report(state).state, shown.phase);
    if let Some(secs) = report(state).downtime_seconds {
        assert!(secs >= 0.0);
    }
}

fn play(rolls: &[u32]) -> (Relocation, Vec<Entry>) {
    let manual = rolls.first().is_some_and(|roll| roll % 5 < 2);
    let (mut state, first) = begun(if manual { Cutover::Manual } else { Cutover::Automatic });
    let mut log = vec![first];
    for (number, roll) in rolls.iter().enumerate() {
        // A wall clock that now and then jumps back.
        let secs = if roll.is_multiple_of(11) { -5_000 } else { number as i64 };
        let entry =
            Entry { at: OffsetDateTime::UNIX_EPOCH + Duration::seconds(secs), fact: choose(&state, *roll) };
        match state.clone().next(&entry) {
            Ok(next) => {
                assert!(!state.is_ended(), "nothing follows the end: {:?}", entry.fact);
                state = next;
                log.push(entry);
                check(&state);
            }
            Err(illegal) => assert!(!illegal.why.is_empty() && illegal.seq == state.seq),
        }
    }
    (state, log)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_facts_come_the_invariants_hold(rolls in prop::collection::vec(any::<u32>(), 1..250)) {
        let (state, log) = play(&rolls);
        prop_assert_eq!(state.seq, log.len() as u64);
        prop_assert_eq!(Relocation::replay(id(), &log).unwrap(), state);
    }

    #[test]
    fn a_log_that_was_written_and_read_tells_the_same(rolls in prop::collection::vec(any::<u32>(), 1..150)) {
        let (state, log) = play(&rolls);
        let written: Vec<String> = log.iter().map(|entry| serde_json::to_string(entry).unwrap()).collect();
        let read: Vec<Entry> = written.iter().map(|entry| serde_json::from_str(entry).unwrap()).collect();
        prop_assert_eq!(&read, &log);
        prop_assert_eq!(Relocation::replay(id(), &read).unwrap(), state);
    }

    #[test]
    fn a_log_with_a_fact_missing_repeated_or_moved_is_refused_or_still_lawful(
        rolls in prop::collection::vec(any::<u32>(), 20..150), at in any::<prop::sample::Index>(),
    ) {
        let (_, log) = play(&rolls);
        let at = at.index(log.len());
        let mut missing = log.clone();
        missing.remove(at);
        let mut repeated = log.clone();
        repeated.insert(at, log[at].clone());
        let mut moved = log.clone();
        moved.swap(at, log.len() - 1);
        for damaged in [missing, repeated, moved] {
            if let Ok(state) = Relocation::replay(id(), &damaged) {
                check(&state);
            }
        }
    }
}

/// Always the first likely fact, with never a failure.
fn straight(until: impl Fn(&Relocation) -> bool) -> (Relocation, Vec<Entry>) {
    straight_with(Cutover::Automatic, until)
}

fn straight_with(cutover: Cutover, until: impl Fn(&Relocation) -> bool) -> (Relocation, Vec<Entry>) {
    let (mut state, first) = begun(cutover);
    let mut log = vec![first];
    while !state.is_ended() && !until(&state) {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::seconds(log.len() as i64);
        let entry = Entry { at, fact: likely(&state, 1).remove(0) };
        state = state.next(&entry).unwrap();
        log.push(entry);
        check(&state);
    }
    (state, log)
}

#[test]
fn the_straight_way_ends_in_success_with_every_step_done() {
    let (state, log) = straight(|_| false);
    assert_eq!(phase(&state), Phase::Succeeded);
    assert!(state.steps.iter().all(|step| step.state == State::Done));
    assert_eq!(report(&state).transfers.len(), 3);
    assert!(log.len() > 3 * 17);
}

#[test]
fn from_every_prefix_of_the_straight_way_a_cancel_leads_to_an_end() {
    let (_, log) = straight(|_| false);
    for cut in 1..log.len() {
        let mut state = Relocation::replay(id(), &log[..cut]).unwrap();
        let committed = state.is_committed();
        state = state.next(&Entry { at: OffsetDateTime::UNIX_EPOCH, fact: Fact::CancelAsked }).unwrap();
        while !state.is_ended() {
            check(&state);
            let fact = likely(&state, 1).remove(0);
            state = state.next(&Entry { at: OffsetDateTime::UNIX_EPOCH, fact }).unwrap();
        }
        let expected = if committed { Phase::Succeeded } else { Phase::Canceled };
        assert_eq!(phase(&state), expected, "cut after {cut} facts");
    }
}

#[test]
fn a_tidy_that_fails_for_good_is_a_success_with_a_warning() {
    let tidying = |state: &Relocation| state.step(&StepId::Tidy).is_some_and(|step| step.begun());
    let (state, _) = straight(tidying);
    let fact = Fact::StepFailed { step: StepId::Tidy, epoch: Epoch(1), failure: failure(false), spent: None };
    let state = state.next(&Entry { at: OffsetDateTime::UNIX_EPOCH, fact }).unwrap();
    assert_eq!(phase(&state), Phase::Succeeded);
    assert_eq!(report(&state).concerns.len(), 1);
}

#[test]
fn nothing_is_undone_while_something_is_still_at_work() {
    let leased = |state: &Relocation| {
        state.due().iter().any(|effect| matches!(effect, Effect::Await { step: StepId::Sync(_), .. }))
    };
    let (state, _) = straight(leased);
    let entry = |fact| Entry { at: OffsetDateTime::UNIX_EPOCH, fact };
    let state = state.next(&entry(Fact::CancelAsked)).unwrap();
    assert!(state.due().iter().all(|effect| matches!(effect, Effect::Abort { .. } | Effect::Halt { .. })));
    for step in &state.steps {
        let undo = entry(Fact::UndoBegun { step: step.id.clone(), attempt: 1 });
        assert!(state.clone().next(&undo).is_err(), "{} is undone under the hands of a worker", step.id);
    }
}

#[test]
fn what_a_lost_attempt_had_told_is_the_least_that_is_reported() {
    for (told, reported) in [(90, 90), (7, 40)] {
        let synced = |state: &Relocation| {
            state.due().iter().any(|effect| matches!(effect, Effect::Await { step: StepId::Sync(_), .. }))
        };
        let (mut state, _) = straight(synced);
        let due = state.due();
        let held = due.iter().find_map(|effect| match effect {
            Effect::Await { step, epoch, .. } if matches!(step, StepId::Sync(_)) => {
                Some((step.clone(), *epoch))
            }
            _ => None,
        });
        let (step, epoch) = held.unwrap();
        let spent = Some(TransferProgress { bytes_on_wire: told, ..Default::default() });
        let mut facts = vec![Fact::StepFailed { step: step.clone(), epoch, failure: failure(true), spent }];
        let epoch = epoch.next();
        facts.push(Fact::StepIssued { step: step.clone(), epoch });
        facts.push(Fact::StepLeased { step: step.clone(), epoch, worker: "other".parse().unwrap() });
        facts.push(Fact::StepDone { output: output(&step), step: step.clone(), epoch });
        for fact in facts {
            state = state.next(&Entry { at: OffsetDateTime::UNIX_EPOCH, fact }).unwrap();
        }
        let transfers = report(&state).transfers;
        let transfer = transfers.iter().find(|transfer| StepId::Sync(transfer.disk.clone()) == step).unwrap();
        assert_eq!(transfer.bytes_on_wire, reported);
    }
}

/// Fails the same sync again and again, each time with what `told` says that was done; how often until the end.
fn fails_until_the_end(code: Code, told: impl Fn(u64) -> u64) -> u64 {
    let (mut state, _) = straight(|state| {
        state.due().iter().any(|effect| matches!(effect, Effect::Await { step: StepId::Sync(_), .. }))
    });
    let step = state.steps.iter().find(|step| step.in_flight()).unwrap().id.clone();
    let entry = |fact| Entry { at: OffsetDateTime::UNIX_EPOCH, fact };
    for attempt in 1.. {
        let epoch = state.step(&step).unwrap().epoch;
        let spent = Some(TransferProgress { bytes_done: told(attempt), ..Default::default() });
        let failure = Failure::later(code, "so", "wait");
        state = state.next(&entry(Fact::StepFailed { step: step.clone(), epoch, failure, spent })).unwrap();
        if !matches!(state.stage, Stage::Forward { .. }) {
            return attempt;
        }
        let epoch = epoch.next();
        state = state.next(&entry(Fact::StepIssued { step: step.clone(), epoch })).unwrap();
        let worker = "w".parse().unwrap();
        state = state.next(&entry(Fact::StepLeased { step: step.clone(), epoch, worker })).unwrap();
    }
    unreachable!("the number of attempts is bounded")
}

#[test]
fn only_attempts_that_bring_nothing_count_and_all_are_bounded() {
    assert_eq!(fails_until_the_end(Code::Unreachable, |_| 0), u64::from(STEP_ATTEMPTS_MAX));
    assert_eq!(
        fails_until_the_end(Code::Unreachable, |attempt| attempt.min(3)),
        u64::from(STEP_ATTEMPTS_MAX) + 2
    );
    assert_eq!(fails_until_the_end(Code::LeaseLost, |attempt| attempt), STEP_ISSUES_MAX);
    assert_eq!(fails_until_the_end(Code::HandedBack, |_| 0), STEP_ISSUES_MAX);
}

#[test]
fn facts_of_another_shape_are_refused_when_read() {
    for text in [
        r#"{"at":"1970-01-01T00:00:00Z","fact":"unheard_of"}"#,
        r#"{"at":"1970-01-01T00:00:00Z","fact":"admitted","extra":1}"#,
        r#"{"at":"yesterday","fact":"admitted"}"#,
        r#"{"at":"1970-01-01T00:00:00Z","fact":{"undo_done":{"step":"commit","more":2}}}"#,
    ] {
        assert!(serde_json::from_str::<Entry>(text).is_err(), "{text}");
    }
    let entry: Entry = serde_json::from_str(r#"{"at":"1970-01-01T00:00:00Z","fact":"admitted"}"#).unwrap();
    assert_eq!(entry.fact, Fact::Admitted);
}
