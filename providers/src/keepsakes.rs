//! The part of a provider that lets something stay of a move beside the instance: a snapshot of the source, an image of the
//! target.

use async_trait::async_trait;
use fluidcloud_proto::ids::{ComponentName, InstanceName, RelocationId};
use fluidcloud_proto::kept::Kept;
use fluidcloud_proto::request::{ImageFormat, Visibility};
use fluidcloud_proto::topology::DiskPlace;

use crate::error::Error;

/// Snapshots and images that outlive the relocation. The contract of [`crate::Provider`] holds here too: each call may be made
/// again, all that is made is tagged, and undo removes that only. `settle` leaves what is kept, and removes what was only set
/// aside for it.
#[async_trait]
pub trait Keepsakes: Send + Sync + std::fmt::Debug {
    /// Fails where an image of this format or for these eyes would be refused. Leaves nothing behind.
    async fn may_keep(&self, order: &KeepOrder) -> Result<(), Error>;

    /// Of all disks of an instance that is off. The instance and its disks stay as they are.
    async fn take_snapshot(&self, order: &SnapshotOrder) -> Result<Vec<Kept>, Error>;

    /// Removes what was taken for this component; nothing there is no error.
    async fn drop_snapshot(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error>;

    /// Holds the disk as it is now, before an instance starts on it.
    async fn set_aside(&self, order: &KeepOrder) -> Result<(), Error>;

    /// Removes what was set aside for this component; nothing there is no error.
    async fn drop_aside(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error>;

    /// Makes the image of what was set aside, which goes then. Answers when it can be used.
    async fn keep_image(&self, order: &KeepOrder) -> Result<Kept, Error>;

    /// Removes the image that was made for this component; nothing there is no error.
    async fn drop_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error>;

    /// What of it is there now.
    async fn kept(&self, relocation: RelocationId) -> Result<Vec<Kept>, Error>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotOrder {
    pub relocation: RelocationId,
    pub component: ComponentName,
    pub instance: InstanceName,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepOrder {
    pub relocation: RelocationId,
    pub component: ComponentName,
    /// A disk that was made for this relocation and that nothing uses; not looked at by `may_keep`.
    pub root: DiskPlace,
    pub name: String,
    pub format: ImageFormat,
    pub visibility: Visibility,
}
