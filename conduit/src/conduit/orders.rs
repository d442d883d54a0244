//! What persons order over the bus, and who asks for a report. An order that changes nothing is answered with the status
//! as it is; one that comes too late is recorded, so that the status says so; one for nobody is a dead letter.

use fluidcloud_proto::bus::Delivery;
use fluidcloud_proto::command::Control;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;

use super::Error;
use super::mouth::Sentence;
use super::owner::{Held, Owner};
use crate::relocation::{Cancel, Fact, Relocation, Stage};

impl Owner {
    pub(super) async fn control(&mut self, control: Control, delivery: Delivery) -> Result<(), Error> {
        let order = delivery.message.id;
        let (id, fact) = match control {
            Control::Report => {
                self.report_all().await;
                self.mouth.say(Sentence::Ack(delivery)).await;
                return Ok(());
            }
            Control::Cancel { relocation } => (relocation, Fact::CancelAsked),
            Control::Retry { relocation } => (relocation, Fact::RetryAsked),
            Control::Approve { relocation } => (relocation, Fact::CutoverApproved),
            Control::Pause { relocation } => (relocation, Fact::PauseAsked { order }),
            Control::Resume { relocation } => (relocation, Fact::ResumeAsked { order }),
        };
        let Some(held) = self.held.get(&id) else {
            return self.control_of_absent(id, delivery).await;
        };
        if applies(&fact, &held.state) {
            if let Some(failure) = too_late(&fact, &held.state) {
                tracing::warn!(relocation = %id, order = fact.name(), %failure, "order refused");
            }
            self.record(id, vec![fact]).await?;
            self.settle(id).await?;
        } else {
            tracing::info!(relocation = %id, order = fact.name(), "the order changes nothing");
            self.tell(id).await;
        }
        self.mouth.say(Sentence::Ack(delivery)).await;
        Ok(())
    }

    async fn control_of_absent(&mut self, id: RelocationId, delivery: Delivery) -> Result<(), Error> {
        if self.store.digest_of(id).await?.is_some() {
            tracing::info!(relocation = %id, "has ended; the order changes nothing");
            self.report_one(id).await?;
            self.mouth.say(Sentence::Ack(delivery)).await;
        } else {
            let reason = format!("unknown_relocation: there is no relocation {id}; see `fluidcloud status`");
            tracing::warn!(%reason, "order refused");
            self.mouth.say(Sentence::Reject(delivery, reason)).await;
        }
        Ok(())
    }

    async fn report_all(&mut self) {
        let mut shown: Vec<_> = self.past.statuses().cloned().collect();
        shown.extend(self.held.values().map(|held| self.show(held)));
        for status in shown {
            let notice = Notice::RelocationChanged { status: Box::new(status) };
            self.mouth.say(Sentence::Notice(Box::new(notice))).await;
        }
    }

    pub(super) async fn report_one(&mut self, id: RelocationId) -> Result<(), Error> {
        if self.held.contains_key(&id) {
            self.tell(id).await;
            return Ok(());
        }
        let status = match self.past.status(id) {
            Some(status) => status.clone(),
            // Older than what is kept at hand.
            None => {
                let log = self.store.load(id).await?;
                self.show(&Held::new(Relocation::replay(id, &log).map_err(Error::Log)?))
            }
        };
        let notice = Notice::RelocationChanged { status: Box::new(status) };
        self.mouth.say(Sentence::Notice(Box::new(notice))).await;
        Ok(())
    }
}

/// Whether there is anything to record: a change, or a refusal that is not known yet.
fn applies(order: &Fact, state: &Relocation) -> bool {
    match order {
        Fact::CancelAsked => state.cancel == Cancel::NotAsked,
        Fact::PauseAsked { order } => state.heeds_pause(*order),
        Fact::ResumeAsked { order } => state.heeds_resume(*order),
        Fact::CutoverApproved => state.needs_approval(),
        _ => matches!(state.stage, Stage::Stuck { .. }),
    }
}

fn too_late(order: &Fact, state: &Relocation) -> Option<Failure> {
    let id = state.id;
    match (order, &state.stage) {
        (Fact::CancelAsked, Stage::Forward { committed: true }) => {
            let message = format!("relocation {id} is committed and cannot be canceled");
            let remedy = "relocate the service back, as a new relocation";
            Some(Failure::never(Code::PastNoReturn, message, remedy))
        }
        (Fact::PauseAsked { .. }, Stage::Forward { committed: true }) => {
            let message = format!("relocation {id} is committed and is not paused any more");
            Some(Failure::never(Code::PastNoReturn, message, "let it end: the service has moved"))
        }
        (Fact::PauseAsked { .. }, Stage::Forward { .. }) if state.may_a_target_run() => {
            let message = format!(
                "the target of relocation {id} may run already, and what it is given must not be lost"
            );
            Some(Failure::never(Code::PastNoReturn, message, "let it end, or cancel it"))
        }
        (Fact::PauseAsked { .. }, Stage::Undoing { .. } | Stage::Stuck { .. }) => {
            let message = format!("relocation {id} is being undone, which is not paused");
            Some(Failure::never(Code::InvalidRequest, message, "let it end: the source runs again then"))
        }
        _ => None,
    }
}
