//! Disks of a target that come as images, where no helper may be made: a record promises the disk, an image brings the bytes, the
//! volume is made of it and read back by the cloud. A volume without the mark of that is no disk, and never used.

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::DiskPlace;
use serde_json::{Value, json};

use super::OpenstackProvider;
use super::api::{Call, Service};
use super::images::{described, is_copied};
use super::place::Spot;
use super::servers::Id;
use super::tag::{self, BYTES, DIGEST, DISK, EPOCH, Role, VOLUME_TYPE};
use super::volumes::{GIB, Image, MADE_MAX, Volume, copied_max};
use crate::bytes::Source;
use crate::disk_images::{Arrival, Inlet};
use crate::error::Error;
use crate::provider::DiskOrder;

/// Of a volume: the attempt that had it read back. What was read is compared before it is sealed.
const READ_BACK: &str = "fluidcloud_read_back";
/// What a volume made of an image has of it, and later images of that volume must not.
const INHERITED: [&str; 4] = [tag::RELOCATION, tag::ROLE, DISK, EPOCH];

#[async_trait]
impl Inlet for OpenstackProvider {
    async fn sealed(&self, relocation: RelocationId, disk: &DiskId) -> Result<Option<String>, Error> {
        let volumes = self.disk_volumes(relocation, disk).await?;
        Ok(volumes.into_iter().find_map(|mut volume| volume.metadata.remove(DIGEST)))
    }

    async fn upload(&self, order: &Arrival, source: &dyn Source) -> Result<StoredImage, Error> {
        self.is_newest(order).await?;
        self.discard(order).await?;
        let id = self.stage_record(order).await?;
        if let Err(fenced) = self.is_newest(order).await {
            self.api.delete_image(&id).await?;
            return Err(fenced);
        }
        let call = Call::put(Service::Image, format!("/images/{id}/file"), format!("upload image {id}"))
            .header("content-type", "application/octet-stream")
            .once();
        self.api.fill(&call, order.size_bytes, source.open().await?).await?;
        self.api.image_is_whole(&id).await?;
        let record = self.image_record(&id).await?;
        Ok(described(&record.ok_or_else(|| self.api.lost(format!("image {id}")))?))
    }

    async fn land(&self, order: &Arrival, image: &str) -> Result<StoredImage, Error> {
        let gib = order.size_bytes.div_ceil(GIB).max(1);
        let volume = self.landed_volume(order, image, gib).await?;
        let fenced = self.is_newest(order).await;
        self.api.volume_is_free(&volume, copied_max(gib)).await?;
        // Whoever came later has seen it, or is seen now.
        let fenced = match fenced {
            Ok(()) => self.is_newest(order).await,
            fenced => fenced,
        };
        if let Err(fenced) = fenced {
            self.api.delete_volume(&volume).await?;
            return Err(fenced);
        }
        let back = self.api.start_image_of(&volume, &name_of(order, "back")).await?;
        let whole = self.api.image_is_whole_within(&back, copied_max(gib)).await?;
        let record = self.image_record(&whole.id).await?;
        let told = described(&record.ok_or_else(|| self.api.lost(format!("image {back}")))?);
        self.api.delete_image(&back).await?;
        self.api.volume_is_free(&volume, MADE_MAX).await?;
        self.api.tag_volume(&volume, &[(READ_BACK, order.epoch.to_string())]).await?;
        Ok(told)
    }

    async fn seal(&self, order: &Arrival, digest: &str) -> Result<(), Error> {
        let volumes = self.disk_volumes(order.relocation, &order.disk).await?;
        // One that was read back: its twin, of a request whose answer was lost, was not.
        let read_back = |volume: &Volume| volume.metadata.get(READ_BACK) == Some(&order.epoch.to_string());
        let is_it = |volume: &&Volume| volume.metadata.contains_key(DIGEST) || read_back(volume);
        let volume = volumes.iter().find(is_it);
        let volume = volume.ok_or_else(|| self.api.lost(format!("the volume of disk {}", order.disk)))?;
        for key in INHERITED {
            let action = json!({"os-unset_image_metadata": {"key": key}});
            let done = self.api.volume_action(&volume.id, "clean the image properties of", action).await;
            super::api::absent(done)?;
        }
        self.api.tag_volume(&volume.id, &[(DIGEST, digest.to_owned())]).await?;
        self.discard(order).await?;
        self.drop_images_of_disk(order.relocation, &order.disk).await
    }

    async fn discard(&self, order: &Arrival) -> Result<(), Error> {
        for volume in self.disk_volumes(order.relocation, &order.disk).await? {
            // What a later attempt makes is not ours to remove.
            if !volume.metadata.contains_key(DIGEST) && epoch(&volume) <= order.epoch.0 {
                self.release(order.relocation, &volume).await?;
                self.api.delete_volume(&volume.id).await?;
            }
        }
        for image in self.disk_images(order.relocation, &order.disk).await? {
            // The promise stays.
            let later = image_epoch(&image).is_some_and(|epoch| epoch > order.epoch.0);
            if image.has(tag::ROLE, Role::Stage.name()) && !later {
                self.api.delete_image(&image.id).await?;
            }
        }
        Ok(())
    }
}

impl OpenstackProvider {
    /// The place of a disk whose volume is still to be made. That Glance lets us make images is known from now on.
    pub(super) async fn promise_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        let place = Spot::Coming(order.disk.clone()).place(self.config.site_dir());
        let bytes = order.size_bytes.to_string();
        if self.sealed(order.relocation, &order.disk).await?.is_some() {
            return Ok(place);
        }
        let images = self.disk_images(order.relocation, &order.disk).await?;
        if let Some(known) = images.iter().find(|image| image.has(tag::ROLE, Role::Coming.name())) {
            if known.has(BYTES, &bytes) {
                return Ok(place);
            }
            let name = format!("image {} for disk {}", known.id, order.disk);
            return Err(Error::NameTaken { provider: self.id.to_string(), name });
        }
        let gib = order.size_bytes.div_ceil(GIB).max(1);
        let free = self.free().await?.disk_bytes;
        self.fits("volumes", order.expected_bytes.max(gib.saturating_mul(GIB)), free)?;
        let mut more = vec![(DISK, order.disk.to_string()), (BYTES, bytes)];
        more.extend(self.type_for(order).map(|kind| (VOLUME_TYPE, kind.clone())));
        let record = tag::metadata(order.relocation, Role::Coming, &more);
        let name = format!("fluidcloud-{}-{}", tag::label(order.relocation), order.disk);
        self.make_stage(record, &name, &format!("promise disk {}", order.disk)).await?;
        Ok(place)
    }

    /// `None`: the image promises no disk.
    pub(super) fn promised(&self, image: &Image) -> Option<DiskPlace> {
        let disk = image.properties.get(DISK)?.as_str()?;
        if !image.has(tag::ROLE, Role::Coming.name()) {
            return None;
        }
        let (component, disk) = disk.split_once('/')?;
        let disk = DiskId { component: component.parse().ok()?, disk: disk.parse().ok()? };
        Some(Spot::Coming(disk).place(self.config.site_dir()))
    }

    pub(super) async fn drop_images_of_disk(
        &self,
        relocation: RelocationId,
        disk: &DiskId,
    ) -> Result<(), Error> {
        for image in self.disk_images(relocation, disk).await? {
            self.api.delete_image(&image.id).await?;
        }
        Ok(())
    }

    /// From now on nothing comes any more.
    pub(super) async fn drop_promise(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        for image in self.disk_images(relocation, disk).await? {
            if image.has(tag::ROLE, Role::Coming.name()) {
                self.api.delete_image(&image.id).await?;
            }
        }
        Ok(())
    }

    async fn disk_images(&self, relocation: RelocationId, disk: &DiskId) -> Result<Vec<Image>, Error> {
        let mut images = self.api.images_of(relocation).await?;
        images.retain(|image| !is_copied(image) && image.has(DISK, &disk.to_string()));
        Ok(images)
    }

    /// Whoever takes the disk back removes its promise before anything else: what is made and then seen as promised, is seen
    /// by him.
    async fn is_newest(&self, order: &Arrival) -> Result<(), Error> {
        let volumes = self.disk_volumes(order.relocation, &order.disk).await?;
        let images = self.disk_images(order.relocation, &order.disk).await?;
        let newest =
            volumes.iter().map(epoch).chain(images.iter().filter_map(image_epoch)).max().unwrap_or(0);
        if newest > order.epoch.0 {
            return Err(Error::Fenced { provider: self.id.to_string(), newer: newest });
        }
        let promised = images.iter().any(|image| image.has(tag::ROLE, Role::Coming.name()));
        let sealed = volumes.iter().any(|volume| volume.metadata.contains_key(DIGEST));
        if !promised && !sealed {
            // Taken back while this attempt hung.
            return Err(self.api.lost(format!("the promise of disk {}", order.disk)));
        }
        Ok(())
    }

    async fn stage_record(&self, order: &Arrival) -> Result<String, Error> {
        let more = [(DISK, order.disk.to_string()), (EPOCH, order.epoch.to_string())];
        let record = tag::metadata(order.relocation, Role::Stage, &more);
        let what = format!("make an image for disk {}", order.disk);
        self.make_stage(record, &name_of(order, "stage"), &what).await
    }

    async fn make_stage(&self, mut record: Value, name: &str, what: &str) -> Result<String, Error> {
        record["name"] = json!(name);
        record["disk_format"] = json!("raw");
        record["container_format"] = json!("bare");
        record["visibility"] = json!("private");
        let made = self.api.call(Call::post(Service::Image, "/images", what).json(record)).await?;
        let made: Id = serde_json::from_value(made).map_err(|cause| Error::Driver {
            provider: self.id.to_string(),
            what: what.to_owned(),
            cause: cause.into(),
        })?;
        Ok(made.id)
    }

    async fn landed_volume(&self, order: &Arrival, image: &str, gib: u64) -> Result<String, Error> {
        let images = self.disk_images(order.relocation, &order.disk).await?;
        let promise = images.iter().find(|image| image.has(tag::ROLE, Role::Coming.name()));
        let kind = promise.and_then(|promise| promise.properties.get(VOLUME_TYPE));
        let more = [
            (DISK, order.disk.to_string()),
            (BYTES, order.size_bytes.to_string()),
            (EPOCH, order.epoch.to_string()),
        ];
        let mut volume = json!({
            "size": gib,
            "imageRef": image,
            "name": format!("fluidcloud-{}-{}", tag::label(order.relocation), order.disk),
            "metadata": tag::metadata(order.relocation, Role::Disk, &more),
        });
        if let Some(kind) = kind {
            volume["volume_type"] = kind.clone();
        }
        if let Some(zone) = &self.config.availability_zone {
            volume["availability_zone"] = json!(zone);
        }
        let what = format!("make a volume of {gib} GiB for disk {}", order.disk);
        self.api.make_volume(&what, volume).await
    }
}

fn image_epoch(image: &Image) -> Option<u64> {
    image.properties.get(EPOCH)?.as_str()?.parse().ok()
}

fn epoch(volume: &Volume) -> u64 {
    volume.metadata.get(EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

fn name_of(order: &Arrival, what: &str) -> String {
    format!("fluidcloud-{}-{}-{what}", tag::label(order.relocation), order.disk)
}
