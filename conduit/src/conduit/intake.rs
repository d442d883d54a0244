//! What comes in over the bus: requests, and events of workers and the broker. Each may come twice, late or out of
//! order; what does not hold the lease it speaks for is refused and told to stop.

use fluidcloud_proto::bus::Delivery;
use fluidcloud_proto::command::WorkerCommand;
use fluidcloud_proto::event::{Event, Notice};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{RelocationId, WorkerId};
use fluidcloud_proto::request::{RelocationRequest, from_json};
use fluidcloud_proto::task::{Output, TaskKey};
use tokio::time::Instant;

use super::Error;
use super::mouth::Sentence;
use super::owner::Owner;
use crate::relocation::{Done, Entry, Fact, Stage, State, moving, target_name};

impl Owner {
    pub(super) async fn requested(&mut self, delivery: Delivery) -> Result<(), Error> {
        let body = &delivery.message.body;
        let request = match from_json(body) {
            Ok(request) => request,
            Err(failure) => {
                let id = id_in(body);
                self.refuse(delivery, id, failure).await;
                return Ok(());
            }
        };
        let (id, digest) = (request.id, digest(&request));
        match self.store.digest_of(id).await? {
            Some(known) if known == digest => self.report_one(id).await?,
            Some(_) => {
                let message = format!("relocation {id} was requested before with another body");
                let remedy = "give a new request an id of its own, or repeat the first one unchanged";
                let failure = Failure::never(Code::ConflictingRequest, message, remedy);
                self.refuse(delivery, Some(id), failure).await;
                return Ok(());
            }
            None => {
                let conflict = self.conflict(&request);
                let mut facts = vec![Fact::Requested { request: Box::new(request), digest }];
                facts.extend(conflict.map(|failure| Fact::Refused { failure }));
                self.begin(id, facts).await?;
            }
        }
        self.mouth.say(Sentence::Ack(delivery)).await;
        Ok(())
    }

    /// To the dead-letter queue, and to whoever waits for it.
    async fn refuse(&mut self, delivery: Delivery, id: Option<RelocationId>, failure: Failure) {
        tracing::warn!(message = %delivery.message.id, %failure, "request refused");
        let code = serde_json::to_value(failure.code).ok();
        let code = code.as_ref().and_then(|code| code.as_str()).unwrap_or("refused").to_owned();
        self.mouth.say(Sentence::Reject(delivery, format!("{code}: {failure}"))).await;
        self.mouth.say(Sentence::Notice(Box::new(Notice::RequestRefused { id, failure }))).await;
    }

    /// One instance is moved by one relocation at a time, and two may not make the same name at one target.
    fn conflict(&self, request: &RelocationRequest) -> Option<Failure> {
        let from = &request.service.provider;
        self.held.values().find_map(|held| {
            let other = &held.state;
            let clash = moving(request).find(|(_, wanted)| {
                other.moving().any(|(_, theirs)| {
                    let same_source = *from == other.request.service.provider && wanted.id == theirs.id;
                    let their_target = other.bound_for();
                    let moves_on = their_target == Some(from) && wanted.id == *target_name(theirs);
                    let into_theirs = request.target.provider.as_ref().is_some_and(|to| {
                        (their_target == Some(to) && target_name(wanted) == target_name(theirs))
                            || (*to == other.request.service.provider && *target_name(wanted) == theirs.id)
                    });
                    same_source || moves_on || into_theirs
                })
            })?;
            let message = format!("instance {} at {from} is part of relocation {}", clash.1.id, other.id);
            let remedy = "wait until that one has ended, or cancel it";
            Some(Failure::never(Code::ConflictingRequest, message, remedy))
        })
    }

    /// Two that chose the same target may not make the same name there either: one of them would find out only after
    /// its whole downtime.
    fn name_taken(&self, id: RelocationId, offers: &Fact) -> Option<Failure> {
        let chosen = self.held.get(&id)?.state.clone();
        let at = chosen.changed_at;
        let chosen = chosen.next(&Entry { at, fact: offers.clone() }).ok()?;
        let target = chosen.target.as_ref()?;
        self.held.values().filter(|held| held.state.id != id).find_map(|held| {
            let other = &held.state;
            let (_, wanted) = chosen.moving().find(|(_, wanted)| {
                other.bound_for() == Some(target)
                    && other.moving().any(|(_, theirs)| target_name(theirs) == target_name(wanted))
            })?;
            let message =
                format!("relocation {} makes {} at {target} already", other.id, target_name(wanted));
            Some(Failure::never(
                Code::ConflictingRequest,
                message,
                "give it another `target_name`, or another target",
            ))
        })
    }

    pub(super) async fn event(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::TaskClaimed { key, worker } => self.claimed(key, worker).await,
            Event::TaskProgressed { key, worker, transfer } => {
                if !self.leases.heard(&key, &worker, Instant::now()) {
                    return self.stop(key, worker).await;
                }
                if let (Some(held), Some(transfer)) = (self.held.get_mut(&key.relocation), transfer) {
                    held.progressed(key.step, transfer);
                }
                Ok(())
            }
            Event::TaskSucceeded { key, worker, output } => self.succeeded(key, worker, output).await,
            Event::TaskFailed { key, worker, failure } => {
                if !self.holds(&key, &worker) {
                    return Ok(());
                }
                tracing::warn!(task = %key, %worker, %failure, "task failed");
                let spent = self.held.get(&key.relocation).and_then(|held| held.spent(&key.step));
                let fact = Fact::StepFailed { step: key.step, epoch: key.epoch, failure, spent };
                self.record(key.relocation, vec![fact]).await?;
                self.settle(key.relocation).await
            }
            Event::OffersMade { relocation, offers } => {
                let choosing =
                    self.held.get(&relocation).is_some_and(|held| held.state.stage == Stage::Choosing);
                if choosing {
                    let mut facts = vec![Fact::OffersMade { offers }];
                    facts.extend(
                        self.name_taken(relocation, &facts[0]).map(|failure| Fact::Refused { failure }),
                    );
                    self.record(relocation, facts).await?;
                    self.settle(relocation).await?;
                }
                Ok(())
            }
        }
    }

    /// The lease is recorded before the worker may begin. Asked again by its holder, it is granted again.
    async fn claimed(&mut self, key: TaskKey, worker: WorkerId) -> Result<(), Error> {
        let free = self.held.get(&key.relocation).is_some_and(|held| {
            matches!(held.state.stage, Stage::Forward { .. })
                && held.state.step(&key.step).is_some_and(|step| {
                    step.state == State::Issued && step.epoch == key.epoch && !step.by_conduit()
                })
        });
        if free {
            let fact = Fact::StepLeased { step: key.step.clone(), epoch: key.epoch, worker: worker.clone() };
            self.record(key.relocation, vec![fact]).await?;
            self.settle(key.relocation).await?;
        }
        // One that is to rest, or that is in the way of an undo, does not begin.
        let going = self.held.get(&key.relocation).is_some_and(|held| {
            let step = held.state.step(&key.step);
            matches!(held.state.stage, Stage::Forward { .. })
                && step.is_some_and(|step| matches!(step.state, State::Leased { .. }))
        });
        let answer = if going && self.holds(&key, &worker) {
            self.leases.heard(&key, &worker, Instant::now());
            WorkerCommand::Granted { key }
        } else {
            WorkerCommand::Refused { key }
        };
        self.mouth.say(Sentence::ToWorker(worker, answer)).await;
        Ok(())
    }

    async fn succeeded(&mut self, key: TaskKey, worker: WorkerId, output: Output) -> Result<(), Error> {
        if !self.holds(&key, &worker) {
            tracing::info!(task = %key, %worker, "an answer without a lease is refused");
            return Ok(());
        }
        let output = Done::Migrated { output };
        let fact = if output.fits(&key.step) {
            Fact::StepDone { step: key.step, epoch: key.epoch, output }
        } else {
            let message = format!("worker {worker} answered `{}` with the result of another task", key.step);
            let failure =
                Failure::never(Code::Internal, message, "see that all parts are of the same version");
            Fact::StepFailed { step: key.step, epoch: key.epoch, failure, spent: None }
        };
        self.record(key.relocation, vec![fact]).await?;
        self.settle(key.relocation).await
    }

    /// By the log: this worker holds this task under this epoch.
    fn holds(&self, key: &TaskKey, worker: &WorkerId) -> bool {
        self.held
            .get(&key.relocation)
            .and_then(|held| held.state.step(&key.step))
            .is_some_and(|step| step.epoch == key.epoch && step.worker() == Some(worker))
    }

    /// It works on what it does not hold: somebody else does, or it is over.
    async fn stop(&mut self, key: TaskKey, worker: WorkerId) -> Result<(), Error> {
        tracing::info!(task = %key, %worker, "a worker without a lease is told to stop");
        self.mouth.say(Sentence::ToWorker(worker, WorkerCommand::Abort { key })).await;
        Ok(())
    }
}

/// The same whatever the spelling of the document.
pub(super) fn digest(request: &RelocationRequest) -> String {
    let body = serde_json::to_vec(request).unwrap_or_default();
    blake3::hash(&body).to_hex().to_string()
}

fn id_in(body: &[u8]) -> Option<RelocationId> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    value.get("id")?.as_str()?.parse().ok()
}
