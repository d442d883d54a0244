//! Progress on a terminal: what ended scrolls by, what runs stays below with a bar per disk.

use std::collections::BTreeMap;
use std::time::Duration;

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::{RelocationStatus, StepState, StepStatus};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::lines::{amount, state};
use super::{Show, advice, time_left};
use crate::units;

const HEAD: &str = "{spinner} {elapsed:>4} {wide_msg}";
const BAR: &str = "  {prefix:<16} [{bar:30}] {percent:>3} % {wide_msg}";
const SPIN_EVERY: Duration = Duration::from_millis(120);
/// Running steps named in the head line.
const STEPS_NAMED_MAX: usize = 4;

#[derive(Debug)]
pub struct Terminal {
    all: MultiProgress,
    head: ProgressBar,
    disks: BTreeMap<DiskId, ProgressBar>,
    told: BTreeMap<StepId, StepState>,
}

impl Terminal {
    pub fn new() -> Self {
        let all = MultiProgress::new();
        let head = all.add(ProgressBar::new_spinner().with_style(style(HEAD)));
        head.set_message("waiting for the conduit");
        head.enable_steady_tick(SPIN_EVERY);
        Self { all, head, disks: BTreeMap::new(), told: BTreeMap::new() }
    }

    fn tell_ended(&mut self, step: &StepStatus) {
        let before = self.told.insert(step.id.clone(), step.state);
        let ended = !matches!(step.state, StepState::Waiting | StepState::Running | StepState::Undoing);
        if before == Some(step.state) || !ended {
            return;
        }
        let mark = match step.state {
            StepState::Done => "✓",
            StepState::Undone => "↩",
            _ => "✗",
        };
        let mut line = format!("{mark} {:<24} {:>12}", step.id.to_string(), units::seconds(step.seconds));
        if let (StepState::Retrying | StepState::Failed, Some(failure)) = (step.state, &step.failure) {
            line.push_str(&format!("  {}: {failure}", state(step.state)));
        }
        self.line(&line);
    }

    fn line(&self, text: &str) {
        // A terminal that is gone is no reason to stop following.
        let _ = self.all.println(text);
    }

    fn show_transfers(&mut self, status: &RelocationStatus) {
        for transfer in &status.transfers {
            let progress = &transfer.progress;
            if transfer.state != StepState::Running || progress.bytes_total == 0 {
                if let Some(bar) = self.disks.remove(&transfer.disk) {
                    bar.finish_and_clear();
                }
                continue;
            }
            let bar = self.disks.entry(transfer.disk.clone()).or_insert_with(|| {
                let bar = ProgressBar::new(progress.bytes_total);
                let bar = bar.with_style(style(BAR));
                self.all.add(bar.with_prefix(transfer.disk.to_string()))
            });
            bar.set_length(progress.bytes_total);
            bar.set_position(progress.bytes_done);
            bar.set_message(format!("{}, {} sent", amount(transfer), units::bytes(progress.bytes_on_wire)));
        }
    }
}

impl Show for Terminal {
    fn status(&mut self, status: &RelocationStatus) {
        for step in &status.steps {
            self.tell_ended(step);
        }
        self.show_transfers(status);
        let running =
            status.steps.iter().filter(|step| matches!(step.state, StepState::Running | StepState::Undoing));
        let names: Vec<String> = running.take(STEPS_NAMED_MAX).map(|step| step.id.to_string()).collect();
        let conditions =
            status.conditions.iter().map(|condition| format!(" ({condition})")).collect::<String>();
        let left = time_left(status).map_or(String::new(), |left| format!(", {left}"));
        let doing = advice(status).unwrap_or_else(|| names.join(", "));
        self.head.set_message(format!("{:?}{conditions}{left}: {doing}", status.phase));
    }

    fn remark(&mut self, text: &str) {
        self.line(text);
    }

    fn close(&mut self) {
        for bar in self.disks.values() {
            bar.finish_and_clear();
        }
        self.head.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_understood() {
        for template in [HEAD, BAR] {
            ProgressStyle::with_template(template).unwrap();
        }
    }
}
