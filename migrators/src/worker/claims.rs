//! Tasks that were delivered and claimed, and wait for the conduit's answer. Owns their deliveries.

use fluidcloud_proto::bus::Delivery;
use fluidcloud_proto::task::{Task, TaskKey};
use tokio::time::Instant;

use super::CLAIM;

/// Deliveries kept of one task; the bus delivers again what we lost by a reconnect, so there may be some.
const DELIVERIES_OF_ONE_MAX: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Claims {
    waiting: Vec<Claim>,
}

#[derive(Debug)]
pub(super) struct Claim {
    pub task: Task,
    pub deliveries: Vec<Delivery>,
    pub claimed_at: Instant,
}

impl Claims {
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A second delivery of the same task joins the first: it is settled with it, and claimed anew. Answers what is
    /// too many.
    pub fn add(&mut self, task: Task, delivery: Delivery, now: Instant) -> Option<Delivery> {
        let Some(claim) = self.waiting.iter_mut().find(|claim| claim.task.key == task.key) else {
            self.waiting.push(Claim { task, deliveries: vec![delivery], claimed_at: now });
            return None;
        };
        claim.claimed_at = now;
        claim.deliveries.push(delivery);
        (claim.deliveries.len() > DELIVERIES_OF_ONE_MAX).then(|| claim.deliveries.remove(0))
    }

    pub fn take(&mut self, key: &TaskKey) -> Option<Claim> {
        let at = self.waiting.iter().position(|claim| claim.task.key == *key)?;
        Some(self.waiting.swap_remove(at))
    }

    /// Those that nobody answered, to be given back.
    pub fn unanswered(&mut self, now: Instant) -> Vec<Claim> {
        let late = |claim: &mut Claim| now.duration_since(claim.claimed_at) >= CLAIM;
        self.waiting.extract_if(.., late).collect()
    }
}
