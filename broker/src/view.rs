//! What was heard on the bus: the newest status of each relocation, refused requests, and workers with when they
//! were last heard. A view, not a truth: it is empty at the start and filled by asking the conduit to report.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::event::{Notice, WorkerSeen};
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::{RelocationId, WorkerId};
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::status::{RelocationStatus, WorkerStatus};
use tokio::time::Instant;

/// Relocations remembered. Those that have ended make room, oldest first; running ones always stay.
pub const RELOCATIONS_MAX: usize = 500;
/// Refused requests remembered.
pub const REFUSED_MAX: usize = 500;
/// Relocations whose offers are remembered.
pub const OFFERS_MAX: usize = 500;
/// Workers remembered.
pub const WORKERS_MAX: usize = 1_000;
/// A worker that was silent for so long serves nothing any more.
pub const WORKER_GONE_AFTER: Duration = Duration::from_secs(20);
/// A worker that was silent for so long is no longer shown.
pub const WORKER_FORGOTTEN_AFTER: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub struct View {
    relocations: BTreeMap<RelocationId, RelocationStatus>,
    refused: BTreeMap<RelocationId, (Instant, Failure)>,
    workers: BTreeMap<WorkerId, Heard>,
    /// Oldest first.
    offers: VecDeque<(RelocationId, Vec<Offer>)>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    seen: WorkerSeen,
}

impl View {
    /// Takes a notice in; of two statuses of a relocation the one with the higher revision stays.
    pub fn apply(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::RelocationChanged { status } => self.relocation_changed(*status),
            Notice::RequestRefused { id: Some(id), failure } => {
                self.refused.insert(id, (now, failure));
                if self.refused.len() > REFUSED_MAX {
                    let oldest = self.refused.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id);
                    oldest.map(|id| self.refused.remove(&id));
                }
            }
            Notice::RequestRefused { id: None, .. } => {}
            Notice::WorkerSeen(seen) => self.worker_seen(seen, now),
        }
    }

    /// The latest of each relocation stay.
    pub fn offered(&mut self, relocation: RelocationId, offers: Vec<Offer>) {
        self.offers.retain(|(known, _)| *known != relocation);
        if self.offers.len() == OFFERS_MAX {
            self.offers.pop_front();
        }
        self.offers.push_back((relocation, offers));
    }

    pub fn offers(&self) -> Vec<(RelocationId, Vec<Offer>)> {
        self.offers.iter().cloned().collect()
    }

    fn relocation_changed(&mut self, status: RelocationStatus) {
        let older = |known: &RelocationStatus| known.revision > status.revision;
        if self.relocations.get(&status.id).is_some_and(older) {
            return;
        }
        self.relocations.insert(status.id, status);
        if self.relocations.len() > RELOCATIONS_MAX {
            let ended = self.relocations.values().filter(|status| status.phase.is_final());
            let oldest = ended.min_by_key(|status| status.changed_at).map(|status| status.id);
            oldest.map(|id| self.relocations.remove(&id));
        }
    }

    fn worker_seen(&mut self, seen: WorkerSeen, now: Instant) {
        self.workers.retain(|_, heard| now.duration_since(heard.at) < WORKER_FORGOTTEN_AFTER);
        if self.workers.len() < WORKERS_MAX || self.workers.contains_key(&seen.worker) {
            self.workers.insert(seen.worker.clone(), Heard { at: now, seen });
        }
    }

    pub fn relocation(&self, id: RelocationId) -> Option<&RelocationStatus> {
        self.relocations.get(&id)
    }

    /// Why the last request with this id was refused.
    pub fn refusal(&self, id: RelocationId) -> Option<&Failure> {
        self.refused.get(&id).map(|(_, failure)| failure)
    }

    /// Newest first.
    pub fn relocations(&self) -> Vec<RelocationStatus> {
        let mut all: Vec<_> = self.relocations.values().cloned().collect();
        all.sort_by_key(|status| std::cmp::Reverse(status.created_at));
        all
    }

    /// Whether it is known to have ended, so that it needs no workers any more.
    pub fn is_over(&self, id: RelocationId) -> bool {
        self.relocation(id).is_some_and(|status| status.phase.is_final())
    }

    /// What is served by workers heard of lately, whoever started them.
    pub fn served(&self, now: Instant) -> BTreeSet<WorkerNeed> {
        let alive = |heard: &&Heard| now.duration_since(heard.at) < WORKER_GONE_AFTER && !heard.seen.draining;
        let mut served = BTreeSet::new();
        for heard in self.workers.values().filter(alive) {
            for kind in &heard.seen.kinds {
                served.extend(
                    heard.seen.sites.iter().map(|site| WorkerNeed { kind: *kind, site: site.clone() }),
                );
            }
        }
        served
    }

    pub fn workers(&self, now: Instant) -> Vec<WorkerStatus> {
        let status = |heard: &Heard| WorkerStatus {
            seen: heard.seen.clone(),
            seconds_since_seen: now.duration_since(heard.at).as_secs(),
            pid: None,
        };
        let known = |heard: &&Heard| now.duration_since(heard.at) < WORKER_FORGOTTEN_AFTER;
        self.workers.values().filter(known).map(status).collect()
    }
}

#[cfg(test)]
mod tests;
