//! What a migrator is asked to do and what it answers. A task done twice is the same as once; its key carries the
//! epoch that fences earlier holders.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alone::{ContainerCopied, CopyContainer, CopyImage, ImageCopied};
use crate::ids::{DiskId, Epoch, ProviderId, RelocationId};
use crate::plan::{MigratorKind, StepId};
use crate::progress::TransferReport;
use crate::request::{RewriteRule, Transport};
use crate::topology::{DiskFormat, DiskPlace, Nic};

/// One attempt at one step.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TaskKey {
    pub relocation: RelocationId,
    pub step: StepId,
    pub epoch: Epoch,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} (epoch {})", self.step, self.relocation, self.epoch)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    pub key: TaskKey,
    pub kind: MigratorKind,
    /// The provider at whose site the work is done.
    pub site: ProviderId,
    /// The worker must be heard at least this often, or the task is issued again.
    pub lease_secs: u64,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Work {
    PrepareDisk(PrepareDisk),
    SyncDisk(SyncDisk),
    AdaptGuest(AdaptGuest),
    FoldVolume(FoldVolume),
    RehearseGuest(RehearseGuest),
    RewriteConfig(RewriteConfig),
    CopyImage(CopyImage),
    CopyContainer(CopyContainer),
}

/// Make an empty disk at the site, and see that bytes can flow to it from the source's site: what fails there must fail
/// while the source still runs. Answer: [`Output::Prepared`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrepareDisk {
    pub disk: DiskId,
    /// From where bytes will come; its site is made ready too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<ProviderId>,
    pub size_bytes: u64,
    /// What storage the content may take: the room that must be there.
    pub expected_bytes: u64,
    /// A staging disk is read by a later step and never attached to the instance; it is raw and goes in `tidy`.
    pub staging: bool,
    /// Of the source's disk, where its provider has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_type: Option<String>,
}

/// Move the bytes of a stopped disk. Answer: [`Output::Synced`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SyncDisk {
    pub disk: DiskId,
    pub size_bytes: u64,
    pub source: ProviderId,
    pub from: DiskPlace,
    pub to: DiskPlace,
    pub transport: Transport,
}

/// Try at the source, while the guest runs and on throw-away overlays, whatever the later steps would refuse inside
/// it: what cannot be adapted, folded or rewritten must be known before the source stops. Changes nothing.
/// Answer: [`Output::Rehearsed`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RehearseGuest {
    /// Root first, then in guest order. `staging` says which will only be staged at the target.
    pub disks: Vec<GuestDisk>,
    pub adapt: Option<Adaptation>,
    /// In the order in which they will be folded.
    pub folds: Vec<Folding>,
    pub rules: Vec<RewriteRule>,
}

/// What the guest has to be made fit for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Adaptation {
    pub nics: Vec<Nic>,
    pub hardware: Hardware,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folding {
    pub volume: DiskId,
    pub into: String,
}

/// Let the guest on `disks` boot on the site's hardware. Answer: [`Output::Adapted`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdaptGuest {
    /// Root first, then in guest order; includes staged volumes, so that the names in fstab can be resolved.
    pub disks: Vec<GuestDisk>,
    pub nics: Vec<Nic>,
    pub hardware: Hardware,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GuestDisk {
    pub disk: DiskId,
    pub place: DiskPlace,
    /// The name it had in the guest at the source, such as `/dev/sda`.
    pub guest_device: String,
    pub staging: bool,
}

/// The hardware a provider gives to its guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// `pc` or `q35`.
    pub machine: String,
    /// `ide`, `sata`, `scsi` or `virtio`.
    pub disk_bus: String,
    /// `e1000`, `e1000e` or `virtio`.
    pub nic: String,
    pub format: DiskFormat,
}

/// Copy the content of a staged volume into the root's file system, owners, modes, hard links, xattrs and ACLs
/// intact, and drop its mount from fstab. Answer: [`Output::Folded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FoldVolume {
    pub volume: GuestDisk,
    pub root: GuestDisk,
    pub into: String,
}

/// Apply the rules in order to files of the guest. Answer: [`Output::Rewritten`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RewriteConfig {
    pub disks: Vec<GuestDisk>,
    pub rules: Vec<RewriteRule>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "done", rename_all = "snake_case")]
pub enum Output {
    Prepared {
        place: DiskPlace,
    },
    Synced {
        transfer: TransferReport,
    },
    /// What was changed in the guest, one line each.
    Adapted {
        changes: Vec<String>,
    },
    Folded(Folded),
    Rewritten {
        files: Vec<FileDiff>,
    },
    Rehearsed(Rehearsed),
    ImageCopied(ImageCopied),
    ContainerCopied(ContainerCopied),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Folded {
    pub into: String,
    pub entries: u64,
    pub bytes: u64,
    /// Digest over every path with its content, owner, mode, links, xattrs and ACLs; equal on volume and copy.
    pub digest: String,
}

/// What the later steps will do inside the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rehearsed {
    /// What will be changed to let it boot, one line each.
    pub changes: Vec<String>,
    /// Bytes that each fold will add to the instance's own file system, in the order of the folds.
    pub folded_bytes: Vec<u64>,
    pub files: Vec<FileDiff>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileDiff {
    pub file: String,
    pub matches: u64,
    /// Unified diff.
    pub diff: String,
}
