//! What inspection found: the instances of a service as their provider runs them, and the concerns about
//! moving them. Sizes are bytes.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alone::{Alone, DetachedVolume, StoredContainer, StoredImage};
use crate::ids::{ComponentName, DiskName, InstanceName, ProviderId};
use crate::surroundings::{Settings, Surroundings};

/// The service as it stands at the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topology {
    pub provider: ProviderId,
    pub instances: Vec<Placed>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Alone<DetachedVolume>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<Alone<StoredImage>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Alone<StoredContainer>>,
    pub stays: Vec<Link>,
    /// Empty at a provider without such things.
    #[serde(default, skip_serializing_if = "Surroundings::is_empty")]
    pub surroundings: Surroundings,
    pub concerns: Vec<Concern>,
}

/// An instance in its role in the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placed {
    pub component: ComponentName,
    pub needs: Vec<ComponentName>,
    pub instance: Instance,
}

/// What stays behind and must be reachable afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    pub component: ComponentName,
    pub kind: String,
    pub url: String,
}

/// One virtual machine as its provider describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    pub name: InstanceName,
    pub power: Power,
    /// Starts with its host.
    #[serde(default)]
    pub autostart: bool,
    pub machine: String,
    pub firmware: Firmware,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// Root first, then in the order the guest sees them.
    pub disks: Vec<Disk>,
    pub nics: Vec<Nic>,
    pub addresses: Vec<IpAddr>,
    /// Where its provider is a cloud.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<Box<Settings>>,
    pub concerns: Vec<Concern>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Power {
    Running,
    Stopped,
    /// Neither: paused, crashed, suspended to disk.
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Firmware {
    Bios,
    Uefi,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Disk {
    pub name: DiskName,
    pub role: DiskRole,
    pub bus: String,
    /// The device the guest sees, such as `/dev/sda`: what an fstab with device names means by it.
    pub guest_device: String,
    pub size_bytes: u64,
    /// What the provider's storage holds of it.
    pub allocated_bytes: u64,
    pub place: DiskPlace,
    /// What its provider calls such storage, where it has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskRole {
    Root,
    Volume,
}

/// Where the bytes of a disk are, as seen from its provider's site.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct DiskPlace {
    /// Absolute path at the site; an object key for providers without files.
    pub path: String,
    pub format: DiskFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    Raw,
    Qcow2,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Nic {
    pub mac: String,
    pub model: String,
    pub network: String,
    /// Those that its network gave it, where the provider knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
    /// Floating IPs: addresses outside that lead to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floating: Vec<IpAddr>,
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
}

/// What may hinder a move, with the remedy. A critical one stops the relocation before it touches anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Concern {
    pub severity: Severity,
    pub subject: String,
    pub message: String,
    pub remedy: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Information,
    Warning,
    Critical,
}

impl Topology {
    pub fn worst(&self) -> Option<&Concern> {
        self.all_concerns().max_by_key(|concern| concern.severity)
    }

    pub fn all_concerns(&self) -> impl Iterator<Item = &Concern> {
        let alone = self.volumes.iter().flat_map(|volume| &volume.found.concerns);
        let alone = alone.chain(self.images.iter().flat_map(|image| &image.found.concerns));
        let alone = alone.chain(self.containers.iter().flat_map(|container| &container.found.concerns));
        let instances = self.instances.iter().flat_map(|placed| &placed.instance.concerns);
        self.concerns.iter().chain(instances).chain(alone)
    }

    /// The volume that moves alone in this component.
    pub fn volume(&self, component: &ComponentName) -> Option<&DetachedVolume> {
        self.volumes.iter().find(|volume| volume.component == *component).map(|volume| &volume.found)
    }

    pub fn image(&self, component: &ComponentName) -> Option<&StoredImage> {
        self.images.iter().find(|image| image.component == *component).map(|image| &image.found)
    }

    pub fn container(&self, component: &ComponentName) -> Option<&StoredContainer> {
        let mut containers = self.containers.iter();
        containers.find(|container| container.component == *component).map(|container| &container.found)
    }

    pub fn placed(&self, component: &ComponentName) -> Option<&Placed> {
        self.instances.iter().find(|placed| placed.component == *component)
    }
}

impl Instance {
    pub fn root(&self) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.role == DiskRole::Root)
    }

    pub fn disk(&self, name: &DiskName) -> Option<&Disk> {
        self.disks.iter().find(|disk| disk.name == *name)
    }
}
