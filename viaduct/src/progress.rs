//! What an end of a transfer tells its caller while it runs and when it ends. Owns the counters; knows no format but
//! the JSON of the report.

use crate::digest::Digest;
use crate::limits::PROGRESS_EVERY;
use crate::live::Area;
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The receiver can be reached at this address.
    Listening {
        address: String,
    },
    /// Someone was turned away; the transfer is not affected.
    Refused {
        code: String,
        message: String,
    },
    /// The session broke; it is resumed if the sender comes back in time.
    Interrupted {
        code: String,
        message: String,
    },
    /// A part of the source, before anything is sent: what it was recognised as.
    Found(Area),
    Progress(Progress),
    /// The target was read back and compared: how, how much of it, and how much was left out because it is holes of a file
    /// that was made for this copy.
    Checked {
        how: String,
        bytes_checked: u64,
        bytes_holes: u64,
    },
    /// An image was made of the disk, and compared with it.
    Converted {
        path: String,
        format: String,
        bytes: u64,
    },
    Finished(Summary),
}

/// How far a transfer is. Bytes of the disk, unless they say "on wire".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// 0 until the disk is open.
    pub bytes_total: u64,
    /// Settled at the target, one way or another: written, zero, or there already.
    pub bytes_done: u64,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    pub bytes_reused: u64,
    pub bytes_on_wire: u64,
    /// Bytes of data, not counting holes, per second over the last few seconds.
    pub rate_bps: u64,
    /// From the data that is left and the rate; absent until there is a rate.
    pub eta_seconds: Option<u64>,
}

/// What a transfer did. `digest` is the root over the whole disk, on which both ends agreed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub bytes_total: u64,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    pub bytes_reused: u64,
    pub bytes_on_wire: u64,
    /// Not read because a file system calls it free. Zeros at the target, and counted among them. Known to the sender.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_free: Option<u64>,
    pub seconds: f64,
    pub digest: Digest,
    pub verified: bool,
}

/// Counted by the workers, read by the one who reports.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Whether there is a transfer to tell of: a sender has one, a receiver when a sender has come.
    pub begun: AtomicBool,
    pub total: AtomicU64,
    /// What may hold data at the source.
    pub data: AtomicU64,
    pub read: AtomicU64,
    pub zero: AtomicU64,
    pub reused: AtomicU64,
    pub done: AtomicU64,
    pub on_wire: Arc<AtomicU64>,
}

impl Counters {
    /// A new session counts the disk from its start again; the line is counted over all of them.
    pub fn restart(&self) {
        for counter in [&self.read, &self.zero, &self.reused, &self.done] {
            counter.store(0, Relaxed);
        }
    }
}

/// Turns counters into progress with a rate and an ETA.
#[derive(Debug)]
pub(crate) struct Meter {
    counters: Arc<Counters>,
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    /// The rate is the mean over this time: long enough to be calm, short enough to be true.
    const WINDOW: Duration = Duration::from_secs(5);

    pub fn new(counters: Arc<Counters>) -> Meter {
        Meter { counters, samples: VecDeque::new() }
    }

    pub fn sample(&mut self, now: Instant) -> Progress {
        let counters = &self.counters;
        let read = counters.read.load(Relaxed);
        // A session that started over has read less than before.
        if self.samples.back().is_some_and(|(_, before)| *before > read) {
            self.samples.clear();
        }
        self.samples.push_back((now, read));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now - *at > Self::WINDOW) {
            self.samples.pop_front();
        }
        let rate = match (self.samples.front(), self.samples.back()) {
            (Some((from, a)), Some((to, b))) if to > from => (b - a) as f64 / (*to - *from).as_secs_f64(),
            _ => 0.0,
        };
        let total = counters.total.load(Relaxed);
        let done = counters.done.load(Relaxed).min(total);
        let left = counters.data.load(Relaxed).saturating_sub(read).min(total - done);
        Progress {
            bytes_total: total,
            bytes_done: done,
            bytes_read: read,
            bytes_zero: counters.zero.load(Relaxed),
            bytes_reused: counters.reused.load(Relaxed),
            bytes_on_wire: counters.on_wire.load(Relaxed),
            rate_bps: rate as u64,
            eta_seconds: (rate >= 1.0).then(|| (left as f64 / rate).ceil() as u64),
        }
    }
}

/// Runs `work` and tells progress beside it until it ends, and once more at the end.
pub(crate) async fn reporting<T>(
    counters: &Arc<Counters>,
    report: &(dyn Fn(Event) + Send + Sync),
    work: impl Future<Output = T>,
) -> T {
    let mut meter = Meter::new(counters.clone());
    let mut tick = tokio::time::interval(PROGRESS_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            outcome = &mut work => {
                if counters.begun.load(Relaxed) {
                    report(Event::Progress(meter.sample(Instant::now())));
                }
                return outcome;
            }
            // As long as it takes to open and survey disks, or to read one again: the caller sees that we live.
            _ = tick.tick() => if counters.begun.load(Relaxed) {
                report(Event::Progress(meter.sample(Instant::now())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_data_and_the_eta_what_is_left_of_it() {
        let counters = Arc::new(Counters::default());
        counters.total.store(1_000_000, Relaxed);
        counters.data.store(500_000, Relaxed);
        let mut meter = Meter::new(counters.clone());
        let start = Instant::now();
        assert_eq!(meter.sample(start).eta_seconds, None);
        counters.read.store(100_000, Relaxed);
        counters.done.store(600_000, Relaxed);
        let progress = meter.sample(start + Duration::from_secs(2));
        assert_eq!(progress.rate_bps, 50_000);
        assert_eq!(progress.eta_seconds, Some(8));
    }

    #[test]
    fn an_event_is_one_flat_json_object() {
        let line = serde_json::to_value(Event::Progress(Progress { bytes_total: 5, ..Progress::default() }))
            .unwrap();
        assert_eq!(line["event"], "progress");
        assert_eq!(line["bytes_total"], 5);
    }
}
