//! How a relocation ended: what `relocate --wait --output json` prints last.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alone::{ContainerCopied, ImageCopied, VolumeMoved};
use crate::failure::Failure;
use crate::furniture::Furniture;
use crate::ids::{ComponentName, InstanceName, ProviderId, RelocationId};
use crate::kept::{Kept, KeyReport};
use crate::progress::TransferReport;
use crate::status::Phase;
use crate::task::{FileDiff, Folded};
use crate::topology::Concern;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub id: RelocationId,
    pub state: Phase,
    /// From the moment the source was asked to stop until the service answered again, at the target or, after an
    /// undo, at the source. Absent when it was never stopped.
    pub downtime_seconds: Option<f64>,
    pub steps: Vec<StepReport>,
    pub transfers: Vec<TransferReport>,
    /// The first moved instance at the target; absent when nothing runs there.
    pub target: Option<TargetReport>,
    /// Every moved instance.
    pub instances: Vec<TargetReport>,
    /// Volumes that were moved alone, and are at the target under these names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeMoved>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub images: Vec<ImageCopied>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerCopied>,
    /// What the instances stand in at the target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub furnished: Vec<Furniture>,
    /// Snapshots and images that were asked for, and stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Key pairs that were created. The private half of each can be downloaded once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyReport>,
    pub folded: Vec<Folded>,
    pub rewritten: Vec<FileDiff>,
    /// What was changed inside guests, one line each.
    pub adapted: Vec<String>,
    pub checks: Vec<CheckReport>,
    /// Where each moved instance was and is reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<AddressReport>,
    pub concerns: Vec<Concern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    pub name: String,
    pub seconds: f64,
    pub attempts: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    pub component: ComponentName,
    pub provider: ProviderId,
    pub instance: InstanceName,
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    pub component: ComponentName,
    pub url: String,
    /// The value compared, at the source before and at the target after.
    pub before: Option<String>,
    pub after: Option<String>,
    pub passed: bool,
}

/// One address of one network card, before and after the move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AddressReport {
    pub component: ComponentName,
    /// Its name at the target.
    pub instance: InstanceName,
    /// Its name at the source.
    pub name: InstanceName,
    /// At the target; empty when its provider does not say.
    pub network: String,
    pub mac: String,
    /// Absent when it had none of its kind, or nobody knew.
    pub old: Option<IpAddr>,
    pub new: Option<IpAddr>,
    pub kind: AddressKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// Of the network that the card is in.
    Fixed,
    /// Outside, leading to a fixed one.
    Floating,
}

impl AddressKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Floating => "floating",
        }
    }
}
