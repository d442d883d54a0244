//! A simulated cloud for tests of the logic: instances and disks are values in memory, nothing is real. What it adds
//! to the contract is for tests only: faults on demand, a log of calls, and a witness that records illegal acts.

mod alone;
mod build;
mod cloud;
mod faults;
mod furniture;
mod keepsakes;
mod provider;
mod usage;
mod witness;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fluidcloud_proto::ids::{InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskPlace, Power};

use crate::error::Error;
use crate::provider::Stopped;

pub use alone::md5_of;
pub use build::{Builder, Guest};
pub use faults::{Call, Op};
pub use witness::Witness;

use cloud::Cloud;
use faults::Faults;

/// Clones are the same cloud, as several processes see it.
#[derive(Clone, Debug)]
pub struct MemoryProvider {
    id: ProviderId,
    hardware: Hardware,
    cloud: Arc<Mutex<Cloud>>,
    faults: Arc<Mutex<Faults>>,
    witness: Witness,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock left whole values behind.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For tests: what a person with access to everything could see and do.
impl MemoryProvider {
    /// The next call of `op` fails with `error` and does nothing. Several wait in turn.
    pub fn fail_next(&self, op: Op, error: Error) {
        lock(&self.faults).fail_next(op, error);
    }

    /// The `nth` call of `op` from now (1 is the next) fails as unreachable and does nothing.
    pub fn fail_at(&self, op: Op, nth: u64) {
        lock(&self.faults).fail_at(op, nth, faults::When::Before);
    }

    /// The `nth` call of `op` from now does its work, and then its answer is lost.
    pub fn lose_answer_at(&self, op: Op, nth: u64) {
        lock(&self.faults).fail_at(op, nth, faults::When::After);
    }

    /// Every call fails as unreachable until it is told otherwise.
    pub fn set_reachable(&self, reachable: bool) {
        lock(&self.faults).reachable = reachable;
    }

    /// The latest calls, oldest first, at most [`faults::CALLS_MAX`].
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.faults).calls()
    }

    pub fn running_instances(&self) -> Vec<InstanceName> {
        let cloud = lock(&self.cloud);
        cloud
            .instances
            .iter()
            .filter(|(_, it)| it.power == Power::Running)
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub fn disk_bytes(&self, place: &DiskPlace) -> Option<Vec<u8>> {
        lock(&self.cloud).disks.get(&place.path).map(|disk| disk.bytes.clone())
    }

    /// Writes as a migrator does. A disk that no relocation made, or whose instance runs, must not be written: that
    /// is recorded as illegal.
    pub fn write_disk(&self, place: &DiskPlace, offset: usize, bytes: &[u8]) {
        let illegal = lock(&self.cloud).write(&place.path, offset, bytes);
        if let Some(act) = illegal {
            self.witness.record(format!("{}: {act}", self.id));
        }
    }

    /// Writes as the guest that owns the disk does, while it runs.
    pub fn guest_writes(&self, place: &DiskPlace, offset: usize, bytes: &[u8]) {
        let mut cloud = lock(&self.cloud);
        let runs = cloud.instances.values().any(|it| it.power == Power::Running && it.has_disk(&place.path));
        if runs {
            cloud.put(&place.path, offset, bytes);
        }
    }

    /// Leaves something beside a disk, as workers do.
    pub fn add_scrap(&self, relocation: RelocationId, path: &str) {
        lock(&self.cloud).scraps.insert(path.to_owned(), relocation);
    }

    pub fn paths(&self) -> Vec<String> {
        let cloud = lock(&self.cloud);
        cloud.disks.keys().chain(cloud.scraps.keys()).cloned().collect()
    }

    /// Pulls the plug of an instance, or turns it on, behind FluidCloud's back.
    pub fn set_power(&self, instance: &InstanceName, power: Power) {
        let macs = {
            let mut cloud = lock(&self.cloud);
            let Some(it) = cloud.instances.get_mut(instance) else { return };
            it.power = power;
            it.stopped = Stopped::Unknown;
            it.macs()
        };
        if power == Power::Running {
            self.witness.started(&self.id, instance, &macs);
        } else {
            self.witness.stopped(&self.id, instance, &macs);
        }
    }

    /// The host loses power and comes back: what starts by itself runs then, and nothing else.
    pub fn reboot(&self) {
        let all: Vec<(InstanceName, Power)> = {
            let cloud = lock(&self.cloud);
            let power = |autostart| if autostart { Power::Running } else { Power::Stopped };
            cloud.instances.iter().map(|(name, it)| (name.clone(), power(it.autostart))).collect()
        };
        for (instance, power) in all {
            self.set_power(&instance, power);
        }
    }

    /// The mark of a source that has moved away.
    pub fn kept_for(&self, instance: &InstanceName) -> Option<RelocationId> {
        lock(&self.cloud).instances.get(instance)?.kept.as_ref().map(|kept| kept.relocation)
    }

    pub fn starts_by_itself(&self, instance: &InstanceName) -> bool {
        lock(&self.cloud).instances.get(instance).is_some_and(|it| it.autostart)
    }

    pub fn witness(&self) -> &Witness {
        &self.witness
    }
}

#[cfg(test)]
mod tests;
