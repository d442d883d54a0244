//! One step of a relocation in progress: where it stands going forward, and where its undo stands.

use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{Epoch, WorkerId};
use fluidcloud_proto::plan::{Runner, StepId};
use fluidcloud_proto::progress::TransferProgress;
use time::OffsetDateTime;

use super::fact::Done;

/// Attempts in a row that bring a step no further, before the relocation is undone.
pub const STEP_ATTEMPTS_MAX: u32 = 5;
/// Times one step is handed out at all.
pub const STEP_ISSUES_MAX: u64 = 200;
/// Times one undo is tried before the relocation is stuck: with the waits between them half an hour, so that a host that
/// is rebooted, or a dead worker's last process that still holds a disk, does not need a person.
pub const UNDO_ATTEMPTS_MAX: u32 = 35;
/// Wait before the second attempt; doubled for each further one.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(2);
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub id: StepId,
    pub after: Vec<StepId>,
    pub runs: Runner,
    pub state: State,
    /// How often it was handed out; zero when never.
    pub epoch: Epoch,
    /// How often a pause took it back: no attempt that failed.
    pub rests: u64,
    /// In a row, since it last got further.
    pub failures: u32,
    pub first_issued_at: Option<OffsetDateTime>,
    /// Of the latest attempt.
    pub issued_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
    /// Of the latest attempt that failed.
    pub failure: Option<Failure>,
    /// What failed attempts were last heard of.
    pub spent: Spent,
    pub output: Option<Done>,
    pub undo: Undo,
    pub undone_at: Option<OffsetDateTime>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// For the steps before it.
    Waiting,
    /// Run by the conduit, or in a queue for whoever claims it.
    Issued,
    Leased {
        worker: WorkerId,
    },
    /// A pause came: the worker is told to stop, also when it was resumed meanwhile, and has not answered yet.
    Resting {
        worker: WorkerId,
    },
    /// Failed, and handed out again after the wait.
    Retrying {
        wait: Duration,
    },
    Done,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    NotBegun,
    Running { attempt: u32 },
    Retrying { failed: u32, wait: Duration },
    Done,
    Failed { failure: Failure },
}

/// A worker tells sums over all attempts, its predecessors' too; should it not know of them, then at least as much
/// as was told before was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spent {
    pub bytes_total: u64,
    pub bytes_done: u64,
    pub bytes_read: u64,
    pub bytes_on_wire: u64,
    /// Of these attempts, each from when it was handed out.
    pub seconds: f64,
}

impl Step {
    pub fn new(id: StepId, after: Vec<StepId>, runs: Runner) -> Self {
        Self {
            id,
            after,
            runs,
            state: State::Waiting,
            epoch: Epoch(0),
            rests: 0,
            failures: 0,
            first_issued_at: None,
            issued_at: None,
            ended_at: None,
            failure: None,
            spent: Spent::default(),
            output: None,
            undo: Undo::NotBegun,
            undone_at: None,
        }
    }

    /// It may have left something behind.
    pub fn begun(&self) -> bool {
        self.epoch > Epoch(0)
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub fn by_conduit(&self) -> bool {
        self.runs == Runner::Conduit
    }

    /// Somebody may be working on it at this moment. A task that nobody claimed is not: its claim will be refused.
    pub fn in_flight(&self) -> bool {
        match self.state {
            State::Issued => self.by_conduit(),
            State::Leased { .. } | State::Resting { .. } => true,
            _ => false,
        }
    }

    pub fn worker(&self) -> Option<&WorkerId> {
        match &self.state {
            State::Leased { worker } | State::Resting { worker } => Some(worker),
            _ => None,
        }
    }

    /// Moves bytes from site to site, and goes on from what is durable when it is handed out again.
    pub fn is_transfer(&self) -> bool {
        matches!(self.id, StepId::Sync(_) | StepId::Copy(_) | StepId::Recopy(_))
    }

    /// Makes or changes something at a provider, so that a relocation that ran it has to be rolled back.
    pub fn leaves_traces(&self) -> bool {
        matches!(
            self.id,
            StepId::Furnish
                | StepId::Address(_)
                | StepId::Prepare(_)
                | StepId::Copy(_)
                | StepId::Freeze(_)
                | StepId::Create(_)
                | StepId::Snapshot(_)
                | StepId::SetAside(_)
                | StepId::KeepImage(_)
                | StepId::Verify(_)
                | StepId::Commit
        )
    }

    /// Counts an attempt that failed. What one has moved stays moved, so that only those count which moved nothing;
    /// one that was handed back was not even tried.
    pub(super) fn count_failure(
        &mut self,
        failure: &Failure,
        spent: Option<&TransferProgress>,
        at: OffsetDateTime,
    ) {
        if spent.is_some_and(|spent| spent.bytes_done > self.spent.bytes_done) {
            self.failures = 0;
        }
        if failure.code != Code::HandedBack {
            self.failures += 1;
        }
        self.failure = Some(failure.clone());
        self.count_spent(spent, at);
    }

    /// Whether it is handed out once more after a failure that may heal.
    pub(super) fn may_go_on(&self) -> bool {
        self.failures < STEP_ATTEMPTS_MAX && self.epoch.0 - self.rests < STEP_ISSUES_MAX
    }

    /// A pause: what nobody works on waits again, a transfer comes to rest, anything else under way ends first.
    pub(super) fn hold(&mut self, at: OffsetDateTime) {
        match &self.state {
            State::Issued if !self.by_conduit() => self.wait_again(at),
            State::Leased { worker } if self.is_transfer() => {
                self.state = State::Resting { worker: worker.clone() };
            }
            _ => {}
        }
    }

    /// Whether this is how an attempt ends that was told to rest: by its worker, or because that worker is gone. Anything
    /// else went wrong by itself.
    pub(super) fn came_to_rest(&self, failure: &Failure) -> bool {
        let stopped = matches!(failure.code, Code::Canceled | Code::HandedBack | Code::LeaseLost);
        stopped && matches!(self.state, State::Resting { .. })
    }

    pub(super) fn rest(&mut self, spent: Option<&TransferProgress>, at: OffsetDateTime) {
        self.count_spent(spent, at);
        self.wait_again(at);
    }

    /// Until it is handed out once more, no time counts as its own.
    fn wait_again(&mut self, at: OffsetDateTime) {
        self.state = State::Waiting;
        self.rests += 1;
        self.ended_at = Some(at);
    }

    fn count_spent(&mut self, spent: Option<&TransferProgress>, at: OffsetDateTime) {
        let Some(spent) = spent else { return };
        self.spent.bytes_total = spent.bytes_total;
        self.spent.bytes_done = self.spent.bytes_done.max(spent.bytes_done);
        self.spent.bytes_read = self.spent.bytes_read.max(spent.bytes_read);
        self.spent.bytes_on_wire = self.spent.bytes_on_wire.max(spent.bytes_on_wire);
        self.spent.seconds += self.issued_at.map_or(0.0, |from| seconds_between(from, at));
    }
}

/// Wait before the attempt that follows `failures` failed ones. A lost lease was waited for already, and for one that
/// was handed back there is nothing to wait for.
pub fn backoff(failures: u32, failure: &Failure) -> Duration {
    if matches!(failure.code, Code::LeaseLost | Code::HandedBack) {
        return Duration::ZERO;
    }
    BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

/// Never negative, whatever a wall clock did meanwhile.
pub fn seconds_between(from: OffsetDateTime, to: OffsetDateTime) -> f64 {
    (to - from).as_seconds_f64().max(0.0)
}
