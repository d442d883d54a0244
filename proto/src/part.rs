//! What a relocation is about, at a glance: each component as it was found, small enough to be in every status. The
//! topology has the rest.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ComponentName, DiskName};
use crate::topology::DiskRole;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    pub component: ComponentName,
    pub kind: PartKind,
    /// At the source; of what stays, its URL.
    pub name: String,
    /// At the target, where that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<String>,
    /// Components that must answer before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ComponentName>,
    /// Of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcpus: Option<u32>,
    /// Of an instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Of an instance, root first; of a volume, itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<PartDisk>,
    /// Of an instance's network cards at the source, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartKind {
    Instance,
    Volume,
    Image,
    Container,
    /// Where it is; what moves is linked to it.
    Stays,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PartDisk {
    pub disk: DiskName,
    pub size_bytes: u64,
    pub role: DiskRole,
    /// The directory of the root file system that it becomes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold_into: Option<String>,
}
