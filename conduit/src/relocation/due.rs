//! What should be under way now, by the state alone. The loop compares it with what is under way and starts or
//! stops the difference; after a crash nothing is under way, so all of it is started. No wait here is a wall-clock
//! time: a wait begins when the loop first sees it.

use std::time::Duration;

use fluidcloud_proto::ids::{Epoch, WorkerId};
use fluidcloud_proto::plan::{Runner, StepId};

use super::step::{State, Step, Undo};
use super::{Relocation, Stage};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Ask the source's provider for the topology.
    Inspect {
        attempt: u32,
        wait: Duration,
    },
    /// Ask the broker for offers until it answers.
    AskOffers,
    /// Make the plan and record it.
    MakePlan,
    /// Keep telling the broker which workers are needed.
    PlaceWorkers,
    /// Record that the step is handed out, after the wait.
    Issue {
        step: StepId,
        epoch: Epoch,
        wait: Duration,
    },
    /// Run a step of the conduit's own.
    Run {
        step: StepId,
        epoch: Epoch,
    },
    /// Let a step of the conduit's own come to rest; record that it did.
    Halt {
        step: StepId,
        epoch: Epoch,
    },
    /// Have the task in its queue until a worker claims it.
    Hand {
        step: StepId,
        epoch: Epoch,
    },
    /// Expect to hear from the worker that holds the task.
    Await {
        step: StepId,
        epoch: Epoch,
        worker: WorkerId,
    },
    /// The same, and keep telling the worker to stop.
    Abort {
        step: StepId,
        epoch: Epoch,
        worker: WorkerId,
    },
    /// Record that the undo begins, after the wait.
    BeginUndo {
        step: StepId,
        attempt: u32,
        wait: Duration,
    },
    Undo {
        step: StepId,
        attempt: u32,
    },
}

impl Relocation {
    pub fn due(&self) -> Vec<Effect> {
        match &self.stage {
            Stage::Pending | Stage::Stuck { .. } | Stage::Ended { .. } => Vec::new(),
            // It has only looked until now, and looks again later.
            Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning if self.is_paused() => Vec::new(),
            Stage::Inspecting { failures, wait } => {
                vec![Effect::Inspect { attempt: failures + 1, wait: *wait }]
            }
            Stage::Choosing => vec![Effect::AskOffers],
            Stage::Planning => vec![Effect::MakePlan],
            Stage::Forward { .. } => self.due_forward(),
            Stage::Undoing { .. } if self.steps.iter().any(Step::in_flight) => {
                self.steps.iter().filter_map(coming_to_rest).collect()
            }
            Stage::Undoing { .. } => self.due_undo(),
        }
    }

    fn due_forward(&self) -> Vec<Effect> {
        let mut due: Vec<Effect> = self.steps.iter().filter_map(|step| self.due_forward_of(step)).collect();
        // Who waits for a person needs no workers meanwhile.
        let goes_on = !self.is_paused() && !self.awaits_approval();
        if goes_on && self.steps.iter().any(|step| !step.by_conduit() && !step.is_done()) {
            due.push(Effect::PlaceWorkers);
        }
        due
    }

    fn due_forward_of(&self, step: &Step) -> Option<Effect> {
        let (id, epoch) = (step.id.clone(), step.epoch);
        match (&step.state, &step.runs) {
            (State::Waiting, _) if self.is_ready(&step.after) && !self.is_held(&step.id) => {
                Some(Effect::Issue { step: id, epoch: epoch.next(), wait: Duration::ZERO })
            }
            (State::Retrying { wait }, _) if !self.is_held(&step.id) => {
                Some(Effect::Issue { step: id, epoch: epoch.next(), wait: *wait })
            }
            (State::Issued, Runner::Conduit) => Some(Effect::Run { step: id, epoch }),
            (State::Issued, Runner::Migrator { .. }) => Some(Effect::Hand { step: id, epoch }),
            (State::Leased { worker }, _) => Some(Effect::Await { step: id, epoch, worker: worker.clone() }),
            (State::Resting { worker }, _) => Some(Effect::Abort { step: id, epoch, worker: worker.clone() }),
            (State::Waiting | State::Retrying { .. } | State::Done | State::Failed, _) => None,
        }
    }

    fn due_undo(&self) -> Vec<Effect> {
        let steps = self.steps.iter().zip(self.undoable());
        steps
            .filter_map(|(step, undoable)| {
                let id = step.id.clone();
                match step.undo {
                    Undo::Running { attempt } => Some(Effect::Undo { step: id, attempt }),
                    Undo::NotBegun if undoable => {
                        Some(Effect::BeginUndo { step: id, attempt: 1, wait: Duration::ZERO })
                    }
                    Undo::Retrying { failed, wait } if undoable => {
                        Some(Effect::BeginUndo { step: id, attempt: failed + 1, wait })
                    }
                    _ => None,
                }
            })
            .collect()
    }
}

fn coming_to_rest(step: &Step) -> Option<Effect> {
    let (id, epoch) = (step.id.clone(), step.epoch);
    match &step.state {
        State::Issued if step.by_conduit() => Some(Effect::Halt { step: id, epoch }),
        State::Leased { worker } | State::Resting { worker } => {
            Some(Effect::Abort { step: id, epoch, worker: worker.clone() })
        }
        _ => None,
    }
}
