//! How far a copy is. Bytes that pass are told as they do; the newest wins.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fluidcloud_proto::progress::TransferProgress;
use tokio::time::Instant;

use crate::migrator::Progress;

#[derive(Debug)]
pub struct Tally {
    progress: Progress,
    begun: Instant,
    counts: Mutex<TransferProgress>,
}

impl Tally {
    pub fn new(progress: &Progress, bytes_total: u64) -> Self {
        let counts = TransferProgress { bytes_total, ..TransferProgress::default() };
        Self { progress: progress.clone(), begun: Instant::now(), counts: Mutex::new(counts) }
    }

    pub fn passed(&self, bytes: u64) {
        self.change(|counts| {
            counts.bytes_done += bytes;
            counts.bytes_read += bytes;
            counts.bytes_on_wire += bytes;
        });
    }

    /// They were there already.
    pub fn reused(&self, bytes: u64) {
        self.change(|counts| {
            counts.bytes_done += bytes;
            counts.bytes_reused += bytes;
        });
    }

    /// They have to pass once more.
    pub fn lost(&self, bytes: u64) {
        self.change(|counts| counts.bytes_done = counts.bytes_done.saturating_sub(bytes));
    }

    pub fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    fn change(&self, change: impl FnOnce(&mut TransferProgress)) {
        let mut counts = self.lock();
        change(&mut counts);
        // What large objects stand for is known only when they are met.
        counts.bytes_total = counts.bytes_total.max(counts.bytes_done);
        let rate = counts.bytes_on_wire as f64 / self.seconds().max(0.001);
        counts.rate_bytes_per_sec = rate as u64;
        let left = counts.bytes_total - counts.bytes_done;
        counts.eta_seconds = (counts.rate_bytes_per_sec > 0).then(|| left / counts.rate_bytes_per_sec);
        self.progress.tell(counts.clone());
    }

    fn lock(&self) -> MutexGuard<'_, TransferProgress> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
