//! Seeds a simulated cloud.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{Concern, DiskFormat, DiskPlace, Firmware, Nic, Power};
use time::OffsetDateTime;

use super::cloud::{Cloud, DiskImage, Held};
use super::faults::Faults;
use super::{MemoryProvider, Witness};
use crate::config::ProviderConfig;
use crate::provider::Stopped;

const VCPUS: u32 = 16;
const MEMORY_BYTES: u64 = 64 << 30;
const DISK_BYTES: u64 = 1 << 40;

#[derive(Debug)]
pub struct Builder {
    id: ProviderId,
    hardware: Hardware,
    whole: Capacity,
    guests: Vec<Guest>,
    witness: Witness,
    surroundings: Surroundings,
}

/// An instance that no relocation made.
#[derive(Clone, Debug)]
pub struct Guest {
    name: String,
    power: Power,
    autostart: bool,
    deaf: bool,
    vcpus: u32,
    memory_bytes: u64,
    firmware: Firmware,
    disks: Vec<(String, Vec<u8>)>,
    nics: Vec<String>,
    concerns: Vec<Concern>,
}

impl MemoryProvider {
    /// An empty cloud with plenty of room.
    ///
    /// # Panics
    /// When the id is no valid name: it is written in a test.
    pub fn builder(id: &str) -> Builder {
        let hardware = Hardware {
            machine: "q35".into(),
            disk_bus: "virtio".into(),
            nic: "virtio".into(),
            format: DiskFormat::Raw,
        };
        let whole = Capacity { vcpus: VCPUS, memory_bytes: MEMORY_BYTES, disk_bytes: DISK_BYTES };
        let id = id.parse().expect("a valid provider id");
        Builder {
            id,
            hardware,
            whole,
            guests: Vec::new(),
            witness: Witness::default(),
            surroundings: Surroundings::default(),
        }
    }

    pub fn from_config(config: &ProviderConfig) -> Self {
        Builder { hardware: config.shape.clone(), ..Self::builder(config.id.as_str()) }.build()
    }
}

impl Builder {
    pub fn hardware(mut self, hardware: Hardware) -> Self {
        self.hardware = hardware;
        self
    }

    pub fn capacity(mut self, whole: Capacity) -> Self {
        self.whole = whole;
        self
    }

    pub fn guest(mut self, guest: Guest) -> Self {
        self.guests.push(guest);
        self
    }

    /// What all of its instances stand in.
    pub fn surroundings(mut self, surroundings: Surroundings) -> Self {
        self.surroundings = surroundings;
        self
    }

    /// One witness for all providers of a test.
    pub fn witness(mut self, witness: &Witness) -> Self {
        self.witness = witness.clone();
        self
    }

    pub fn build(self) -> MemoryProvider {
        let cloud = Cloud {
            whole: self.whole,
            instances: BTreeMap::new(),
            disks: BTreeMap::new(),
            scraps: BTreeMap::new(),
            shelf: Default::default(),
            surroundings: self.surroundings,
            furniture: BTreeMap::new(),
            lent: Default::default(),
        };
        let provider = MemoryProvider {
            id: self.id,
            hardware: self.hardware,
            cloud: Arc::new(Mutex::new(cloud)),
            faults: Arc::new(Mutex::new(Faults::default())),
            witness: self.witness,
        };
        for guest in self.guests {
            provider.seed(guest);
        }
        provider
    }
}

impl MemoryProvider {
    /// Adds an instance, as the provider's owner would.
    ///
    /// # Panics
    /// When a name is not valid: it is written in a test.
    pub fn seed(&self, guest: Guest) {
        let name = guest.name.parse().expect("a valid instance name");
        let mut cloud = super::lock(&self.cloud);
        let mut disks = Vec::new();
        for (disk, bytes) in guest.disks {
            let path = format!("/own/{}-{disk}", guest.name);
            cloud.disks.insert(path.clone(), DiskImage { made_for: None, bytes, written: 0 });
            disks.push((
                disk.parse().expect("a valid disk name"),
                DiskPlace { path, format: self.hardware.format },
            ));
        }
        let nic = |mac| Nic {
            mac,
            model: self.hardware.nic.clone(),
            network: "default".into(),
            addresses: Vec::new(),
            floating: Vec::new(),
            security_groups: Vec::new(),
        };
        let held = Held {
            made_for: None,
            kept: None,
            power: guest.power,
            autostart: guest.autostart,
            will_autostart: guest.autostart,
            deaf: guest.deaf,
            stopped: Stopped::Clean,
            vcpus: guest.vcpus,
            memory_bytes: guest.memory_bytes,
            firmware: guest.firmware,
            disks,
            nics: guest.nics.into_iter().map(nic).collect(),
            launched: Default::default(),
            concerns: guest.concerns,
            note: String::new(),
            made_at: OffsetDateTime::now_utc(),
        };
        if held.power == Power::Running {
            self.witness.started(&self.id, &name, &held.macs());
        }
        cloud.instances.insert(name, held);
    }
}

impl Guest {
    /// Stopped, one processor, 1 GiB, BIOS, nothing attached.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            power: Power::Stopped,
            autostart: false,
            deaf: false,
            vcpus: 1,
            memory_bytes: 1 << 30,
            firmware: Firmware::Bios,
            disks: Vec::new(),
            nics: Vec::new(),
            concerns: Vec::new(),
        }
    }

    pub fn running(mut self) -> Self {
        self.power = Power::Running;
        self
    }

    pub fn autostart(mut self) -> Self {
        self.autostart = true;
        self
    }

    /// It does not listen when it is asked to shut down.
    pub fn deaf(mut self) -> Self {
        self.deaf = true;
        self
    }

    pub fn size(mut self, vcpus: u32, memory_bytes: u64) -> Self {
        (self.vcpus, self.memory_bytes) = (vcpus, memory_bytes);
        self
    }

    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// Root first.
    pub fn disk(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.disks.push((name.to_owned(), bytes));
        self
    }

    pub fn nic(mut self, mac: &str) -> Self {
        self.nics.push(mac.to_owned());
        self
    }

    pub fn concern(mut self, concern: Concern) -> Self {
        self.concerns.push(concern);
        self
    }
}
