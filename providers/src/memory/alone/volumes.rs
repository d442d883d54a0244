//! Volumes that nobody uses, in a simulated cloud: their names are used once.

use async_trait::async_trait;
use fluidcloud_proto::alone::DetachedVolume;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::{Concern, Disk, DiskFormat, DiskRole, Severity};

use crate::error::Error;
use crate::memory::{MemoryProvider, Op};
use crate::volumes::Volumes;

#[async_trait]
impl Volumes for MemoryProvider {
    async fn volume(&self, id: &str) -> Result<DetachedVolume, Error> {
        self.call(Op::LookAtVolume, id, |cloud| {
            let held = cloud.shelf.volumes.get(id).ok_or_else(|| Error::NotThere {
                provider: self.id.to_string(),
                what: format!("volume `{id}`"),
                code: Code::UnknownDisk,
            })?;
            let attached = held.attached.then(|| Concern {
                severity: Severity::Critical,
                subject: id.to_owned(),
                message: "the volume is attached".to_owned(),
                remedy: "detach it first".to_owned(),
            });
            let image = cloud.disks.get(&held.place.path);
            let bytes = image.map(|image| image.bytes.as_slice()).unwrap_or_default();
            Ok(DetachedVolume {
                id: id.to_owned(),
                name: id.to_owned(),
                disk: Disk {
                    name: DetachedVolume::DISK.parse().expect("a name"),
                    role: DiskRole::Volume,
                    bus: String::new(),
                    guest_device: String::new(),
                    size_bytes: bytes.len() as u64,
                    allocated_bytes: bytes.iter().filter(|byte| **byte != 0).count() as u64,
                    place: held.place.clone(),
                    volume_type: None,
                },
                stamp: Some(format!("{} {}", held.uses, image.map_or(0, |image| image.written))),
                concerns: attached.into_iter().collect(),
            })
        })
    }

    async fn is_name_free(&self, _relocation: RelocationId, name: &str) -> Result<(), Error> {
        self.call(Op::Reserve, name, |cloud| match cloud.shelf.volumes.contains_key(name) {
            true => Err(self.taken(name)),
            false => Ok(()),
        })
    }

    async fn name_disk(&self, relocation: RelocationId, disk: &DiskId, name: &str) -> Result<(), Error> {
        self.call(Op::NameDisk, disk, |cloud| {
            for format in [DiskFormat::Raw, DiskFormat::Qcow2] {
                let path = self.path(relocation, disk, format);
                if cloud.disks.contains_key(&path) {
                    cloud.shelf.disk_names.insert(path, name.to_owned());
                }
            }
            Ok(())
        })
    }
}
