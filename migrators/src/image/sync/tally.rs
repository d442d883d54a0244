//! Sums over the attempts of one transfer, so that the report tells what really crossed.

use std::time::Duration;

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::progress::{TransferProgress, TransferReport};

use super::report::Counts;

#[derive(Clone, Debug)]
pub(super) struct Tally {
    disk: DiskId,
    bytes_total: u64,
    bytes_read: u64,
    bytes_zero: u64,
    bytes_on_wire: u64,
}

impl Tally {
    pub fn new(disk: &DiskId, bytes_total: u64) -> Self {
        Self { disk: disk.clone(), bytes_total, bytes_read: 0, bytes_zero: 0, bytes_on_wire: 0 }
    }

    /// An attempt that did not finish, as far as it was heard of.
    pub fn add(&mut self, last: Counts) {
        self.bytes_read += last.bytes_read;
        self.bytes_zero += last.bytes_zero;
        self.bytes_on_wire += last.bytes_on_wire;
    }

    pub fn progress(&self, now: Counts) -> TransferProgress {
        TransferProgress {
            bytes_total: now.bytes_total.max(self.bytes_total),
            bytes_done: now.bytes_done,
            bytes_read: self.bytes_read + now.bytes_read,
            bytes_zero: self.zero(now),
            bytes_reused: now.bytes_reused,
            bytes_on_wire: self.bytes_on_wire + now.bytes_on_wire,
            rate_bytes_per_sec: now.rate_bps,
            eta_seconds: now.eta_seconds,
        }
    }

    pub fn report(&self, last: Counts, digest: String, took: Duration) -> TransferReport {
        TransferReport {
            disk: self.disk.clone(),
            bytes_total: last.bytes_total.max(self.bytes_total),
            bytes_read: self.bytes_read + last.bytes_read,
            bytes_zero: self.zero(last),
            bytes_reused: last.bytes_reused,
            bytes_on_wire: self.bytes_on_wire + last.bytes_on_wire,
            seconds: took.as_secs_f64(),
            digest,
            verified: true,
        }
    }

    /// The same zeros may be seen by several attempts, but there are not more than the disk has.
    fn zero(&self, now: Counts) -> u64 {
        (self.bytes_zero + now.bytes_zero).min(self.bytes_total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crossed_in_a_broken_attempt_is_counted_too() {
        let disk = DiskId { component: "app".parse().unwrap(), disk: "vda".parse().unwrap() };
        let mut tally = Tally::new(&disk, 1000);
        let counts = |read, wire, reused| Counts {
            bytes_total: 1000,
            bytes_read: read,
            bytes_on_wire: wire,
            bytes_reused: reused,
            ..Counts::default()
        };
        tally.add(counts(600, 300, 0));
        let report = tally.report(counts(450, 200, 550), "d".into(), Duration::from_secs(2));
        assert_eq!((report.bytes_read, report.bytes_on_wire, report.bytes_reused), (1050, 500, 550));
    }
}
