//! Simulated migrators for tests of the logic: they work on the disks of [`MemoryProvider`]s. Bytes are really copied
//! and compared; guest work is done on a toy file system ([`disk::Files`]), so that what it does can be seen. A disk
//! that does not hold one is left as it is.

pub mod disk;
mod guest;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fluidcloud_proto::ids::{Epoch, ProviderId, RelocationId};
use fluidcloud_proto::plan::{MigratorKind, StepId};
use fluidcloud_proto::progress::{TransferProgress, TransferReport};
use fluidcloud_proto::task::{
    AdaptGuest, FoldVolume, Folding, GuestDisk, Output, PrepareDisk, RehearseGuest, RewriteConfig, SyncDisk,
    Task, Work,
};
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::memory::MemoryProvider;
use fluidcloud_providers::{DiskOrder, Provider, Registry};

use crate::error::Error;
use crate::migrator::{Context, Migrator, name_of};
use crate::object::ObjectMigrator;
use disk::Files;

/// Bytes copied between two await points, so that a copy can be interrupted.
const CHUNK_BYTES: usize = 256;

/// One simulated migrator of each kind, for these clouds.
pub fn migrators(clouds: &[MemoryProvider]) -> Vec<Arc<dyn Migrator>> {
    let world = Arc::new(World { clouds: clouds.to_vec(), epochs: Mutex::default(), done: Mutex::default() });
    let simulated = |kind| Arc::new(MemoryMigrator { kind, world: world.clone() }) as Arc<dyn Migrator>;
    // That one needs no site, and so is the real one.
    let mut registry = Registry::default();
    for cloud in clouds {
        registry = registry.with(Arc::new(cloud.clone()));
    }
    let object: Arc<dyn Migrator> = Arc::new(ObjectMigrator::new(Arc::new(registry)));
    let sited = MigratorKind::ALL.into_iter().filter(|kind| *kind != MigratorKind::Object);
    sited.map(simulated).chain([object]).collect()
}

#[derive(Clone, Debug)]
pub struct MemoryMigrator {
    kind: MigratorKind,
    world: Arc<World>,
}

#[derive(Debug)]
struct World {
    clouds: Vec<MemoryProvider>,
    /// What a lock file beside a real disk holds.
    epochs: Mutex<HashMap<String, Epoch>>,
    /// What a record file beside a real disk holds: the answer of guest work that is done.
    done: Mutex<HashMap<(RelocationId, StepId), Output>>,
}

#[async_trait]
impl Migrator for MemoryMigrator {
    fn kind(&self) -> MigratorKind {
        self.kind
    }

    async fn perform(&self, task: &Task, context: &Context) -> Result<Output, Error> {
        let cloud = self.world.cloud(&task.site)?;
        match (self.kind, &task.work) {
            (MigratorKind::Image, Work::PrepareDisk(order)) => prepare(cloud, task, order).await,
            (MigratorKind::Image, Work::SyncDisk(order)) => {
                self.sync(cloud, task.key.epoch, order, context).await
            }
            (MigratorKind::Rewrite, Work::RehearseGuest(order)) => rehearse(cloud, order),
            (MigratorKind::Image, Work::AdaptGuest(order)) => {
                self.guest_work(cloud, task, root_of(&order.disks)?, || adapt(cloud, order)).await
            }
            (MigratorKind::Volume, Work::FoldVolume(order)) => {
                self.guest_work(cloud, task, &order.root.place, || fold(cloud, order)).await
            }
            (MigratorKind::Rewrite, Work::RewriteConfig(order)) => {
                self.guest_work(cloud, task, root_of(&order.disks)?, || rewrite(cloud, order)).await
            }
            (kind, other) => Err(Error::WrongWork { kind, work: name_of(other) }),
        }
    }

    /// Dropping the work has ended it.
    async fn halt(&self, _task: &Task) -> Result<(), Error> {
        Ok(())
    }
}

async fn prepare(cloud: &MemoryProvider, task: &Task, order: &PrepareDisk) -> Result<Output, Error> {
    let order = DiskOrder {
        relocation: task.key.relocation,
        disk: order.disk.clone(),
        size_bytes: order.size_bytes,
        expected_bytes: order.expected_bytes,
        staging: order.staging,
        volume_type: order.volume_type.clone(),
    };
    Ok(Output::Prepared { place: cloud.create_disk(&order).await? })
}

impl MemoryMigrator {
    async fn sync(
        &self,
        target: &MemoryProvider,
        epoch: Epoch,
        order: &SyncDisk,
        context: &Context,
    ) -> Result<Output, Error> {
        let source = self.world.cloud(&order.source)?;
        let bytes = bytes_of(source, &order.from)?;
        let total = bytes.len() as u64;
        let mut counts = TransferProgress { bytes_total: total, ..TransferProgress::default() };
        let have = bytes_of(target, &order.to)?;
        for (at, chunk) in bytes.chunks(CHUNK_BYTES).enumerate() {
            self.world.fence(&order.to, epoch)?;
            let offset = at * CHUNK_BYTES;
            let size = chunk.len() as u64;
            counts.bytes_done += size;
            counts.bytes_read += size;
            if have.get(offset..offset + chunk.len()) == Some(chunk) {
                counts.bytes_reused += size;
            } else {
                target.write_disk(&order.to, offset, chunk);
                counts.bytes_on_wire += size;
            }
            context.progress.tell(counts.clone());
            tokio::task::yield_now().await;
        }
        let sent = blake3::hash(&bytes_of(source, &order.from)?).to_hex().to_string();
        let received = blake3::hash(&bytes_of(target, &order.to)?).to_hex().to_string();
        if sent != received {
            let disk = order.disk.to_string();
            return Err(crate::image::sync::Error::Disagree { disk, sent, received }.into());
        }
        Ok(Output::Synced {
            transfer: TransferReport {
                disk: order.disk.clone(),
                bytes_total: total,
                bytes_read: counts.bytes_read,
                bytes_zero: bytes.iter().filter(|byte| **byte == 0).count() as u64,
                bytes_reused: counts.bytes_reused,
                bytes_on_wire: counts.bytes_on_wire,
                bytes_free: 0,
                areas: Vec::new(),
                seconds: 0.0,
                digest: sent,
                verified: true,
            },
        })
    }

    /// All or nothing, and once: what is done is remembered with the change itself.
    async fn guest_work(
        &self,
        cloud: &MemoryProvider,
        task: &Task,
        root: &DiskPlace,
        work: impl Fn() -> Result<(Files, Output), Error> + Send,
    ) -> Result<Output, Error> {
        let step = (task.key.relocation, task.key.step.clone());
        self.world.fence(root, task.key.epoch)?;
        if let Some(done) = lock(&self.world.done).get(&step) {
            return Ok(done.clone());
        }
        let (files, done) = work()?;
        tokio::task::yield_now().await;
        self.world.fence(root, task.key.epoch)?;
        let before = bytes_of(cloud, root)?;
        let after = if files.is_empty() { before.clone() } else { guest::fit(&files, before.len(), root)? };
        if after != before {
            cloud.write_disk(root, 0, &after);
        }
        lock(&self.world.done).insert(step, done.clone());
        Ok(done)
    }
}

fn adapt(cloud: &MemoryProvider, order: &AdaptGuest) -> Result<(Files, Output), Error> {
    let mut files = files_of(cloud, root_of(&order.disks)?)?;
    let changes = guest::adapt(&mut files, &order.hardware);
    Ok((files, Output::Adapted { changes }))
}

fn fold(cloud: &MemoryProvider, order: &FoldVolume) -> Result<(Files, Output), Error> {
    let volume = files_of(cloud, &order.volume.place)?;
    let mut root = files_of(cloud, &order.root.place)?;
    let folded = guest::fold(&mut root, &volume, &order.volume.disk, &order.into)?;
    Ok((root, Output::Folded(folded)))
}

fn rewrite(cloud: &MemoryProvider, order: &RewriteConfig) -> Result<(Files, Output), Error> {
    let mut files = files_of(cloud, root_of(&order.disks)?)?;
    let diffs = guest::rewrite(&mut files, &order.rules)?;
    Ok((files, Output::Rewritten { files: diffs }))
}

fn rehearse(cloud: &MemoryProvider, order: &RehearseGuest) -> Result<Output, Error> {
    let root = root_of(&order.disks)?;
    let volume = |fold: &Folding| {
        let disk = order.disks.iter().find(|disk| disk.disk == fold.volume);
        let disk = disk.ok_or_else(|| crate::guest::Error::NotGiven { disk: fold.volume.to_string() })?;
        files_of(cloud, &disk.place)
    };
    let volumes = order.folds.iter().map(volume).collect::<Result<Vec<_>, Error>>()?;
    let mut files = files_of(cloud, root)?;
    let done = guest::rehearse(&mut files, &volumes, order)?;
    guest::fit(&files, bytes_of(cloud, root)?.len(), root)?;
    Ok(Output::Rehearsed(done))
}

impl World {
    fn cloud(&self, id: &ProviderId) -> Result<&MemoryProvider, Error> {
        let found = self.clouds.iter().find(|cloud| cloud.id() == id);
        found.ok_or_else(|| fluidcloud_providers::Error::UnknownProvider(id.to_string()).into())
    }

    /// Notes the epoch on the disk; refuses one that is older than what has been there.
    fn fence(&self, place: &DiskPlace, epoch: Epoch) -> Result<(), Error> {
        let mut epochs = lock(&self.epochs);
        let newest = epochs.entry(place.path.clone()).or_insert(epoch);
        if *newest > epoch {
            return Err(Error::Fenced { newer: newest.0 });
        }
        *newest = epoch;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock left whole values behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn root_of(disks: &[GuestDisk]) -> Result<&DiskPlace, Error> {
    Ok(&disks.first().ok_or(crate::guest::Error::NoDisk)?.place)
}

fn files_of(cloud: &MemoryProvider, place: &DiskPlace) -> Result<Files, Error> {
    Ok(Files::read(&bytes_of(cloud, place)?))
}

fn bytes_of(cloud: &MemoryProvider, place: &DiskPlace) -> Result<Vec<u8>, Error> {
    cloud.disk_bytes(place).ok_or_else(|| {
        fluidcloud_providers::Error::Driver {
            provider: cloud.id().to_string(),
            what: "read a disk".to_owned(),
            cause: format!("there is no disk `{}`", place.path).into(),
        }
        .into()
    })
}
