//! A container made equal to another: in passes over both listings, until one finds nothing to do. So a repeated task costs
//! one pass, and what is written meanwhile arrives with the next.

mod names;
mod one;
mod pairs;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fluidcloud_proto::alone::{ContainerCopied, CopyContainer};
use fluidcloud_proto::task::TaskKey;
use fluidcloud_providers::{ContainerOrder, ObjectStore};
use futures::TryStreamExt;
use tokio::sync::Mutex;

use super::Error;
use super::tally::Tally;
use crate::migrator::Progress;
use names::Names;
use one::Done;
use pairs::{Pair, Pairs};

/// Passes of one task.
pub const PASSES_MAX: u32 = 6;
/// Objects on their way at the same time; of each a few pieces are in memory.
pub const OBJECTS_AT_ONCE: usize = 8;

/// What one task works with.
struct Job<'a> {
    source: &'a dyn ObjectStore,
    target: &'a dyn ObjectStore,
    key: &'a TaskKey,
    names: Names,
    tally: Arc<Tally>,
    counts: Counts,
    /// At the target, for segments; held while one is made.
    segment_containers: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Counts {
    copied: AtomicU64,
    bytes_copied: AtomicU64,
    reused: AtomicU64,
    manifests: AtomicU64,
    digested: AtomicU64,
    gone: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

pub async fn copy(
    source: &dyn ObjectStore,
    target: &dyn ObjectStore,
    key: &TaskKey,
    order: &CopyContainer,
    progress: &Progress,
) -> Result<ContainerCopied, crate::Error> {
    let found = source.container(&order.from).await?;
    let job = Job {
        source,
        target,
        key,
        names: Names::new(&order.from, &order.to),
        tally: Arc::new(Tally::new(progress, found.bytes)),
        counts: Counts::default(),
        segment_containers: Mutex::default(),
    };
    let make = ContainerOrder {
        relocation: key.relocation,
        epoch: key.epoch,
        name: order.to.clone(),
        metadata: found.metadata,
        segments_of: None,
    };
    for pass in 1..=PASSES_MAX {
        // Each time, so that a pass that was overtaken ends here.
        target.make_container(&make).await?;
        let seen = job.pass(pass).await?;
        if seen.changed == 0 {
            return Ok(job.told(order, seen).await);
        }
    }
    Err(Error::Restless { container: order.from.clone(), passes: PASSES_MAX }.into())
}

/// Of one pass.
#[derive(Default)]
struct Seen {
    objects: u64,
    bytes: u64,
    changed: u64,
    digest: String,
}

impl Job<'_> {
    async fn pass(&self, pass: u32) -> Result<Seen, crate::Error> {
        let pairs = Pairs::new(self.source, &self.names.from, self.target, &self.names.to);
        let changed = AtomicU64::new(0);
        let seen = std::sync::Mutex::new((Seen::default(), blake3::Hasher::new()));
        pairs
            .stream()
            .inspect_ok(|pair| note(&seen, pair))
            .try_for_each_concurrent(OBJECTS_AT_ONCE, |pair| {
                let changed = &changed;
                async move {
                    if self.settle(pair, pass).await? {
                        changed.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                }
            })
            .await?;
        let (mut seen, hasher) = seen.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.changed = changed.into_inner();
        seen.digest = format!("blake3:{}", hasher.finalize().to_hex());
        Ok(seen)
    }

    /// Whether anything had to be done.
    async fn settle(&self, pair: Pair, pass: u32) -> Result<bool, crate::Error> {
        let (from, to) = (&self.names.from, &self.names.to);
        if pair.is_equal() {
            if pass == 1 {
                Counts::add(&self.counts.reused, 1);
                self.tally.reused(pair.source.map_or(0, |listed| listed.bytes));
            }
            return Ok(false);
        }
        // A listing may lag behind, so that from the second pass on the objects themselves are asked.
        let look_first = pass > 1 || pair.target.is_some();
        match self.copy_object((from, to), &pair.name, look_first, 0).await? {
            Done::Copied => Ok(true),
            Done::Same => Ok(false),
            Done::Gone if pair.target.is_some() => {
                self.target.delete_object(to, &pair.name).await?;
                Counts::add(&self.counts.gone, 1);
                Ok(true)
            }
            Done::Gone => {
                if pass == 1 {
                    Counts::add(&self.counts.gone, 1);
                }
                Ok(false)
            }
        }
    }

    /// A container for segments, once.
    async fn segment_container(&self, from: &str) -> Result<String, crate::Error> {
        let to = self.names.of(from);
        let mut made = self.segment_containers.lock().await;
        if to != self.names.to && !made.contains(&to) {
            let metadata = self.source.container(from).await?.metadata;
            let order = ContainerOrder {
                relocation: self.key.relocation,
                epoch: self.key.epoch,
                name: to.clone(),
                metadata,
                segments_of: Some(self.names.to.clone()),
            };
            self.target.make_container(&order).await?;
            made.insert(to.clone());
        }
        Ok(to)
    }

    async fn told(self, order: &CopyContainer, seen: Seen) -> ContainerCopied {
        let counts = self.counts;
        ContainerCopied {
            component: order.component.clone(),
            name: order.to.clone(),
            segment_containers: self.segment_containers.into_inner().into_iter().collect(),
            objects: seen.objects,
            bytes: seen.bytes,
            copied: counts.copied.into_inner(),
            bytes_copied: counts.bytes_copied.into_inner(),
            reused: counts.reused.into_inner(),
            manifests: counts.manifests.into_inner(),
            digested: counts.digested.into_inner(),
            gone: counts.gone.into_inner(),
            digest: seen.digest,
            seconds: self.tally.seconds(),
        }
    }
}

/// Names cannot hold what parts them here.
fn note(seen: &std::sync::Mutex<(Seen, blake3::Hasher)>, pair: &Pair) {
    let Some(listed) = &pair.source else { return };
    let mut seen = seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    seen.0.objects += 1;
    seen.0.bytes += listed.bytes;
    seen.1.update(format!("{}\0{}\0{}\n", listed.name, listed.bytes, listed.digest).as_bytes());
}
