//! Who holds which task until when. Time does not count while the bus is away or we were not running: nobody could
//! have been heard. Deadlines are of the monotonic clock, so a wall clock that jumps changes nothing.

use std::collections::HashMap;
use std::time::Duration;

use fluidcloud_proto::ids::{RelocationId, WorkerId};
use fluidcloud_proto::task::TaskKey;
use tokio::time::Instant;

/// A worker is heard at least this often, or its task is issued again.
pub const LEASE_SECS: u64 = 30;
const LEASE: Duration = Duration::from_secs(LEASE_SECS);
/// Given to every lease after the bus came back, or after this process stood still: what was said meanwhile is
/// still on its way.
pub const GRACE: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub struct Leases {
    held: HashMap<TaskKey, Lease>,
    paused: bool,
}

#[derive(Debug)]
struct Lease {
    worker: WorkerId,
    deadline: Instant,
}

impl Leases {
    /// Held from now on by this worker; a lease that is there already is not shortened.
    pub fn hold(&mut self, key: TaskKey, worker: WorkerId, now: Instant) {
        self.held.entry(key).or_insert(Lease { worker, deadline: now + LEASE + GRACE });
    }

    /// The worker was heard. False when it does not hold the task.
    pub fn heard(&mut self, key: &TaskKey, worker: &WorkerId, now: Instant) -> bool {
        match self.held.get_mut(key) {
            Some(lease) if lease.worker == *worker => {
                lease.deadline = lease.deadline.max(now + LEASE);
                true
            }
            _ => false,
        }
    }

    /// Keeps only the tasks of this relocation that are still expected to be held.
    pub fn keep(&mut self, relocation: RelocationId, expected: &[TaskKey]) {
        self.held.retain(|key, _| key.relocation != relocation || expected.contains(key));
    }

    /// The bus is away: no time counts until it is back.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// It is back: everybody gets the time to be heard again.
    pub fn resume(&mut self, now: Instant) {
        self.paused = false;
        self.excuse(now);
    }

    /// Nobody could be heard until now.
    pub fn excuse(&mut self, now: Instant) {
        for lease in self.held.values_mut() {
            lease.deadline = lease.deadline.max(now + LEASE + GRACE);
        }
    }

    /// The tasks nobody is heard of, in a stable order. They stay held until `keep` lets go of them.
    pub fn expired(&self, now: Instant) -> Vec<TaskKey> {
        if self.paused {
            return Vec::new();
        }
        let mut keys: Vec<TaskKey> =
            self.held.iter().filter(|(_, lease)| lease.deadline <= now).map(|(key, _)| key.clone()).collect();
        keys.sort_by(|a, b| (a.relocation, &a.step, a.epoch).cmp(&(b.relocation, &b.step, b.epoch)));
        keys
    }
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::ids::Epoch;
    use fluidcloud_proto::plan::StepId;

    use super::*;

    fn key(epoch: u64) -> TaskKey {
        TaskKey { relocation: RelocationId::default(), step: StepId::Reserve, epoch: Epoch(epoch) }
    }

    fn worker(name: &str) -> WorkerId {
        name.parse().expect("a name")
    }

    fn advance(secs: u64) -> impl Future<Output = ()> {
        tokio::time::advance(Duration::from_secs(secs))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_lasts_as_long_as_its_worker_is_heard() {
        let (mut leases, key) = (Leases::default(), key(1));
        leases.hold(key.clone(), worker("a"), Instant::now());
        for _ in 0..10 {
            advance(LEASE_SECS - 1).await;
            assert!(leases.heard(&key, &worker("a"), Instant::now()));
            assert!(leases.expired(Instant::now()).is_empty());
        }
        advance(LEASE_SECS).await;
        assert_eq!(leases.expired(Instant::now()), [key]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_holder_prolongs_a_lease() {
        let (mut leases, key) = (Leases::default(), key(1));
        leases.hold(key.clone(), worker("a"), Instant::now());
        advance(LEASE_SECS).await;
        assert!(!leases.heard(&key, &worker("b"), Instant::now()));
        let mut later = key.clone();
        later.epoch = later.epoch.next();
        assert!(!leases.heard(&later, &worker("a"), Instant::now()));
        advance(GRACE.as_secs()).await;
        assert_eq!(leases.expired(Instant::now()), [key]);
    }

    #[tokio::test(start_paused = true)]
    async fn time_does_not_count_while_the_bus_is_away_and_there_is_grace_afterwards() {
        let (mut leases, key) = (Leases::default(), key(1));
        leases.hold(key.clone(), worker("a"), Instant::now());
        leases.pause();
        advance(3600).await;
        assert!(leases.expired(Instant::now()).is_empty());
        leases.resume(Instant::now());
        assert!(leases.expired(Instant::now()).is_empty());
        advance(LEASE_SECS).await;
        assert!(leases.expired(Instant::now()).is_empty(), "what was said meanwhile is on its way");
        advance(GRACE.as_secs()).await;
        assert_eq!(leases.expired(Instant::now()), [key]);
    }

    #[tokio::test(start_paused = true)]
    async fn holding_again_does_not_give_the_task_to_another_worker() {
        let (mut leases, key) = (Leases::default(), key(1));
        leases.hold(key.clone(), worker("a"), Instant::now());
        leases.hold(key.clone(), worker("b"), Instant::now());
        assert!(leases.heard(&key, &worker("a"), Instant::now()));
        assert!(!leases.heard(&key, &worker("b"), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_expected_any_more_is_let_go_and_other_relocations_stay() {
        let (mut leases, ours, other) = (Leases::default(), key(1), key(1));
        leases.hold(ours.clone(), worker("a"), Instant::now());
        leases.hold(other.clone(), worker("a"), Instant::now());
        leases.keep(ours.relocation, &[]);
        assert!(!leases.heard(&ours, &worker("a"), Instant::now()));
        assert!(leases.heard(&other, &worker("a"), Instant::now()));
    }
}
