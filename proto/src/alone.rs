//! What moves without an instance, as its provider describes it, and what is told when it was copied. Sizes are bytes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ComponentName, DiskId, ProviderId};
use crate::request::Visibility;
use crate::topology::{Concern, Disk};

/// In its role in the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Alone{T}")]
pub struct Alone<T> {
    pub component: ComponentName,
    pub found: T,
}

/// A volume that no instance has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DetachedVolume {
    /// The provider's own.
    pub id: String,
    pub name: String,
    /// Named `volume`; neither its bus nor its device means anything.
    pub disk: Disk,
    /// Another one later says that it was written to, or may have been.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    pub concerns: Vec<Concern>,
}

impl DetachedVolume {
    /// What the disk of a volume that moves alone is called.
    pub const DISK: &str = "volume";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredImage {
    /// The provider's own.
    pub id: String,
    pub name: String,
    pub size_bytes: u64,
    /// Such as `qcow2`.
    pub disk_format: String,
    /// Such as `bare`.
    pub container_format: String,
    #[serde(default)]
    pub min_disk_gib: u64,
    #[serde(default)]
    pub min_ram_mib: u64,
    /// Those that mean something at another cloud too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// By algorithm, such as `sha512`, in hexadecimal: what its service has computed.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digests: BTreeMap<String, String>,
    pub concerns: Vec<Concern>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoredContainer {
    pub name: String,
    pub objects: u64,
    pub bytes: u64,
    /// Of the container itself, without secrets and without who may use it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    pub concerns: Vec<Concern>,
}

/// Copy an image from one image service to another. Answer: [`crate::task::Output::ImageCopied`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyImage {
    pub component: ComponentName,
    pub source: ProviderId,
    /// At the source.
    pub id: String,
    /// At the target.
    pub name: String,
    pub visibility: Visibility,
}

/// Make a container equal to one of the source, with the segments that its objects are made of. What is there already is
/// left as it is. Answer: [`crate::task::Output::ContainerCopied`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopyContainer {
    pub component: ComponentName,
    pub source: ProviderId,
    /// At the source.
    pub from: String,
    /// At the target.
    pub to: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImageCopied {
    pub component: ComponentName,
    pub name: String,
    /// At the target.
    pub id: String,
    pub bytes: u64,
    pub disk_format: String,
    /// Of the bytes as they passed.
    pub digest: String,
    /// The digests of the services that were compared with ours, such as `source sha512`; `read back` where the target
    /// tells none.
    pub compared: Vec<String>,
    pub seconds: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerCopied {
    pub component: ComponentName,
    /// At the target.
    pub name: String,
    /// Containers made beside it, for segments of its large objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segment_containers: Vec<String>,
    /// All that it holds now.
    pub objects: u64,
    pub bytes: u64,
    /// Objects written by this task, segments and manifests too, and their bytes.
    pub copied: u64,
    pub bytes_copied: u64,
    /// Found there with the digest of the source's.
    pub reused: u64,
    /// Large objects: copied as manifests.
    pub manifests: u64,
    /// Objects whose bytes were digested by us as they passed: with the digest that the source told, or it was an error.
    pub digested: u64,
    /// Deleted at the source, or expired, while it was copied.
    pub gone: u64,
    /// Over name, size and digest of all objects, equal at both ends.
    pub digest: String,
    pub seconds: f64,
}

/// A volume that was moved alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeMoved {
    pub component: ComponentName,
    pub provider: ProviderId,
    /// At the target.
    pub name: String,
}

/// The disk of a volume that moves alone.
pub fn disk_of(component: &ComponentName) -> DiskId {
    part(component, DetachedVolume::DISK)
}

/// What stands for an image or a container where disks in transfer are shown.
pub fn part(component: &ComponentName, what: &str) -> DiskId {
    // The names are given here and in tests, and are valid.
    let disk = what.parse().unwrap_or_else(|_| unreachable!("`{what}` is a name"));
    DiskId { component: component.clone(), disk }
}
