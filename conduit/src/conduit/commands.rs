//! From the state to action: facts that follow at once, jobs for what takes time, and what comes of a job when it
//! has ended.

use fluidcloud_proto::command::{BrokerCommand, WorkerCommand};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{Epoch, RelocationId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::task::TaskKey;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Error;
use super::job;
use super::jobs::{Ended, Outcome};
use super::mouth::Sentence;
use super::owner::Owner;
use crate::lease::LEASE_SECS;
use crate::plan;
use crate::relocation::{Effect, Fact, Relocation};

impl Owner {
    /// The due effects that are only facts.
    pub(super) fn facts_due(&self, id: RelocationId) -> Vec<Fact> {
        let Some(held) = self.held.get(&id) else { return Vec::new() };
        let due = held.state.due().into_iter();
        due.filter_map(|effect| match effect {
            Effect::MakePlan => Some(self.make_plan(&held.state)),
            Effect::Issue { step, epoch, wait } if wait.is_zero() => Some(Fact::StepIssued { step, epoch }),
            Effect::BeginUndo { step, attempt, wait } if wait.is_zero() => {
                Some(Fact::UndoBegun { step, attempt })
            }
            // Nothing of it runs: it was under way in a process that is gone.
            Effect::Halt { step, epoch } if !self.jobs.runs_step(id, &step, epoch) => {
                let failure =
                    Failure::never(Code::Canceled, "the step was halted", "request the relocation again");
                Some(Fact::StepFailed { step, epoch, failure, spent: None })
            }
            _ => None,
        })
        .collect()
    }

    fn make_plan(&self, state: &Relocation) -> Fact {
        let planned = (|| {
            let amiss = || Failure::never(Code::Internal, "nothing was inspected or chosen", "report this");
            let target = state.target.as_ref().ok_or_else(amiss)?;
            let topology = state.topology.as_ref().ok_or_else(amiss)?;
            let provider = self.means.registry.get(target).map_err(|error| error.to_failure())?;
            let source = self.means.registry.get(&state.request.service.provider);
            let source = source.map_err(|error| error.to_failure())?;
            plan::suits(&state.request, &*source, &*provider)?;
            let plan = Box::new(plan::for_target(&state.request, topology, &*provider)?);
            Ok(Fact::Planned { plan, hardware: provider.hardware().clone() })
        })();
        planned.unwrap_or_else(|failure| Fact::Refused { failure })
    }

    /// Brings what is under way in line with what is due.
    pub(super) fn reconcile(&mut self, id: RelocationId) {
        let Some(held) = self.held.get(&id) else { return };
        let state = held.state.clone();
        let due = state.due();
        self.jobs.keep(id, &due);
        let leased: Vec<_> = due.iter().filter_map(|effect| leased(id, effect)).collect();
        let keys: Vec<TaskKey> = leased.iter().map(|(key, _)| key.clone()).collect();
        self.leases.keep(id, &keys);
        for (key, worker) in leased {
            self.leases.hold(key, worker, Instant::now());
        }
        for effect in due {
            if !self.jobs.is_running(id, &effect) {
                self.start(&state, effect);
            }
        }
    }

    fn start(&mut self, state: &Relocation, effect: Effect) {
        let (id, bus, means, halt) =
            (state.id, self.bus.clone(), self.means.clone(), CancellationToken::new());
        let start = effect.clone();
        match effect {
            Effect::Inspect { wait, .. } => {
                self.jobs.start(id, start, job::look(means, state.clone(), wait), halt);
            }
            Effect::AskOffers => self.jobs.start(id, start, job::ask_offers(bus, id, state.need()), halt),
            Effect::PlaceWorkers => {
                let workers = plan::workers(state.steps.iter().map(|step| &step.runs));
                let command = BrokerCommand::PlaceWorkers { relocation: id, workers };
                self.jobs.start(id, start, job::place_workers(bus, command), halt);
            }
            Effect::Issue { wait, .. } | Effect::BeginUndo { wait, .. } => {
                self.jobs.start(id, start, job::wait(wait), halt);
            }
            Effect::Run { step, .. } => {
                let work = job::run(means, state.clone(), step, halt.clone());
                self.jobs.start(id, start, work, halt);
            }
            Effect::Hand { step, .. } => {
                if let Some(step) = state.step(&step) {
                    self.jobs.start(id, start, job::hand(bus, state.task(step, LEASE_SECS)), halt);
                }
            }
            Effect::Abort { step, epoch, worker } => {
                let key = TaskKey { relocation: id, step, epoch };
                self.jobs.start(id, start, job::abort(bus, worker, key), halt);
            }
            Effect::Undo { step, .. } => {
                self.jobs.start(id, start, job::undo(means, state.clone(), step), halt);
            }
            Effect::MakePlan | Effect::Halt { .. } | Effect::Await { .. } => {}
        }
    }

    /// A job has ended.
    pub(super) async fn ended(&mut self, outcome: Outcome) -> Result<(), Error> {
        let Outcome { relocation: id, effect, ended } = outcome;
        let Some(held) = self.held.get(&id) else { return Ok(()) };
        let spent = |step: &StepId| held.spent(step);
        let fact = match (effect, ended) {
            (Effect::Inspect { .. }, Ended::Inspected(Ok(topology))) => match self.past.moved_away(&topology)
            {
                Some(failure) => Fact::Refused { failure },
                None => Fact::Inspected { topology },
            },
            (Effect::Inspect { .. }, Ended::Inspected(Err(failure))) => Fact::InspectionFailed { failure },
            (Effect::AskOffers, Ended::Unanswered(failure)) => Fact::Refused { failure },
            (Effect::Issue { step, epoch, .. }, Ended::Waited) => Fact::StepIssued { step, epoch },
            (Effect::Run { step, epoch }, Ended::Ran(Ok(output))) => Fact::StepDone { step, epoch, output },
            (Effect::Run { step, epoch } | Effect::Hand { step, epoch }, Ended::Ran(Err(failure))) => {
                tracing::warn!(relocation = %id, %step, %failure, "step failed");
                Fact::StepFailed { step, epoch, failure, spent: None }
            }
            (Effect::Abort { step, epoch, worker }, Ended::Overdue) => {
                tracing::warn!(relocation = %id, %step, %worker, "the worker does not stop and is fenced");
                Fact::StepFailed { spent: spent(&step), step, epoch, failure: lost() }
            }
            (Effect::BeginUndo { step, attempt, .. }, Ended::Waited) => Fact::UndoBegun { step, attempt },
            (Effect::Undo { step, .. }, Ended::Undone(Ok(()))) => Fact::UndoDone { step },
            (Effect::Undo { step, .. }, Ended::Undone(Err(failure))) => {
                tracing::warn!(relocation = %id, %step, %failure, "undo failed");
                Fact::UndoFailed { step, failure }
            }
            (effect, ended) => {
                tracing::error!(relocation = %id, ?effect, ?ended, "a job ended as it cannot");
                return Ok(());
            }
        };
        self.record(id, vec![fact]).await?;
        self.settle(id).await
    }

    /// Its worker was not heard for too long: from now on it is fenced, and told so in case it lives.
    pub(super) async fn lease_lost(&mut self, key: &TaskKey) -> Result<(), Error> {
        let id = key.relocation;
        let Some(held) = self.held.get(&id) else { return Ok(()) };
        let Some(worker) = held.state.step(&key.step).and_then(|step| step.worker()).cloned() else {
            return Ok(());
        };
        tracing::warn!(task = %key, %worker, "the worker was not heard for too long");
        let spent = held.spent(&key.step);
        let fact = Fact::StepFailed { step: key.step.clone(), epoch: key.epoch, failure: lost(), spent };
        self.record(id, vec![fact]).await?;
        self.mouth.say(Sentence::ToWorker(worker, WorkerCommand::Abort { key: key.clone() })).await;
        self.settle(id).await
    }
}

fn leased(id: RelocationId, effect: &Effect) -> Option<(TaskKey, fluidcloud_proto::ids::WorkerId)> {
    let (Effect::Await { step, epoch, worker } | Effect::Abort { step, epoch, worker }) = effect else {
        return None;
    };
    Some((key(id, step, *epoch), worker.clone()))
}

fn key(relocation: RelocationId, step: &StepId, epoch: Epoch) -> TaskKey {
    TaskKey { relocation, step: step.clone(), epoch }
}

fn lost() -> Failure {
    let message = format!("its worker was not heard for {LEASE_SECS} s");
    Failure::later(Code::LeaseLost, message, "see whether the worker and its host are well")
}
