//! The work that is under way, one job per due effect. A job ends with an outcome, is halted gently, or is aborted;
//! one that panics ends with a failure like any other. Dropping this drops all work.

use std::collections::HashMap;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{Epoch, RelocationId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::topology::Topology;
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::relocation::{Done, Effect};

/// How the work of one effect ended.
#[derive(Debug)]
pub struct Outcome {
    pub relocation: RelocationId,
    pub effect: Effect,
    pub ended: Ended,
}

#[derive(Debug)]
pub enum Ended {
    /// The wait is over.
    Waited,
    Inspected(Result<Box<Topology>, Failure>),
    /// Nobody answered for too long.
    Unanswered(Failure),
    Ran(Result<Done, Failure>),
    Undone(Result<(), Failure>),
    /// The worker was told to stop for too long and is fenced.
    Overdue,
}

#[derive(Debug, Default)]
pub struct Jobs {
    set: JoinSet<Ended>,
    running: HashMap<(RelocationId, Effect), Running>,
    keys: HashMap<Id, (RelocationId, Effect)>,
}

#[derive(Debug)]
struct Running {
    abort: AbortHandle,
    halt: CancellationToken,
}

impl Jobs {
    pub fn is_running(&self, relocation: RelocationId, effect: &Effect) -> bool {
        self.running.contains_key(&(relocation, effect.clone()))
    }

    pub fn start(
        &mut self,
        relocation: RelocationId,
        effect: Effect,
        work: impl Future<Output = Ended> + Send + 'static,
        halt: CancellationToken,
    ) {
        let abort = self.set.spawn(work);
        self.keys.insert(abort.id(), (relocation, effect.clone()));
        self.running.insert((relocation, effect), Running { abort, halt });
    }

    /// Ends the jobs of this relocation that are not due any longer. A step of the conduit's own that has to come to
    /// rest is asked to, and goes on until it has.
    pub fn keep(&mut self, relocation: RelocationId, due: &[Effect]) {
        self.running.retain(|(id, effect), job| {
            if *id != relocation || due.contains(effect) {
                return true;
            }
            if let Effect::Run { step, epoch } = effect
                && due.contains(&Effect::Halt { step: step.clone(), epoch: *epoch })
            {
                job.halt.cancel();
                return true;
            }
            job.abort.abort();
            false
        });
    }

    pub fn runs_step(&self, relocation: RelocationId, step: &StepId, epoch: Epoch) -> bool {
        self.is_running(relocation, &Effect::Run { step: step.clone(), epoch })
    }

    /// The next outcome; never, while no job runs. Cancel-safe.
    pub async fn next(&mut self) -> Outcome {
        loop {
            let Some(joined) = self.set.join_next_with_id().await else {
                std::future::pending::<()>().await;
                continue;
            };
            let id = match &joined {
                Ok((id, _)) => *id,
                Err(error) => error.id(),
            };
            let Some((relocation, effect)) = self.keys.remove(&id) else { continue };
            let key = (relocation, effect.clone());
            // An aborted job was taken out already; another one may run for the same effect by now.
            if self.running.get(&key).is_none_or(|job| job.abort.id() != id) {
                continue;
            }
            self.running.remove(&key);
            match joined {
                Ok((_, ended)) => return Outcome { relocation, effect, ended },
                Err(error) if error.is_cancelled() => {}
                Err(error) => {
                    if let Some(ended) = panicked(&effect, &error) {
                        return Outcome { relocation, effect, ended };
                    }
                }
            }
        }
    }
}

fn panicked(effect: &Effect, error: &JoinError) -> Option<Ended> {
    tracing::error!(?effect, %error, "a job panicked");
    let message = format!("the conduit failed in the middle of it: {error}");
    let failure = Failure::never(Code::Internal, message, "report this with the conduit's log");
    match effect {
        Effect::Inspect { .. } => Some(Ended::Inspected(Err(failure))),
        Effect::AskOffers => Some(Ended::Unanswered(failure)),
        Effect::Run { .. } => Some(Ended::Ran(Err(failure))),
        Effect::Undo { .. } => Some(Ended::Undone(Err(failure))),
        Effect::Abort { .. } => Some(Ended::Overdue),
        Effect::MakePlan
        | Effect::PlaceWorkers
        | Effect::Issue { .. }
        | Effect::Halt { .. }
        | Effect::Hand { .. }
        | Effect::Await { .. }
        | Effect::BeginUndo { .. } => None,
    }
}
