//! Going forward: a step is issued when all before it are done, leased by one worker, and done or failed under the
//! epoch it was issued with. Which failure is tried again and which turns the relocation round is decided here.

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::{Epoch, WorkerId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::status::Phase;
use time::OffsetDateTime;

use super::fact::Done;
use super::step::{State, backoff};
use super::{Relocation, Stage, Why};

impl Relocation {
    /// All steps that this one follows are done.
    pub(super) fn is_ready(&self, after: &[StepId]) -> bool {
        after.iter().all(|id| self.step(id).is_some_and(|step| step.is_done()))
    }

    pub(super) fn issued(&mut self, id: &StepId, epoch: Epoch, at: OffsetDateTime) -> Result<(), String> {
        let Stage::Forward { .. } = self.stage else { return Err(self.not_in("going forward")) };
        let position = self.position(id)?;
        if !self.is_ready(&self.steps[position].after) {
            return Err(format!("`{id}` follows steps that are not done"));
        }
        if self.is_held(id) {
            return Err(format!("`{id}` is held back: it is paused, or its cutover is not approved"));
        }
        let step = &mut self.steps[position];
        if !matches!(step.state, State::Waiting | State::Retrying { .. }) {
            return Err(format!("`{id}` is {:?}", step.state));
        }
        if epoch != step.epoch.next() {
            return Err(format!("epoch {epoch} of `{id}` does not follow {}", step.epoch));
        }
        step.epoch = epoch;
        step.state = State::Issued;
        step.first_issued_at.get_or_insert(at);
        step.issued_at = Some(at);
        step.ended_at = None;
        Ok(())
    }

    pub(super) fn leased(&mut self, id: &StepId, epoch: Epoch, worker: &WorkerId) -> Result<(), String> {
        let Stage::Forward { .. } = self.stage else { return Err(self.not_in("going forward")) };
        let position = self.position(id)?;
        let step = &mut self.steps[position];
        if step.by_conduit() || step.state != State::Issued || step.epoch != epoch {
            return Err(format!("epoch {epoch} of `{id}` is not to be claimed: {:?}", step.state));
        }
        step.state = State::Leased { worker: worker.clone() };
        Ok(())
    }

    /// Work may finish while an undo waits for it; it is then undone like the rest.
    pub(super) fn step_done(
        &mut self,
        id: &StepId,
        epoch: Epoch,
        output: &Done,
        at: OffsetDateTime,
    ) -> Result<(), String> {
        let position = self.in_flight(id, epoch)?;
        if !output.fits(id) {
            return Err(format!("`{id}` cannot end with {output:?}"));
        }
        let step = &mut self.steps[position];
        step.state = State::Done;
        step.ended_at = Some(at);
        step.output = Some(output.clone());
        match self.stage {
            Stage::Forward { .. } if *id == StepId::Commit => {
                self.stage = Stage::Forward { committed: true };
                self.pause_lapses();
            }
            Stage::Undoing { .. } => self.go_on_undoing(at),
            _ => {}
        }
        if matches!(self.stage, Stage::Forward { .. }) && self.steps.iter().all(|step| step.is_done()) {
            self.end(Phase::Succeeded, at);
        }
        Ok(())
    }

    pub(super) fn step_failed(
        &mut self,
        id: &StepId,
        epoch: Epoch,
        failure: &Failure,
        spent: Option<&TransferProgress>,
        at: OffsetDateTime,
    ) -> Result<(), String> {
        let position = match self.in_flight(id, epoch) {
            Ok(position) => position,
            // A task that cannot even be put into its queue.
            Err(why) => self.unclaimed(id, epoch).ok_or(why)?,
        };
        let step = &mut self.steps[position];
        if matches!(self.stage, Stage::Forward { .. }) && step.came_to_rest(failure) {
            step.rest(spent, at);
            return Ok(());
        }
        step.count_failure(failure, spent, at);
        step.ended_at = Some(at);
        step.state = State::Failed;
        match self.stage {
            Stage::Forward { .. } if failure.retryable() && step.may_go_on() => {
                step.state = State::Retrying { wait: backoff(step.failures, failure) };
                step.ended_at = None;
            }
            // The service has moved; it goes on without what was to stay beside it, and the report says so.
            Stage::Forward { committed: true } if id.is_kept() => {
                step.state = State::Done;
                step.output = Some(Done::Kept { kept: Vec::new() });
            }
            // Past the point of no return nothing is taken back: what could not be tidied is named in the report.
            Stage::Forward { committed: true } => self.end(Phase::Succeeded, at),
            Stage::Forward { committed: false } => self.turn_back(Why::Failed(failure.clone()), at),
            _ => self.go_on_undoing(at),
        }
        Ok(())
    }

    fn unclaimed(&self, id: &StepId, epoch: Epoch) -> Option<usize> {
        let Stage::Forward { .. } = self.stage else { return None };
        self.steps
            .iter()
            .position(|step| step.id == *id && step.epoch == epoch && step.state == State::Issued)
    }

    /// The step is being worked on under this epoch, forward or while an undo waits for it.
    fn in_flight(&self, id: &StepId, epoch: Epoch) -> Result<usize, String> {
        let (Stage::Forward { .. } | Stage::Undoing { .. }) = self.stage else {
            return Err(self.not_in("progress"));
        };
        let position = self.position(id)?;
        let step = &self.steps[position];
        if step.epoch != epoch {
            return Err(format!("epoch {epoch} of `{id}` is fenced by {}", step.epoch));
        }
        if !step.in_flight() {
            return Err(format!("`{id}` is {:?}", step.state));
        }
        Ok(position)
    }
}
