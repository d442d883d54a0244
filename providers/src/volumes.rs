//! The part of a provider that knows volumes which no instance has.

use async_trait::async_trait;
use fluidcloud_proto::alone::DetachedVolume;
use fluidcloud_proto::ids::{DiskId, RelocationId};

use crate::error::Error;

/// Volumes as things of their own. The contract of [`crate::Provider`] holds here too; their disks are made, opened and
/// removed there.
#[async_trait]
pub trait Volumes: Send + Sync + std::fmt::Debug {
    /// As it stands, by its name or id, with the concerns about moving it: that something uses it is a critical one.
    async fn volume(&self, id: &str) -> Result<DetachedVolume, Error>;

    /// Fails with [`Error::NameTaken`] where names are used once and somebody else's volume has this one.
    async fn is_name_free(&self, relocation: RelocationId, name: &str) -> Result<(), Error>;

    /// After commit: gives a disk that was made for the relocation the name by which people know it. It may not be found as
    /// this relocation's any more then. Twice is the same as once.
    async fn name_disk(&self, relocation: RelocationId, disk: &DiskId, name: &str) -> Result<(), Error>;
}
