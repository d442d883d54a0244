//! From the state of a relocation to what users see of it. Derived; nothing is decided on it.

mod eta;
mod parts;

use fluidcloud_proto::alone::part;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::request::Cutover;
use fluidcloud_proto::status::{Phase, RelocationStatus, StepState, StepStatus, TransferStatus};
use fluidcloud_proto::task::Output;
use time::OffsetDateTime;

use crate::relocation::step::seconds_between;
use crate::relocation::{Cancel, Done, Pause, Relocation, Stage, State, Step, Undo, Why};
use crate::report::{report, unclean_stop};

/// Changes that are not in the log (progress) may be shown this often between two facts.
pub const REVISIONS_PER_FACT: u64 = 1 << 24;

/// What is known besides the log, and lost with the process.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Below [`REVISIONS_PER_FACT`].
    pub revision: u64,
    pub now: OffsetDateTime,
    pub stalled: bool,
    /// Latest progress of the steps that run.
    pub progress: &'a [(StepId, TransferProgress)],
}

pub fn status(relocation: &Relocation, seen: &Seen<'_>) -> RelocationStatus {
    RelocationStatus {
        id: relocation.id,
        revision: relocation.seq * REVISIONS_PER_FACT + seen.revision.min(REVISIONS_PER_FACT - 1),
        service: relocation.request.service.name.clone(),
        source: relocation.request.service.provider.clone(),
        target: relocation.target.clone(),
        phase: phase(relocation),
        conditions: conditions(relocation, seen),
        parts: parts::parts(relocation),
        steps: relocation.steps.iter().map(|step| step_status(relocation, step, seen.now)).collect(),
        transfers: relocation.steps.iter().filter_map(|step| transfer(step, seen)).collect(),
        rate_bytes_per_sec: rate(relocation, seen),
        eta_seconds: eta::eta_seconds(relocation, seen),
        failure: failure(relocation),
        created_at: relocation.created_at,
        changed_at: relocation.changed_at,
        report: shows_report(relocation).then(|| report(relocation)),
    }
}

fn rate(relocation: &Relocation, seen: &Seen<'_>) -> Option<u64> {
    let running = relocation.steps.iter().filter(|step| step.is_transfer() && step.in_flight());
    let rates = running.map(|step| told(step, seen).map_or(0, |progress| progress.rate_bytes_per_sec));
    rates.reduce(u64::saturating_add)
}

/// Going forward, the phase is that of the least advanced step that is not done. Where the cutover is approved by a person,
/// what moves before it and after it are two phases.
pub fn phase(relocation: &Relocation) -> Phase {
    match &relocation.stage {
        Stage::Pending => Phase::Pending,
        Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning => Phase::Inspecting,
        Stage::Forward { .. } if relocation.awaits_approval() => Phase::AwaitingCutover,
        Stage::Forward { .. } => {
            let left = relocation.steps.iter().filter(|step| !step.is_done());
            let phase = left
                .map(|step| phase_of(&step.id))
                .min_by_key(|(order, _)| *order)
                .map_or(Phase::Verifying, |(_, phase)| phase);
            let asked = relocation.request.cutover == Cutover::Manual;
            match phase {
                Phase::Planned | Phase::InitialSync if asked && relocation.is_at_cutover() => {
                    Phase::FinalSync
                }
                phase => phase,
            }
        }
        Stage::Undoing { why: Why::Canceled } => Phase::Canceling,
        Stage::Undoing { why: Why::Failed(_) } => Phase::RollingBack,
        Stage::Stuck { .. } => Phase::Stuck,
        Stage::Ended { phase, .. } => *phase,
    }
}

fn phase_of(step: &StepId) -> (u8, Phase) {
    match step {
        StepId::Reserve | StepId::Furnish | StepId::Rehearse(_) | StepId::Address(_) | StepId::Observe(_) => {
            (0, Phase::Planned)
        }
        StepId::Prepare(_) | StepId::Freeze(_) | StepId::Sync(_) | StepId::Copy(_) | StepId::Recopy(_) => {
            (1, Phase::InitialSync)
        }
        StepId::Adapt(_) | StepId::Fold(_) | StepId::Rewrite(_) => (2, Phase::Adapting),
        StepId::Create(_) | StepId::SetAside(_) => (3, Phase::Creating),
        StepId::Verify(_) | StepId::Snapshot(_) | StepId::KeepImage(_) | StepId::Commit | StepId::Tidy => {
            (4, Phase::Verifying)
        }
    }
}

fn conditions(relocation: &Relocation, seen: &Seen<'_>) -> Vec<String> {
    let mut conditions = Vec::new();
    if relocation.is_paused() {
        conditions.push("paused".to_owned());
    }
    if seen.stalled {
        conditions.push("stalled".to_owned());
    }
    if relocation.cancel == Cancel::TooLate {
        conditions.push("past_no_return: cancel was refused, the relocation is committed".to_owned());
    }
    conditions.extend(match (relocation.pause, relocation.is_committed()) {
        (Pause::TooLate, true) => {
            Some("past_no_return: pause was refused, the relocation is committed".to_owned())
        }
        (Pause::TooLate, false) => Some(
            "too_late: pause was refused, as the target may serve already, or all is being undone".to_owned(),
        ),
        _ => None,
    });
    let unclean = relocation.moving().filter_map(|(component, _)| unclean_stop(relocation, component));
    conditions
        .extend(unclean.map(|concern| format!("unclean_stop: {}: {}", concern.subject, concern.message)));
    conditions
}

fn failure(relocation: &Relocation) -> Option<Failure> {
    let canceled = Failure::never(Code::Canceled, "canceled by a user", "request it again with a new id");
    match (&relocation.failure, &relocation.stage) {
        (Some(failure), _) => Some(failure.clone()),
        (None, Stage::Undoing { why: Why::Canceled } | Stage::Ended { phase: Phase::Canceled, .. }) => {
            Some(canceled)
        }
        (None, _) => None,
    }
}

/// A stuck relocation has ended as far as it can by itself.
fn shows_report(relocation: &Relocation) -> bool {
    matches!(relocation.stage, Stage::Ended { .. } | Stage::Stuck { .. })
}

fn step_status(relocation: &Relocation, step: &Step, now: OffsetDateTime) -> StepStatus {
    let failure = match &step.undo {
        Undo::Failed { failure } => Some(failure.clone()),
        _ => step.failure.clone(),
    };
    StepStatus {
        id: step.id.clone(),
        state: step_state(relocation, step),
        seconds: seconds(step, now),
        attempts: step.epoch.0,
        worker: step.worker().cloned(),
        failure,
    }
}

fn step_state(relocation: &Relocation, step: &Step) -> StepState {
    match (&step.undo, &step.state) {
        (Undo::Running { .. } | Undo::Retrying { .. }, _) => StepState::Undoing,
        (Undo::Done, _) => StepState::Undone,
        (Undo::Failed { .. }, _) => StepState::Failed,
        (Undo::NotBegun, State::Waiting) => StepState::Waiting,
        (Undo::NotBegun, State::Issued | State::Leased { .. } | State::Resting { .. }) => {
            match relocation.stage {
                // A task that nobody claimed when it turned back is nobody's any more.
                Stage::Undoing { .. } | Stage::Stuck { .. } | Stage::Ended { .. } if !step.in_flight() => {
                    StepState::Waiting
                }
                _ => StepState::Running,
            }
        }
        (Undo::NotBegun, State::Retrying { .. }) => match relocation.stage {
            Stage::Forward { .. } => StepState::Retrying,
            _ => StepState::Failed,
        },
        (Undo::NotBegun, State::Done) => StepState::Done,
        (Undo::NotBegun, State::Failed) => StepState::Failed,
    }
}

/// From its first attempt on; what still runs, up to now.
pub(crate) fn seconds(step: &Step, now: OffsetDateTime) -> f64 {
    match (step.first_issued_at, step.ended_at) {
        (Some(from), Some(to)) => seconds_between(from, to),
        (Some(from), None) => seconds_between(from, now),
        (None, _) => 0.0,
    }
}

fn transfer(step: &Step, seen: &Seen<'_>) -> Option<TransferStatus> {
    let disk = match &step.id {
        StepId::Sync(disk) => disk.clone(),
        // Shown as disks are.
        StepId::Copy(component) if step.begun() => part(component, "copy"),
        StepId::Recopy(component) if step.begun() => part(component, "recopy"),
        _ => return None,
    };
    let state = match &step.state {
        State::Waiting => StepState::Waiting,
        State::Issued | State::Leased { .. } | State::Resting { .. } => StepState::Running,
        State::Retrying { .. } => StepState::Retrying,
        State::Done => StepState::Done,
        State::Failed => StepState::Failed,
    };
    let progress = match &step.output {
        Some(Done::Migrated { output: Output::ImageCopied(copied) }) => whole(copied.bytes),
        Some(Done::Migrated { output: Output::ContainerCopied(copied) }) => whole(copied.bytes),
        Some(Done::Migrated { output: Output::Synced { transfer } }) => TransferProgress {
            bytes_total: transfer.bytes_total,
            bytes_done: transfer.bytes_total,
            bytes_read: transfer.bytes_read.max(step.spent.bytes_read),
            bytes_zero: transfer.bytes_zero,
            bytes_reused: transfer.bytes_reused,
            bytes_on_wire: transfer.bytes_on_wire.max(step.spent.bytes_on_wire),
            rate_bytes_per_sec: 0,
            eta_seconds: None,
        },
        _ => {
            let mut progress = told(step, seen).cloned().unwrap_or_else(|| spent(step));
            progress.bytes_read = progress.bytes_read.max(step.spent.bytes_read);
            progress.bytes_on_wire = progress.bytes_on_wire.max(step.spent.bytes_on_wire);
            progress
        }
    };
    Some(TransferStatus { disk, state, progress })
}

/// What its worker told latest.
fn told<'a>(step: &Step, seen: &Seen<'a>) -> Option<&'a TransferProgress> {
    seen.progress.iter().find(|(id, _)| *id == step.id).map(|(_, progress)| progress)
}

/// How far it was when the latest attempt ended: what is durable of it is not moved again.
fn spent(step: &Step) -> TransferProgress {
    TransferProgress {
        bytes_total: step.spent.bytes_total,
        bytes_done: step.spent.bytes_done,
        ..TransferProgress::default()
    }
}

fn whole(bytes: u64) -> TransferProgress {
    TransferProgress { bytes_total: bytes, bytes_done: bytes, ..TransferProgress::default() }
}
