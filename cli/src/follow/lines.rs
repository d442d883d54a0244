//! Progress as lines, for logs and pipes: each change once, a transfer every few per cent.

use std::collections::BTreeMap;
use std::time::Duration;

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::{Phase, RelocationStatus, StepState, TransferStatus};
use tokio::time::Instant;

use super::{Show, advice, time_left};
use crate::output::remark;
use crate::units;

/// A transfer is told again after so much more of it,
const PERCENT_STEP: u64 = 10;
/// or after so long.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Lines {
    phase: Option<Phase>,
    conditions: Vec<String>,
    advice: Option<String>,
    steps: BTreeMap<StepId, StepState>,
    transfers: BTreeMap<DiskId, (u64, Instant)>,
}

impl Lines {
    pub fn new() -> Self {
        Self::default()
    }

    /// What is new in this status.
    fn news(&mut self, status: &RelocationStatus, now: Instant) -> Vec<String> {
        let mut news = Vec::new();
        if self.phase != Some(status.phase) {
            self.phase = Some(status.phase);
            let left = time_left(status).map_or(String::new(), |left| format!(", {left}"));
            news.push(format!("{:?}{left}", status.phase));
        }
        if self.conditions != status.conditions {
            self.conditions.clone_from(&status.conditions);
            news.extend(status.conditions.iter().map(|condition| format!("  {condition}")));
        }
        let advice = advice(status);
        if self.advice != advice {
            self.advice.clone_from(&advice);
            news.extend(advice.map(|advice| format!("  {advice}")));
        }
        for step in &status.steps {
            let before = self.steps.insert(step.id.clone(), step.state);
            if before == Some(step.state) || step.state == StepState::Waiting {
                continue;
            }
            news.push(match (step.state, &step.failure) {
                (StepState::Retrying | StepState::Failed, Some(failure)) => {
                    format!("  {}: {} ({failure})", step.id, state(step.state))
                }
                (StepState::Done | StepState::Undone, _) => {
                    format!("  {}: {} after {}", step.id, state(step.state), units::seconds(step.seconds))
                }
                _ => format!("  {}: {}", step.id, state(step.state)),
            });
        }
        news.extend(status.transfers.iter().filter_map(|transfer| self.transfer(transfer, now)));
        news
    }

    fn transfer(&mut self, transfer: &TransferStatus, now: Instant) -> Option<String> {
        let progress = &transfer.progress;
        if progress.bytes_total == 0 || transfer.state != StepState::Running {
            return None;
        }
        let percent = progress.bytes_done.saturating_mul(100) / progress.bytes_total;
        let told = self.transfers.get(&transfer.disk);
        let due = told.is_none_or(|(last, at)| {
            percent / PERCENT_STEP > last / PERCENT_STEP
                || (percent > *last && now.duration_since(*at) >= TELL_EVERY)
        });
        if !due {
            return None;
        }
        self.transfers.insert(transfer.disk.clone(), (percent, now));
        Some(format!("  {}: {percent} %, {}", transfer.disk, amount(transfer)))
    }
}

impl Show for Lines {
    fn status(&mut self, status: &RelocationStatus) {
        for line in self.news(status, Instant::now()) {
            remark(line);
        }
    }

    fn remark(&mut self, text: &str) {
        remark(text);
    }

    fn close(&mut self) {}
}

/// How a state reads after the name of a step.
pub fn state(state: StepState) -> &'static str {
    match state {
        StepState::Waiting => "waits",
        StepState::Running => "runs",
        StepState::Retrying => "failed, tried again",
        StepState::Done => "done",
        StepState::Failed => "failed",
        StepState::Undoing => "is being undone",
        StepState::Undone => "undone",
    }
}

/// Done of total, rate, and the time left.
pub fn amount(transfer: &TransferStatus) -> String {
    let progress = &transfer.progress;
    let mut told = format!(
        "{} of {}, {}/s",
        units::bytes(progress.bytes_done),
        units::bytes(progress.bytes_total),
        units::bytes(progress.rate_bytes_per_sec)
    );
    if let Some(eta) = progress.eta_seconds {
        told.push_str(&format!(", {} left", units::seconds(eta as f64)));
    }
    told
}

#[cfg(test)]
mod tests;
