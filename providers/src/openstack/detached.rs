//! Volumes that no server has, as things of their own.

use async_trait::async_trait;
use fluidcloud_proto::alone::DetachedVolume;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::{Disk, DiskRole};
use serde_json::json;

use super::api::{Call, Service};
use super::place::Spot;
use super::volumes::{GIB, Volume};
use super::{OpenstackProvider, concerns};
use crate::error::Error;
use crate::volumes::Volumes;

#[async_trait]
impl Volumes for OpenstackProvider {
    async fn volume(&self, id: &str) -> Result<DetachedVolume, Error> {
        let all = self.api.volumes().await?;
        let by_name = || all.iter().filter(|volume| volume.name.as_deref() == Some(id));
        let found = match all.iter().find(|volume| volume.id == id) {
            Some(volume) => volume,
            None if by_name().count() > 1 => {
                return Err(Error::Unsupported {
                    provider: self.id.to_string(),
                    what: format!("tell which of {} volumes named `{id}` is meant", by_name().count()),
                    remedy: "give the id of one".to_owned(),
                });
            }
            None => by_name().next().ok_or_else(|| Error::NotThere {
                provider: self.id.to_string(),
                what: format!("volume `{id}`"),
                code: Code::UnknownDisk,
            })?,
        };
        self.detached(found)
    }

    /// Cinder lets any number of volumes have the same name.
    async fn is_name_free(&self, _relocation: RelocationId, _name: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn name_disk(&self, relocation: RelocationId, disk: &DiskId, name: &str) -> Result<(), Error> {
        let volume = self.disk_volumes(relocation, disk).await?.into_iter().next();
        let volume = volume.ok_or_else(|| self.api.lost(format!("the volume of disk {disk}")))?;
        let what = format!("name volume {} `{name}`", volume.id);
        let call = Call::put(Service::Volume, format!("/volumes/{}", volume.id), what);
        self.api.call(call.json(json!({"volume": {"name": name}}))).await.map(drop)
    }
}

impl OpenstackProvider {
    fn detached(&self, volume: &Volume) -> Result<DetachedVolume, Error> {
        let name = volume.name.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| volume.id.clone());
        let size_bytes = volume.size.saturating_mul(GIB);
        let disk = Disk {
            name: DetachedVolume::DISK.parse().map_err(|_| self.api.lost("the name of a disk".into()))?,
            role: DiskRole::Volume,
            bus: String::new(),
            guest_device: String::new(),
            size_bytes,
            // What its storage holds of it is told to nobody.
            allocated_bytes: size_bytes,
            place: Spot::Volume(volume.id.clone()).place(self.config.site_dir()),
            volume_type: volume.volume_type.clone(),
        };
        Ok(DetachedVolume {
            id: volume.id.clone(),
            concerns: concerns::of_detached(&name, volume),
            name,
            disk,
            stamp: Some(stamp(volume)),
        })
    }
}

/// Whoever attaches or detaches it changes when it was last changed; snapshots and metadata do not.
fn stamp(volume: &Volume) -> String {
    let users: Vec<&str> = volume.attachments.iter().map(|attached| attached.server_id.as_str()).collect();
    format!("{} {}", volume.updated_at, users.join(" "))
}
