//! Disks by way of images, where nothing of ours can run beside a cloud's volumes: a source's disk is read in pieces of an image
//! that its cloud makes of it, a target's is made of an image whose bytes came in order. The contract of
//! [`crate::Provider`] holds here too.

use std::fmt::Debug;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::ids::{DiskId, Epoch, RelocationId};
use fluidcloud_proto::topology::DiskPlace;

use crate::bytes::Source;
use crate::error::Error;
use crate::provider::Moment;

/// A disk that lies still, read in any order. Nothing is held of it.
#[async_trait]
pub trait Window: Send + Sync + Debug {
    /// For messages.
    fn name(&self) -> String;

    /// Bytes. Never changes.
    fn size(&self) -> u64;

    /// All bytes of the range, which lies within the disk. Goes on where it was when the connection breaks.
    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error>;
}

/// How disks of a source are read.
#[async_trait]
pub trait Outlet: Send + Sync + Debug {
    /// The directory on the worker's own host below which places of disks lie.
    fn dir(&self) -> &Path;

    /// The disk of that moment. An image made for the same moment is used again; those of others are removed.
    async fn window(
        &self,
        relocation: RelocationId,
        disk: &DiskPlace,
        moment: Moment,
    ) -> Result<Arc<dyn Window>, Error>;
}

/// How disks of a target are written: `upload`, `land`, `seal`, with the bytes compared after each of the first two. `create_disk`
/// has promised the place, `delete_disk` removes whatever there is by then.
#[async_trait]
pub trait Inlet: Send + Sync + Debug {
    /// The digest with which the disk was sealed; `None`: its bytes have still to come.
    async fn sealed(&self, relocation: RelocationId, disk: &DiskId) -> Result<Option<String>, Error>;

    /// Makes an image of the source's bytes, in one attempt. Whatever an earlier attempt has left of this disk is removed first,
    /// as its bytes cannot be known. Fails with [`Error::Fenced`] when a later epoch is at work.
    async fn upload(&self, order: &Arrival, source: &dyn Source) -> Result<StoredImage, Error>;

    /// Makes the disk of that image, lets the cloud read it back, and answers what it says of all its bytes: those of the
    /// image, and zeros to the end.
    async fn land(&self, order: &Arrival, image: &str) -> Result<StoredImage, Error>;

    /// The disk holds what it should; only from now on instances can be made of it. Images on the way go.
    async fn seal(&self, order: &Arrival, digest: &str) -> Result<(), Error>;

    /// What was uploaded or made is not what it should be: it goes.
    async fn discard(&self, order: &Arrival) -> Result<(), Error>;
}

/// One disk's bytes on their way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub relocation: RelocationId,
    pub disk: DiskId,
    pub epoch: Epoch,
    pub size_bytes: u64,
}
