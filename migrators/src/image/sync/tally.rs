//! Sums over the attempts of one transfer, so that the report tells what really crossed, also when the worker that
//! counted was killed: the sums lie beside the disk, a moment old.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::progress::{TransferProgress, TransferReport};
use fluidcloud_providers::{Command, Site};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::Agreed;
use super::report::Counts;

/// Sums are written down this often: what a kill can hide from the report.
const SAVE_EVERY: Duration = Duration::from_millis(500);
const LOAD_SECS: u64 = 30;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    bytes_read: u64,
    bytes_zero: u64,
    bytes_on_wire: u64,
    /// How far the target was at most.
    bytes_done: u64,
}

impl Tally {
    /// With an attempt as far as it was heard of.
    pub fn with(&self, last: Counts) -> Self {
        let (read, wire) = self.unheard(last);
        Self {
            bytes_read: self.bytes_read + read + last.bytes_read,
            bytes_zero: self.zero(last),
            bytes_on_wire: self.bytes_on_wire + wire + last.bytes_on_wire,
            bytes_done: self.bytes_done.max(last.bytes_done),
        }
    }

    pub fn progress(&self, now: Counts) -> TransferProgress {
        let sum = self.with(now);
        TransferProgress {
            bytes_total: now.bytes_total,
            bytes_done: now.bytes_done,
            bytes_read: sum.bytes_read,
            bytes_zero: sum.bytes_zero,
            bytes_reused: now.bytes_reused,
            bytes_on_wire: sum.bytes_on_wire,
            rate_bytes_per_sec: now.rate_bps,
            eta_seconds: now.eta_seconds,
        }
    }

    pub fn report(&self, disk: &DiskId, last: Counts, agreed: Agreed, took: Duration) -> TransferReport {
        let sum = self.with(last);
        TransferReport {
            disk: disk.clone(),
            bytes_total: last.bytes_total,
            bytes_read: sum.bytes_read,
            bytes_zero: sum.bytes_zero,
            bytes_reused: last.bytes_reused,
            bytes_on_wire: sum.bytes_on_wire,
            bytes_free: agreed.bytes_free,
            areas: agreed.areas,
            seconds: took.as_secs_f64(),
            digest: agreed.digest,
            verified: true,
        }
    }

    /// The same zeros may be seen by several attempts, but there are not more than the disk has.
    fn zero(&self, now: Counts) -> u64 {
        (self.bytes_zero + now.bytes_zero).min(now.bytes_total)
    }

    /// What is at the target already and was not heard of before its sender died: read, and sent at the ratio of the
    /// rest.
    fn unheard(&self, now: Counts) -> (u64, u64) {
        let read = now.bytes_reused.saturating_sub(self.bytes_done);
        if read == 0 || self.bytes_read == 0 {
            return (0, 0);
        }
        let wire = u128::from(read) * u128::from(self.bytes_on_wire) / u128::from(self.bytes_read);
        (read, u64::try_from(wire).unwrap_or(read).min(read))
    }
}

/// Writes sums down beside the work; the newest wins.
#[derive(Debug)]
pub(super) struct Saver {
    newest: watch::Sender<Tally>,
    _task: AbortOnDropHandle<()>,
}

impl Saver {
    /// With what an earlier worker has written down.
    pub async fn load(site: &Arc<dyn Site>, path: PathBuf) -> (Self, Tally) {
        let read = Command::new("cat").arg(path.to_string_lossy()).timeout_secs(LOAD_SECS);
        // Only a report depends on it.
        let kept = site.run(&read).await.ok().and_then(|said| serde_json::from_slice(&said.stdout).ok());
        let tally: Tally = kept.unwrap_or_default();
        let (newest, seen) = watch::channel(tally);
        let task = AbortOnDropHandle::new(tokio::spawn(save(site.clone(), path, seen)));
        (Self { newest, _task: task }, tally)
    }

    pub fn keep(&self, tally: Tally) {
        self.newest.send_replace(tally);
    }
}

async fn save(site: Arc<dyn Site>, path: PathBuf, mut seen: watch::Receiver<Tally>) {
    while seen.changed().await.is_ok() {
        let tally = *seen.borrow_and_update();
        let Ok(text) = serde_json::to_vec(&tally) else { return };
        if let Err(error) = site.put_bytes(&text, &path, 0o600).await {
            tracing::debug!(%error, "the sums of a transfer are not written down");
        }
        tokio::time::sleep(SAVE_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(read: u64, wire: u64, reused: u64) -> Counts {
        Counts {
            bytes_total: 1000,
            bytes_done: read + reused,
            bytes_read: read,
            bytes_on_wire: wire,
            bytes_reused: reused,
            ..Counts::default()
        }
    }

    fn report(tally: Tally, last: Counts) -> TransferReport {
        let disk = DiskId { component: "app".parse().unwrap(), disk: "vda".parse().unwrap() };
        let agreed = Agreed { digest: "d".into(), bytes_free: 7, areas: Vec::new() };
        tally.report(&disk, last, agreed, Duration::from_secs(2))
    }

    #[test]
    fn what_crossed_in_a_broken_attempt_is_counted_too() {
        let tally = Tally::default().with(counts(600, 300, 0));
        let report = report(tally, counts(450, 200, 550));
        assert_eq!((report.bytes_read, report.bytes_on_wire, report.bytes_reused), (1050, 500, 550));
    }

    #[test]
    fn what_nobody_could_count_is_told_by_what_is_there() {
        let tally = Tally::default().with(counts(400, 200, 0));
        // The worker died with 100 bytes more at the target than it had written down.
        let report = report(tally, counts(500, 250, 500));
        assert_eq!((report.bytes_read, report.bytes_on_wire), (400 + 100 + 500, 200 + 50 + 250));
    }
}
