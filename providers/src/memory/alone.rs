//! What a simulated cloud has beside instances: volumes that nobody uses, images, containers of objects.

mod images;
mod objects;
mod volumes;

use std::collections::BTreeMap;

use bytes::Bytes;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::ids::{ComponentName, Epoch, RelocationId};
use fluidcloud_proto::topology::DiskPlace;
use futures::StreamExt;
use md5::{Digest, Md5};

use super::cloud::DiskImage;
use super::keepsakes::KeptHeld;
use super::{MemoryProvider, lock};
use crate::bytes::{ByteStream, Source};
use crate::error::Error;
use crate::object_store::{Object, ObjectKind, Segment};

/// Bytes of a piece, so that a copy has a middle.
const PIECE_BYTES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By name; of what no relocation made.
    pub volumes: BTreeMap<String, VolumeHeld>,
    pub images: Vec<ImageHeld>,
    pub containers: BTreeMap<String, ContainerHeld>,
    /// Names given to disks that relocations made, by path.
    pub disk_names: BTreeMap<String, String>,
    /// What stays of instances that moved.
    pub kept: Vec<KeptHeld>,
}

#[derive(Clone, Debug)]
pub(super) struct VolumeHeld {
    pub place: DiskPlace,
    pub attached: bool,
    /// How often it was attached.
    pub uses: u64,
}

#[derive(Clone, Debug)]
pub(super) struct ImageHeld {
    pub made_for: Option<(RelocationId, ComponentName, Epoch)>,
    pub image: StoredImage,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, Default)]
pub(super) struct ContainerHeld {
    pub made_for: Option<(RelocationId, Epoch)>,
    pub segments_of: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub objects: BTreeMap<String, ObjectHeld>,
}

#[derive(Clone, Debug)]
pub(super) struct ObjectHeld {
    pub object: Object,
    pub bytes: Bytes,
    pub segments: Vec<Segment>,
}

/// For tests: what the owner of the cloud does.
impl MemoryProvider {
    /// # Panics
    /// When the name is no disk's path: it is written in a test.
    pub fn seed_volume(&self, name: &str, bytes: Vec<u8>) -> DiskPlace {
        let place = DiskPlace { path: format!("/own/volume-{name}"), format: self.hardware.format };
        let mut cloud = lock(&self.cloud);
        cloud.disks.insert(place.path.clone(), DiskImage { made_for: None, bytes, written: 0 });
        let held = VolumeHeld { place: place.clone(), attached: false, uses: 0 };
        cloud.shelf.volumes.insert(name.to_owned(), held);
        place
    }

    pub fn attach_volume(&self, name: &str, attached: bool) {
        if let Some(volume) = lock(&self.cloud).shelf.volumes.get_mut(name) {
            volume.attached = attached;
            volume.uses += 1;
        }
    }

    pub fn seed_image(&self, name: &str, bytes: &[u8]) {
        let mut cloud = lock(&self.cloud);
        let image = StoredImage {
            id: format!("image-{}", cloud.shelf.images.len()),
            name: name.to_owned(),
            size_bytes: bytes.len() as u64,
            disk_format: "raw".into(),
            container_format: "bare".into(),
            min_disk_gib: 1,
            min_ram_mib: 0,
            properties: BTreeMap::from([("hw_disk_bus".into(), "virtio".into())]),
            digests: BTreeMap::from([("md5".into(), md5_of(bytes))]),
            concerns: Vec::new(),
        };
        cloud.shelf.images.push(ImageHeld { made_for: None, image, bytes: Bytes::copy_from_slice(bytes) });
    }

    /// Its bytes are others than its service says.
    pub fn damage_image(&self, name: &str) {
        for held in lock(&self.cloud).shelf.images.iter_mut().filter(|held| held.image.name == name) {
            held.bytes = vec![7; held.bytes.len()].into();
        }
    }

    pub fn seed_container(&self, name: &str, metadata: &[(&str, &str)]) {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let held = ContainerHeld { metadata: metadata.collect(), ..ContainerHeld::default() };
        lock(&self.cloud).shelf.containers.insert(name.to_owned(), held);
    }

    /// Over one of the same name. Its size and digest follow from the bytes.
    pub fn seed_object(&self, container: &str, mut object: Object, bytes: &[u8], segments: &[Segment]) {
        let mut cloud = lock(&self.cloud);
        let Some(held) = cloud.shelf.containers.get_mut(container) else { return };
        object.digest = if object.kind == ObjectKind::Static { of_segments(segments) } else { md5_of(bytes) };
        object.bytes = bytes.len() as u64;
        let bytes = Bytes::copy_from_slice(bytes);
        let name = object.name.clone();
        held.objects.insert(name, ObjectHeld { object, bytes, segments: segments.to_vec() });
    }

    pub fn unseed_object(&self, container: &str, name: &str) {
        if let Some(held) = lock(&self.cloud).shelf.containers.get_mut(container) {
            held.objects.remove(name);
        }
    }

    /// The names of all containers with the names of all objects, and what each holds.
    pub fn all_objects(&self) -> BTreeMap<String, BTreeMap<String, (Object, Bytes)>> {
        let cloud = lock(&self.cloud);
        let of = |held: &ContainerHeld| {
            held.objects
                .iter()
                .map(|(name, held)| (name.clone(), (held.object.clone(), held.bytes.clone())))
                .collect()
        };
        cloud.shelf.containers.iter().map(|(name, held)| (name.clone(), of(held))).collect()
    }

    pub fn container_metadata(&self, name: &str) -> Option<BTreeMap<String, String>> {
        lock(&self.cloud).shelf.containers.get(name).map(|held| held.metadata.clone())
    }

    pub fn image_bytes(&self, name: &str) -> Option<Bytes> {
        let cloud = lock(&self.cloud);
        cloud.shelf.images.iter().find(|held| held.image.name == name).map(|held| held.bytes.clone())
    }

    pub fn disk_name(&self, place: &DiskPlace) -> Option<String> {
        lock(&self.cloud).shelf.disk_names.get(&place.path).cloned()
    }
}

pub fn md5_of(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Md5::digest(bytes))
}

/// As Swift has it: over the digests of the segments.
fn of_segments(segments: &[Segment]) -> String {
    let mut all = String::new();
    for segment in segments {
        match segment {
            Segment::Object { digest, .. } => all.push_str(digest.as_deref().unwrap_or_default()),
            Segment::Inline(data) => all.push_str(&md5_of(data.as_bytes())),
        }
    }
    md5_of(all.as_bytes())
}

fn stream(bytes: Bytes) -> ByteStream {
    futures::stream::unfold(bytes, |mut left| async move {
        if left.is_empty() {
            return None;
        }
        tokio::task::yield_now().await;
        let piece = left.split_to(left.len().min(PIECE_BYTES));
        Some((Ok(piece), left))
    })
    .boxed()
}

async fn all_of(source: &dyn Source) -> Result<Bytes, Error> {
    let mut stream = source.open().await?;
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all.into())
}
