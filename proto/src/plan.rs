//! The plan of a relocation as a DAG of steps: what will be done, after what, by whom. The conduit makes it;
//! users read it before they say yes.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ComponentName, DiskId, ProviderId};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub source: ProviderId,
    pub target: ProviderId,
    /// In an order that respects `after`.
    pub steps: Vec<PlannedStep>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedStep {
    pub id: StepId,
    pub after: Vec<StepId>,
    pub runs: Runner,
}

/// What is done. The id of a step is its kind and its subject, so a plan made twice has the same ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepId {
    /// Target has the name free and the room. Undo: release.
    Reserve,
    /// What the instances stand in is made at the target, where it is not there: networks, security groups, keys. Undo:
    /// what was made is removed.
    Furnish,
    /// What later steps change inside the guest, tried on the running source, read-only.
    Rehearse(ComponentName),
    /// Which addresses it will have at the target is settled, as others must be told. Undo: give them back.
    Address(ComponentName),
    /// Remembers what the service answers, to compare at the target.
    Observe(ComponentName),
    /// An empty target disk. Undo: discard it.
    Prepare(DiskId),
    /// Source stops. Undo: it starts again.
    Freeze(ComponentName),
    /// The bytes move and are verified by digest.
    Sync(DiskId),
    /// A snapshot of the stopped source is taken, that stays there. Undo: remove it.
    Snapshot(ComponentName),
    /// An image or a container arrives, from one cloud's API to the other's. Undo: remove it.
    Copy(ComponentName),
    /// What came into a container until the service stopped arrives too.
    Recopy(ComponentName),
    /// The guest learns the target's hardware.
    Adapt(ComponentName),
    /// A volume's content moves into the instance's own file system.
    Fold(DiskId),
    /// Configuration rules are applied.
    Rewrite(ComponentName),
    /// The instance is defined at the target, stopped. Undo: delete it.
    Create(ComponentName),
    /// The root disk as it will start is set aside at the target, for an image. Undo: remove it.
    SetAside(ComponentName),
    /// An image is made of what was set aside, while the instance starts. Undo: remove it.
    KeepImage(ComponentName),
    /// The instance starts at the target and answers. Undo: stop it.
    Verify(ComponentName),
    /// The point of no return: the source is marked as kept.
    Commit,
    /// What only the move needed is removed: staging disks, journals.
    Tidy,
}

impl StepId {
    /// What it makes stays beside the instance, and is worth less than the move.
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Snapshot(_) | Self::KeepImage(_))
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StepId::Reserve => f.write_str("reserve"),
            StepId::Furnish => f.write_str("furnish"),
            StepId::Rehearse(component) => write!(f, "rehearse {component}"),
            StepId::Address(component) => write!(f, "address {component}"),
            StepId::Observe(component) => write!(f, "observe {component}"),
            StepId::Prepare(disk) => write!(f, "prepare {disk}"),
            StepId::Freeze(component) => write!(f, "freeze {component}"),
            StepId::Sync(disk) => write!(f, "sync {disk}"),
            StepId::Snapshot(component) => write!(f, "snapshot {component}"),
            StepId::Copy(component) => write!(f, "copy {component}"),
            StepId::Recopy(component) => write!(f, "recopy {component}"),
            StepId::Adapt(component) => write!(f, "adapt {component}"),
            StepId::Fold(disk) => write!(f, "fold {disk}"),
            StepId::Rewrite(component) => write!(f, "rewrite {component}"),
            StepId::Create(component) => write!(f, "create {component}"),
            StepId::SetAside(component) => write!(f, "set aside {component}"),
            StepId::KeepImage(component) => write!(f, "keep image {component}"),
            StepId::Verify(component) => write!(f, "verify {component}"),
            StepId::Commit => f.write_str("commit"),
            StepId::Tidy => f.write_str("tidy"),
        }
    }
}

/// Who carries a step out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Runner {
    /// The conduit, through a provider's driver.
    Conduit,
    /// A worker, by a task on the queue of its kind and site.
    Migrator { kind: MigratorKind, site: ProviderId },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MigratorKind {
    Image,
    Volume,
    Rewrite,
    /// Images and objects, from one cloud's API to the other's.
    Object,
}

impl MigratorKind {
    pub const ALL: [Self; 4] = [Self::Image, Self::Volume, Self::Rewrite, Self::Object];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Volume => "volume",
            Self::Rewrite => "rewrite",
            Self::Object => "object",
        }
    }
}

impl fmt::Display for MigratorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for MigratorKind {
    type Err = String;
    fn from_str(given: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == given)
            .ok_or_else(|| format!("unknown migrator kind `{given}`: use image, volume, rewrite or object"))
    }
}
