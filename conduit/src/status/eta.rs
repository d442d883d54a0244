//! How long it will take: an estimate for people, along the longest chain of steps that are not done. What it is made of is
//! written at `RelocationStatus::eta_seconds`. Where something is not known there is no number rather than a wrong one.

use std::collections::BTreeMap;

use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferProgress;

use super::{Seen, told};
use crate::plan::preview::Estimates;
use crate::relocation::step::seconds_between;
use crate::relocation::{Relocation, Stage, State, Step};

/// A task that nobody has claimed for so long has no worker, as far as anybody can tell.
pub const CLAIMED_WITHIN_SECS: f64 = 20.0;
/// What is left of a step that runs longer than it usually takes.
const ABOUT_TO_END_SECS: f64 = 1.0;

pub(super) fn eta_seconds(relocation: &Relocation, seen: &Seen<'_>) -> Option<u64> {
    let held = relocation.is_paused() || relocation.needs_approval() || seen.stalled;
    if held || !matches!(relocation.stage, Stage::Forward { .. }) {
        return None;
    }
    let estimates = Estimates::of(&relocation.request, relocation.topology.as_deref()?);
    // In the order of the plan, so that those before a step are known.
    let mut ends: BTreeMap<&StepId, f64> = BTreeMap::new();
    let mut last: f64 = 0.0;
    for step in &relocation.steps {
        let begins = step.after.iter().filter_map(|after| ends.get(after)).fold(0.0_f64, |a, b| a.max(*b));
        let end = begins + left(step, &estimates, seen)?;
        ends.insert(&step.id, end);
        last = last.max(end);
    }
    Some(last.ceil() as u64)
}

/// Seconds that are left of this step by itself; none when nobody can tell.
fn left(step: &Step, estimates: &Estimates<'_>, seen: &Seen<'_>) -> Option<f64> {
    let usual = estimates.seconds(&step.id);
    let ran = step.issued_at.map_or(0.0, |from| seconds_between(from, seen.now));
    Some(match &step.state {
        State::Done | State::Failed => 0.0,
        State::Waiting | State::Resting { .. } => usual * undone(step),
        State::Retrying { wait } => wait.as_secs_f64() + usual * undone(step),
        State::Issued if !step.by_conduit() => {
            if ran > CLAIMED_WITHIN_SECS {
                return None;
            }
            usual * undone(step)
        }
        State::Issued | State::Leased { .. } => told(step, seen)
            .and_then(by_its_own_rate)
            .unwrap_or_else(|| (usual * undone(step) - ran).max(ABOUT_TO_END_SECS)),
    })
}

fn by_its_own_rate(progress: &TransferProgress) -> Option<f64> {
    if let Some(told) = progress.eta_seconds {
        return Some(told as f64);
    }
    let (rate, left) =
        (progress.rate_bytes_per_sec, progress.bytes_total.saturating_sub(progress.bytes_done));
    (rate > 0 && progress.bytes_total > 0).then(|| left as f64 / rate as f64)
}

/// The part of a transfer that no attempt has made durable, as far as it was told; all of any other step.
fn undone(step: &Step) -> f64 {
    match step.spent.bytes_total {
        0 => 1.0,
        total => 1.0 - (step.spent.bytes_done as f64 / total as f64).min(1.0),
    }
}
