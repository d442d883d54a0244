//! The state of the simulated cloud and the plain changes to it.

use std::collections::BTreeMap;

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::{DiskId, DiskName, InstanceName, RelocationId};
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::{Concern, DiskPlace, Firmware, Nic, Power};
use time::OffsetDateTime;

use super::alone::Shelf;
use super::furniture::Lent;
use super::keepsakes::Role;
use crate::provider::{Launched, Stopped};

#[derive(Debug)]
pub(super) struct Cloud {
    /// All that there is; what is free follows from what is made.
    pub whole: Capacity,
    pub instances: BTreeMap<InstanceName, Held>,
    pub disks: BTreeMap<String, DiskImage>,
    pub scraps: BTreeMap<String, RelocationId>,
    /// What is there beside instances.
    pub shelf: Shelf,
    /// Around its own instances.
    pub surroundings: Surroundings,
    /// By kind and name, with the relocation that made it.
    pub furniture: BTreeMap<(FurnitureKind, String), Option<RelocationId>>,
    pub lent: Lent,
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    pub made_for: Option<RelocationId>,
    pub kept: Option<Kept>,
    pub power: Power,
    pub autostart: bool,
    /// Once it has settled.
    pub will_autostart: bool,
    /// Does not listen when it is asked to shut down.
    pub deaf: bool,
    pub stopped: Stopped,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub firmware: Firmware,
    /// Root first.
    pub disks: Vec<(DiskName, DiskPlace)>,
    pub nics: Vec<Nic>,
    pub launched: Launched,
    pub concerns: Vec<Concern>,
    pub note: String,
    pub made_at: OffsetDateTime,
}

#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub relocation: RelocationId,
    pub autostart: bool,
}

#[derive(Clone, Debug)]
pub(super) struct DiskImage {
    pub made_for: Option<(RelocationId, DiskId)>,
    pub bytes: Vec<u8>,
    /// How often.
    pub written: u64,
}

impl Held {
    pub fn has_disk(&self, path: &str) -> bool {
        self.disks.iter().any(|(_, place)| place.path == path)
    }

    pub fn macs(&self) -> Vec<String> {
        self.nics.iter().map(|nic| nic.mac.clone()).collect()
    }
}

impl Cloud {
    /// Processors are shared, memory is taken by what runs, storage by what is allocated.
    pub fn free(&self) -> Capacity {
        let running = self.instances.values().filter(|it| it.power == Power::Running);
        let memory: u64 = running.map(|it| it.memory_bytes).sum();
        let disk: u64 = self.disks.values().map(|disk| disk.bytes.len() as u64).sum();
        Capacity {
            vcpus: self.whole.vcpus,
            memory_bytes: self.whole.memory_bytes.saturating_sub(memory),
            disk_bytes: self.whole.disk_bytes.saturating_sub(disk),
        }
    }

    /// What only the move needed.
    pub fn settle(&mut self, relocation: RelocationId) {
        self.scraps.retain(|_, owner| *owner != relocation);
        self.shelf.kept.retain(|held| held.relocation != relocation || held.role != Role::Aside);
    }

    pub fn put(&mut self, path: &str, offset: usize, bytes: &[u8]) {
        if let Some(disk) = self.disks.get_mut(path) {
            disk.written += 1;
            let end = disk.bytes.len().min(offset + bytes.len());
            if offset < end {
                disk.bytes[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
        }
    }

    /// The illegal act that this was, if it was one. It is done all the same, as a real disk would take it.
    pub fn write(&mut self, path: &str, offset: usize, bytes: &[u8]) -> Option<String> {
        let illegal = match self.disks.get(path) {
            None => Some(format!("wrote to `{path}`, which is not there")),
            Some(disk) if disk.made_for.is_none() => Some(format!("wrote to the source's disk `{path}`")),
            Some(disk) if offset + bytes.len() > disk.bytes.len() => {
                Some(format!("wrote past the end of `{path}`"))
            }
            Some(_) => None,
        };
        let in_use = self.instances.values().any(|it| it.power == Power::Running && it.has_disk(path));
        self.put(path, offset, bytes);
        illegal.or_else(|| in_use.then(|| format!("wrote to `{path}` while its instance runs")))
    }
}
