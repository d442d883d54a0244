//! Volumes for target disks: made once, found again by their tag, removed with what they are attached to of ours.

use std::time::Duration;

use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::DiskPlace;
use serde_json::json;

use super::OpenstackProvider;
use super::place::Spot;
use super::tag::{self, Role};
use super::volumes::{GIB, MADE_MAX, Volume};
use super::wait::until;
use crate::error::Error;
use crate::provider::DiskOrder;

const DETACHED_MAX: Duration = Duration::from_secs(180);

impl OpenstackProvider {
    pub(super) async fn make_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        if self.config.helper.is_none() {
            return self.promise_disk(order).await;
        }
        let volume = match self.disk_volumes(order.relocation, &order.disk).await?.into_iter().next() {
            Some(volume) => volume,
            None => self.new_disk(order).await?,
        };
        if volume.metadata.get(tag::BYTES) != Some(&order.size_bytes.to_string()) {
            let name = format!("volume {} for disk {}", volume.id, order.disk);
            return Err(Error::NameTaken { provider: self.id.to_string(), name });
        }
        match volume.status.as_str() {
            "in-use" | "available" => (),
            // Nothing leads out of it, and nothing is on it: the next attempt makes another.
            "error" => {
                self.api.delete_volume(&volume.id).await?;
                let remedy = "it was removed and is made again; see the log of cinder-volume";
                return Err(self.api.broken(format!("volume {}", volume.id), "error", remedy));
            }
            _ => {
                self.api.volume_is_free(&volume.id, MADE_MAX).await?;
            }
        }
        Ok(Spot::Volume(volume.id).place(self.config.site_dir()))
    }

    async fn new_disk(&self, order: &DiskOrder) -> Result<Volume, Error> {
        let gib = order.size_bytes.div_ceil(GIB).max(1);
        let free = self.free().await?.disk_bytes;
        self.fits("volumes", order.expected_bytes.max(gib.saturating_mul(GIB)), free)?;
        let more = [(tag::DISK, order.disk.to_string()), (tag::BYTES, order.size_bytes.to_string())];
        let mut volume = json!({
            "size": gib,
            "name": format!("fluidcloud-{}-{}", tag::label(order.relocation), order.disk),
            "metadata": tag::metadata(order.relocation, Role::Disk, &more),
        });
        if let Some(kind) = self.type_for(order) {
            volume["volume_type"] = json!(kind);
        }
        if let Some(zone) = &self.config.availability_zone {
            volume["availability_zone"] = json!(zone);
        }
        let what = format!("make a volume of {gib} GiB for disk {}", order.disk);
        let made = self.api.make_volume(&what, volume).await?;
        // Another caller may have made one at the same time: the older one is it, for everybody.
        let all = self.disk_volumes(order.relocation, &order.disk).await?;
        let first = all.into_iter().next().ok_or_else(|| self.api.lost(format!("volume {made}")))?;
        if first.id != made {
            self.api.volume_is_free(&made, MADE_MAX).await.map(drop).or_else(|error| match error {
                // To be removed whatever became of it.
                Error::Driver { .. } => Ok(()),
                other => Err(other),
            })?;
            self.api.delete_volume(&made).await?;
        }
        Ok(first)
    }

    pub(super) fn type_for(&self, order: &DiskOrder) -> Option<&String> {
        let mapped = order.volume_type.as_ref().and_then(|kind| self.config.volume_types.get(kind));
        mapped.or(self.config.volume_type.as_ref())
    }

    pub(super) async fn disk_volumes(
        &self,
        relocation: RelocationId,
        disk: &DiskId,
    ) -> Result<Vec<Volume>, Error> {
        let mut volumes = self.api.volumes_of(relocation).await?;
        volumes
            .retain(|volume| tag::is_disk(&volume.metadata, relocation, disk) && volume.status != "deleting");
        Ok(volumes)
    }

    pub(super) async fn remove_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        self.drop_promise(relocation, disk).await?;
        let mut volumes = self.api.volumes_of(relocation).await?;
        volumes.retain(|volume| tag::is_disk(&volume.metadata, relocation, disk));
        for volume in volumes {
            self.release(relocation, &volume).await?;
            self.api.delete_volume(&volume.id).await?;
        }
        self.drop_images_of_disk(relocation, disk).await?;
        self.drop_idle_helper(relocation).await
    }

    /// Takes a volume off the helper. One that an instance uses is not touched.
    pub(super) async fn release(&self, relocation: RelocationId, volume: &Volume) -> Result<(), Error> {
        for attached in &volume.attachments {
            let Some(server) = self.api.server(&attached.server_id).await? else { continue };
            if !tag::has(&server.metadata, relocation, Role::Helper) {
                return Err(Error::Unsupported {
                    provider: self.id.to_string(),
                    what: format!("take volume {} off server `{}`, which uses it", volume.id, server.name),
                    remedy: "detach it there first".to_owned(),
                });
            }
            self.unlink(relocation, &volume.id).await;
            match self.api.detach(&server.id, &volume.id).await {
                // Under way already.
                Ok(()) | Err(Error::Refused { status: 400 | 409, full: false, .. }) => (),
                Err(error) => return Err(error),
            }
        }
        if !volume.attachments.is_empty() || volume.status != "available" {
            match self.api.volume_is_free(&volume.id, DETACHED_MAX).await {
                Ok(_) => (),
                // One in error can still be deleted, once nothing holds it.
                Err(Error::Driver { .. }) => self.pry_off(relocation, &volume.id).await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nova does not detach a volume in error; it lets it go with the server. Only the helper is ours to remove.
    async fn pry_off(&self, relocation: RelocationId, id: &str) -> Result<(), Error> {
        let is_held = |volume: &Volume| !volume.attachments.is_empty();
        if self.api.volume(id).await?.as_ref().is_none_or(|volume| !is_held(volume)) {
            return Ok(());
        }
        self.drop_helper(relocation).await?;
        until(
            || format!("volume {id} to be let go"),
            DETACHED_MAX,
            || async { Ok(self.api.volume(id).await?.is_none_or(|volume| !is_held(&volume)).then_some(())) },
        )
        .await
    }
}
