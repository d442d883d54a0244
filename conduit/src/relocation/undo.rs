//! Turning back: first everything in flight comes to rest, then what was begun is undone against the direction of
//! the plan, each step only after all that follow it. So the target is stopped and gone before the source starts.

use std::collections::BTreeSet;

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::topology::Power;
use time::OffsetDateTime;

use super::step::{Step, UNDO_ATTEMPTS_MAX, Undo, backoff};
use super::{Cancel, Relocation, Stage, Why};

impl Relocation {
    pub(super) fn turn_back(&mut self, why: Why, at: OffsetDateTime) {
        if let Why::Failed(failure) = &why {
            self.failure = Some(failure.clone());
        }
        self.let_go();
        self.stage = Stage::Undoing { why };
        self.go_on_undoing(at);
    }

    pub(super) fn cancel_asked(&mut self, at: OffsetDateTime) -> Result<(), String> {
        if self.cancel != Cancel::NotAsked {
            return Err("cancel was asked before".to_owned());
        }
        match self.stage {
            Stage::Ended { .. } => return Err("it has ended".to_owned()),
            Stage::Forward { committed: true } => self.cancel = Cancel::TooLate,
            Stage::Forward { committed: false } => {
                self.cancel = Cancel::Asked;
                self.turn_back(Why::Canceled, at);
            }
            Stage::Undoing { .. } | Stage::Stuck { .. } => self.cancel = Cancel::Asked,
            Stage::Pending | Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning => {
                self.cancel = Cancel::Asked;
                self.end(Phase::Canceled, at);
            }
        }
        Ok(())
    }

    pub(super) fn retry_asked(&mut self, at: OffsetDateTime) -> Result<(), String> {
        let Stage::Stuck { why } = &self.stage else { return Err(self.not_in("being stuck")) };
        let why = why.clone();
        for step in &mut self.steps {
            if matches!(step.undo, Undo::Failed { .. }) {
                step.undo = Undo::NotBegun;
            }
        }
        self.failure = None;
        self.turn_back(why, at);
        Ok(())
    }

    pub(super) fn undo_begun(&mut self, id: &StepId, attempt: u32) -> Result<(), String> {
        let position = self.position(id)?;
        if !self.undoable()[position] {
            return Err(format!("`{id}` is not to be undone now"));
        }
        let expected = self.steps[position].undo.failed() + 1;
        if attempt != expected {
            return Err(format!("attempt {attempt} at undoing `{id}` is not the {expected}."));
        }
        self.steps[position].undo = Undo::Running { attempt };
        Ok(())
    }

    pub(super) fn undo_done(&mut self, id: &StepId, at: OffsetDateTime) -> Result<(), String> {
        let position = self.undo_running(id)?.0;
        self.steps[position].undo = Undo::Done;
        self.steps[position].undone_at = Some(at);
        self.go_on_undoing(at);
        Ok(())
    }

    pub(super) fn undo_failed(
        &mut self,
        id: &StepId,
        failure: &Failure,
        at: OffsetDateTime,
    ) -> Result<(), String> {
        let (position, attempt) = self.undo_running(id)?;
        self.steps[position].undo = if failure.retryable() && attempt < UNDO_ATTEMPTS_MAX {
            Undo::Retrying { failed: attempt, wait: backoff(attempt, failure) }
        } else {
            Undo::Failed { failure: failure.clone() }
        };
        self.go_on_undoing(at);
        Ok(())
    }

    fn undo_running(&self, id: &StepId) -> Result<(usize, u32), String> {
        let Stage::Undoing { .. } = self.stage else { return Err(self.not_in("undoing")) };
        let position = self.position(id)?;
        match self.steps[position].undo {
            Undo::Running { attempt } => Ok((position, attempt)),
            ref other => Err(format!("the undo of `{id}` is {other:?}")),
        }
    }

    /// Per step, whether its undo may begin: nothing is in flight, it is needed and not done, and everything that
    /// follows the step is cleared.
    pub(super) fn undoable(&self) -> Vec<bool> {
        if !matches!(self.stage, Stage::Undoing { .. }) || self.steps.iter().any(Step::in_flight) {
            return vec![false; self.steps.len()];
        }
        let follows = self.followers_cleared();
        let steps = self.steps.iter().zip(follows);
        steps
            .map(|(step, follows)| {
                let open = matches!(step.undo, Undo::NotBegun | Undo::Retrying { .. });
                follows && open && self.needs_undo(step)
            })
            .collect()
    }

    /// Whether the step left something that has to be taken back.
    pub fn needs_undo(&self, step: &Step) -> bool {
        if !step.begun() {
            return false;
        }
        match &step.id {
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
            | StepId::Commit => true,
            // Its undo is the last look for anything that carries our tag.
            StepId::Reserve => self.left_traces(),
            _ => false,
        }
    }

    /// By the inspection, before anything was touched: a look at it later cannot tell a user's stop from ours.
    pub fn ran_before(&self, component: &fluidcloud_proto::ids::ComponentName) -> bool {
        self.topology
            .as_ref()
            .and_then(|topology| topology.placed(component))
            .is_some_and(|placed| placed.instance.power == Power::Running)
    }

    pub fn left_traces(&self) -> bool {
        self.steps.iter().any(|step| step.begun() && step.leaves_traces())
    }

    /// Per step: everything that follows it is undone or never needed it. Against the order of the plan, so that
    /// each step passes on to those before it what it knows of those behind it.
    fn followers_cleared(&self) -> Vec<bool> {
        let mut blocked: BTreeSet<&StepId> = BTreeSet::new();
        let mut cleared = vec![true; self.steps.len()];
        for (position, step) in self.steps.iter().enumerate().rev() {
            cleared[position] = !blocked.contains(&step.id);
            if !cleared[position] || (self.needs_undo(step) && step.undo != Undo::Done) {
                blocked.extend(&step.after);
            }
        }
        cleared
    }

    fn nothing_left_to_undo(&self) -> bool {
        self.steps.iter().all(|step| !self.needs_undo(step) || step.undo == Undo::Done)
    }

    /// Ends the undo when nothing is left of it, or sticks when nothing of it can go on.
    pub(super) fn go_on_undoing(&mut self, at: OffsetDateTime) {
        let Stage::Undoing { why } = self.stage.clone() else { return };
        if self.steps.iter().any(Step::in_flight) {
            return;
        }
        if self.nothing_left_to_undo() {
            let phase = match why {
                Why::Canceled => Phase::Canceled,
                Why::Failed(_) if self.left_traces() => Phase::RolledBack,
                Why::Failed(_) => Phase::Failed,
            };
            return self.end(phase, at);
        }
        let runs = self.steps.iter().any(|step| matches!(step.undo, Undo::Running { .. }));
        if !runs && !self.undoable().contains(&true) {
            self.failure = self.steps.iter().rev().find_map(|step| match &step.undo {
                Undo::Failed { failure } => Some(stuck_failure(&step.id, failure, &why)),
                _ => None,
            });
            self.stage = Stage::Stuck { why };
        }
    }
}

impl Undo {
    /// Attempts that failed so far.
    pub fn failed(&self) -> u32 {
        match self {
            Undo::Retrying { failed, .. } => *failed,
            _ => 0,
        }
    }
}

fn stuck_failure(step: &StepId, failure: &Failure, why: &Why) -> Failure {
    let because = match why {
        Why::Canceled => "it was canceled".to_owned(),
        Why::Failed(first) => first.message.clone(),
    };
    let message = format!("cannot undo `{step}`: {} (undoing because {because})", failure.message);
    let remedy = format!("{}; then ask to retry this relocation", failure.remedy);
    Failure::never(failure.code, message, remedy)
}
