//! The part of a provider that keeps objects in containers.

use std::collections::BTreeMap;

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredContainer;
use fluidcloud_proto::ids::{Epoch, RelocationId};

use crate::bytes::{ByteStream, Source};
use crate::error::Error;

/// Objects by the provider's API. The contract of [`crate::Provider`] holds here too. Nothing at a source is ever changed.
#[async_trait]
pub trait ObjectStore: Send + Sync + std::fmt::Debug {
    /// As it stands, with the concerns about copying it.
    async fn container(&self, name: &str) -> Result<StoredContainer, Error>;

    /// A page of what it holds, in the order of the names' bytes, after the given name; empty at the end.
    async fn list(&self, container: &str, page: &Page) -> Result<Vec<Listed>, Error>;

    /// `None`: it is not there, or not any more.
    async fn object(&self, container: &str, name: &str) -> Result<Option<Object>, Error>;

    /// The bytes of an object as they were when it had this digest; of a manifest its own, not those of what it leads to.
    async fn read_object(&self, container: &str, object: &Object) -> Result<ByteStream, Error>;

    /// Writes it, whole or not at all, over one of the same name. What arrives must have the object's digest.
    async fn write_object(&self, container: &str, object: &Object, source: &dyn Source) -> Result<(), Error>;

    /// What a static manifest leads to, in order.
    async fn segments(&self, container: &str, name: &str) -> Result<Vec<Segment>, Error>;

    /// Writes a static manifest; the segments must be there. Answers the digest that it has then.
    async fn write_manifest(
        &self,
        container: &str,
        object: &Object,
        segments: &[Segment],
    ) -> Result<String, Error>;

    /// One that is not there is no error.
    async fn delete_object(&self, container: &str, name: &str) -> Result<(), Error>;

    /// Fails with [`Error::NameTaken`] when there is one that this relocation has not made.
    async fn is_name_free(&self, relocation: RelocationId, container: &str) -> Result<(), Error>;

    /// Makes it, tagged, with its metadata; one that this relocation made already stays. An attempt that a later epoch has
    /// overtaken fails with [`Error::Fenced`].
    async fn make_container(&self, order: &ContainerOrder) -> Result<(), Error>;

    /// Removes a container that this relocation made, the containers made for its segments, and all that is in them.
    /// Somebody else's is not touched; one that is not there is no error.
    async fn remove_container(&self, relocation: RelocationId, name: &str) -> Result<(), Error>;
}

/// Where in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    pub prefix: Option<String>,
    pub after: Option<String>,
}

/// An object as a listing tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub bytes: u64,
    /// As [`Object::digest`], where the listing knows it; of a manifest it may be that of the manifest itself.
    pub digest: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    pub name: String,
    pub bytes: u64,
    /// MD5 in hexadecimal of the bytes of a plain object or dynamic manifest; of a static one over those of its segments.
    pub digest: String,
    pub kind: ObjectKind,
    /// What belongs to it: type of its content, metadata, when it expires. Names in lower case.
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Plain,
    /// It stands for all objects of a container with a prefix.
    Dynamic {
        container: String,
        prefix: String,
    },
    /// It lists its segments.
    Static,
}

/// A part of what a static manifest stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    Object {
        container: String,
        name: String,
        digest: Option<String>,
        bytes: Option<u64>,
        /// Only so much of it, as in an HTTP range.
        range: Option<String>,
    },
    /// Bytes in the manifest itself, in base64.
    Inline(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerOrder {
    pub relocation: RelocationId,
    pub epoch: Epoch,
    pub name: String,
    pub metadata: BTreeMap<String, String>,
    /// It takes segments of the objects in this one, and goes with it.
    pub segments_of: Option<String>,
}
