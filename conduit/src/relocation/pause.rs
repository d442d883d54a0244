//! What persons hold back: a pause, and a cutover that waits for approval. Both only keep steps from being issued; nothing
//! is undone for them, and undoing is never held.
//!
//! A pause lets the conduit's own steps and work inside guests end, takes back tasks that nobody has claimed, and brings
//! transfers to rest: their workers are told to stop, and what they had made durable is where they go on, under a higher epoch.
//! It ends with `ResumeAsked`, and lapses when the relocation turns back, ends, or turns out to be committed.

use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::request::Cutover;
use time::OffsetDateTime;
use uuid::Uuid;

use super::step::Step;
use super::{Relocation, Stage};

/// Orders to pause and to resume that are known again. A message comes again soon or never.
pub const ORDERS_KNOWN_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    NotAsked,
    /// It is paused.
    Asked,
    /// Asked when a target ran, past the point of no return, or while it was undone, and refused.
    TooLate,
}

impl Relocation {
    pub fn is_paused(&self) -> bool {
        self.pause == Pause::Asked
    }

    /// Somebody has still to approve before any source stops.
    pub fn needs_approval(&self) -> bool {
        self.request.cutover == Cutover::Manual && !self.approved && self.is_before_commit()
    }

    /// Everything that can be done before the first source stops is done.
    pub fn is_at_cutover(&self) -> bool {
        let mut freezes = self.steps.iter().filter(|step| is_freeze(&step.id));
        freezes.any(|step| {
            // What the service answers is looked at right before it stops, so after the approval.
            let after: Vec<StepId> =
                step.after.iter().filter(|before| !is_observe(before)).cloned().collect();
            step.begun() || self.is_ready(&after)
        })
    }

    /// Nothing else is left to do before somebody approves.
    pub fn awaits_approval(&self) -> bool {
        matches!(self.stage, Stage::Forward { .. }) && self.needs_approval() && self.is_at_cutover()
    }

    /// Nothing is under way, or will be until a person says so.
    pub fn waits_for_a_person(&self) -> bool {
        match self.stage {
            Stage::Stuck { .. } => true,
            Stage::Pending | Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning => self.is_paused(),
            Stage::Forward { .. } => {
                (self.is_paused() || self.awaits_approval()) && !self.steps.iter().any(Step::in_flight)
            }
            Stage::Undoing { .. } | Stage::Ended { .. } => false,
        }
    }

    /// Whether `Fact::PauseAsked` changes anything now. A refusal is recorded too, once, so that it is shown.
    pub fn heeds_pause(&self, order: Uuid) -> bool {
        self.pause == Pause::NotAsked && !self.is_ended() && !self.orders.contains(&order)
    }

    pub fn heeds_resume(&self, order: Uuid) -> bool {
        self.is_paused() && !self.orders.contains(&order)
    }

    pub(super) fn pause_asked(&mut self, order: Uuid, at: OffsetDateTime) -> Result<(), String> {
        if !self.heeds_pause(order) {
            return Err(format!("it was asked before or has ended: {:?}", self.pause));
        }
        self.know(order);
        if !self.is_before_commit() || self.may_a_target_run() {
            self.pause = Pause::TooLate;
            return Ok(());
        }
        self.pause = Pause::Asked;
        self.steps.iter_mut().for_each(|step| step.hold(at));
        Ok(())
    }

    pub(super) fn resume_asked(&mut self, order: Uuid) -> Result<(), String> {
        if !self.heeds_resume(order) {
            return Err(format!("it is not paused, or was told so before: {:?}", self.pause));
        }
        self.know(order);
        self.pause = Pause::NotAsked;
        Ok(())
    }

    pub(super) fn cutover_approved(&mut self) -> Result<(), String> {
        if !self.needs_approval() {
            return Err("there is nothing to approve, or it was approved before".to_owned());
        }
        self.approved = true;
        Ok(())
    }

    /// It turns back or ends: there is nothing left to hold.
    pub(super) fn let_go(&mut self) {
        if self.is_paused() {
            self.pause = Pause::NotAsked;
        }
    }

    /// The step that was under way when the pause was asked for was the commit.
    pub(super) fn pause_lapses(&mut self) {
        if self.is_paused() {
            self.pause = Pause::TooLate;
        }
    }

    /// The step may not be issued although it is ready.
    pub(super) fn is_held(&self, step: &StepId) -> bool {
        self.is_paused() || ((is_freeze(step) || is_observe(step)) && self.needs_approval())
    }

    /// What it is given from then on would be lost in an undo, so nothing keeps it from being committed.
    pub fn may_a_target_run(&self) -> bool {
        self.steps.iter().any(|step| matches!(step.id, StepId::Verify(_)) && step.begun())
    }

    fn is_before_commit(&self) -> bool {
        match self.stage {
            Stage::Pending | Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning => true,
            Stage::Forward { committed } => !committed,
            Stage::Undoing { .. } | Stage::Stuck { .. } | Stage::Ended { .. } => false,
        }
    }

    fn know(&mut self, order: Uuid) {
        if self.orders.len() == ORDERS_KNOWN_MAX {
            self.orders.remove(0);
        }
        self.orders.push(order);
    }
}

fn is_observe(step: &StepId) -> bool {
    matches!(step, StepId::Observe(_))
}

fn is_freeze(step: &StepId) -> bool {
    matches!(step, StepId::Freeze(_))
}
