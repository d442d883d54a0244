//! The part of a provider that keeps images which instances are made of.

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::ids::{ComponentName, Epoch, RelocationId};
use fluidcloud_proto::request::Visibility;

use crate::bytes::{ByteStream, Source};
use crate::error::Error;

/// Images by the provider's API. The contract of [`crate::Provider`] holds here too.
#[async_trait]
pub trait ImageStore: Send + Sync + std::fmt::Debug {
    /// As it stands, by its name or id, with the concerns about copying it.
    async fn image(&self, id: &str) -> Result<StoredImage, Error>;

    /// All of its bytes, by the provider's own id. Goes on where it was when the connection breaks.
    async fn read_image(&self, id: &str) -> Result<ByteStream, Error>;

    /// Makes the image, tagged, and answers when it can be used. One that is whole already is answered without opening the
    /// source; whatever is left of an earlier attempt is removed, as its bytes cannot be known. An attempt that a later epoch
    /// has overtaken fails with [`Error::Fenced`].
    async fn put_image(&self, order: &ImageOrder, source: &dyn Source) -> Result<StoredImage, Error>;

    /// Removes what was made for this component; nothing there is no error.
    async fn delete_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOrder {
    pub relocation: RelocationId,
    pub component: ComponentName,
    pub epoch: Epoch,
    pub name: String,
    pub visibility: Visibility,
    /// The source's: formats, size, properties.
    pub like: StoredImage,
}
