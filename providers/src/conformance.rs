//! One suite that every driver passes: each sentence of [`Provider`]'s contract, tried on a real cloud or the
//! simulated one. A fixture brings the cloud and what only its owner can see or do; a broken promise is a panic.

mod disks;
mod furniture;
mod instances;
mod keepsakes;
mod sources;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{DiskId, InstanceName, RelocationId};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::{DiskPlace, Firmware, Nic};

use crate::provider::{DiskOrder, InstanceOrder, Provider};

/// A guest that does not listen is forced off after this.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// Small, and not a round number of anything but sectors.
pub(crate) const DISK_BYTES: u64 = 3 * 512 * 1021;
pub const MEMORY_BYTES: u64 = 64 << 20;
pub(crate) const SECTOR_BYTES: usize = 512;

/// A cloud to test on, and its owner's powers.
#[async_trait]
pub trait Fixture: Send + Sync {
    fn provider(&self) -> Arc<dyn Provider>;

    /// The same cloud as a second process sees it.
    fn another(&self) -> Arc<dyn Provider>;

    /// Makes an instance that no relocation made: stopped, one disk with something on it, one NIC.
    async fn make_foreign(&self, name: &InstanceName, autostart: bool);

    /// Whether it starts with its host.
    async fn starts_by_itself(&self, name: &InstanceName) -> bool;

    /// What a guest would read, from first to last byte. Nothing of the reading is left.
    async fn read(&self, place: &DiskPlace) -> Content;

    /// The memory that an instance ordered with [`MEMORY_BYTES`] gets: that, where any size can be had.
    async fn memory_bytes(&self) -> u64 {
        MEMORY_BYTES
    }

    /// What it can be asked to make after a source's, whose things have the word `label` in their names; `None` where it
    /// makes no such things.
    fn surroundings(&self, _label: &str) -> Option<Surroundings> {
        None
    }

    /// Whether the provider sees that a disk was written to by others than its instance.
    fn sees_writing(&self) -> bool {
        true
    }

    /// Writes at the start, as a migrator would.
    async fn write(&self, place: &DiskPlace, bytes: &[u8]);

    /// Leaves a journal, an overlay and a lock beside a disk, as workers do.
    async fn leave_scraps(&self, relocation: RelocationId, beside: &DiskPlace);
}

/// What is on a disk, small enough to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub size_bytes: u64,
    pub is_zeros: bool,
    /// The first sector, or less.
    pub start: Vec<u8>,
    /// Of all of it, by any hash.
    pub digest: String,
}

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            is_zeros: bytes.iter().all(|byte| *byte == 0),
            start: bytes.iter().take(SECTOR_BYTES).copied().collect(),
            digest: uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, bytes).to_string(),
        }
    }
}

/// Runs every story, one after the other.
pub async fn all(fixture: &dyn Fixture) {
    disks::all(fixture).await;
    instances::all(fixture).await;
    sources::all(fixture).await;
    furniture::all(fixture).await;
    keepsakes::all(fixture).await;
}

/// What becomes of [`DISK_BYTES`] at the provider.
pub(crate) fn disk_bytes(provider: &dyn Provider) -> u64 {
    DISK_BYTES.next_multiple_of(provider.disk_unit_bytes())
}

pub(crate) fn disk_id(disk: &str) -> DiskId {
    DiskId { component: "my-app.v2".parse().expect("a name"), disk: disk.parse().expect("a name") }
}

pub(crate) fn disk_order(relocation: RelocationId, disk: &str) -> DiskOrder {
    DiskOrder {
        relocation,
        disk: disk_id(disk),
        size_bytes: DISK_BYTES,
        expected_bytes: 4096,
        staging: false,
        volume_type: None,
    }
}

/// A name that nobody else uses.
pub(crate) fn name(what: &str) -> InstanceName {
    format!("{what}-{}", &RelocationId::new().to_string()[..8]).parse().expect("a name")
}

/// An order for an instance with a root and a volume, which are made.
pub(crate) async fn instance_order(provider: &dyn Provider, relocation: RelocationId) -> InstanceOrder {
    let mut disks = Vec::new();
    for disk in ["sda", "sdb"] {
        let place = provider.create_disk(&disk_order(relocation, disk)).await.expect("a disk");
        disks.push((disk_id(disk), place));
    }
    let id = relocation.0.as_bytes();
    let mac = format!("52:54:00:{:02x}:{:02x}:{:02x}", id[0], id[1], id[2]);
    InstanceOrder {
        relocation,
        name: name("made"),
        vcpus: 1,
        memory_bytes: MEMORY_BYTES,
        firmware: Firmware::Bios,
        disks,
        nics: vec![Nic {
            mac,
            model: "other".into(),
            network: "elsewhere".into(),
            addresses: Vec::new(),
            floating: Vec::new(),
            security_groups: Vec::new(),
        }],
        settings: None,
        furnished: Furnished::default(),
        launched: Default::default(),
        autostart: true,
        note: "from <elsewhere> & \"back\"".into(),
    }
}

/// Takes back all that was made, as undo does.
pub(crate) async fn undo(provider: &dyn Provider, order: &InstanceOrder) {
    provider.delete_instance(order.relocation, &order.name).await.expect("undo");
    for (disk, _) in &order.disks {
        provider.delete_disk(order.relocation, disk).await.expect("undo");
    }
    assert_eq!(
        provider.made_for(order.relocation).await.expect("made_for"),
        [],
        "undo left something behind"
    );
}

macro_rules! expect_error {
    ($call:expr, $pattern:pat) => {
        match $call.await {
            Err(error) if matches!(error, $pattern) => (),
            other => panic!("`{}` gave {other:?}, not {}", stringify!($call), stringify!($pattern)),
        }
    };
}
pub(crate) use expect_error;
