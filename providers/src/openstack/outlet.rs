//! Disks of a source, read by way of images: a copy as any other, uploaded by the cloud into a raw image of which parts are
//! downloaded. Whether a relocation reads so is decided before anything of it is opened, and written down in the cloud.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::DiskPlace;
use serde_json::json;

use super::OpenstackProvider;
use super::api::{Api, Call, Service};
use super::copies::{copy_tags, root_gib};
use super::place::Spot;
use super::tag::{self, MOMENT, NOTE, OF, Role};
use super::volumes::{GIB, Image, MADE_MAX, copied_max};
use crate::disk_images::{Outlet, Window};
use crate::error::Error;
use crate::provider::Moment;

const RAW: &str = "raw";

/// What an image shows, with zeros to the end of the disk that it is of.
#[derive(Debug)]
struct Shown {
    api: Api,
    image: String,
    stored_bytes: u64,
    size: u64,
}

#[async_trait]
impl Window for Shown {
    fn name(&self) -> String {
        format!("image {} at {}", self.image, self.api.provider())
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        let stored = range.start.min(self.stored_bytes)..range.end.min(self.stored_bytes);
        let mut bytes = BytesMut::new();
        if !stored.is_empty() {
            let path = format!("/images/{}/file", self.image);
            let call = Call::get(Service::Image, path, format!("download image {}", self.image));
            let part = self.api.part(call, stored).await?;
            if part.len() as u64 == range.end - range.start {
                return Ok(part);
            }
            bytes.extend_from_slice(&part);
        }
        bytes.resize(usize::try_from(range.end - range.start).unwrap_or(usize::MAX), 0);
        Ok(bytes.freeze())
    }
}

#[async_trait]
impl Outlet for OpenstackProvider {
    fn dir(&self) -> &Path {
        self.config.site_dir()
    }

    async fn window(
        &self,
        relocation: RelocationId,
        disk: &DiskPlace,
        moment: Moment,
    ) -> Result<Arc<dyn Window>, Error> {
        let (image, gib) = match self.spot(disk)? {
            Spot::Volume(id) => self.image_of_volume(relocation, &id, moment).await?,
            Spot::RootOf(server) => self.raw_image_of_root(relocation, &server, moment).await?,
            Spot::Coming(disk) => return Err(self.never_open(&disk)),
        };
        let (stored_bytes, size) = (image.size.unwrap_or(0), gib.saturating_mul(GIB));
        Ok(Arc::new(Shown { api: self.api.clone(), image: image.id, stored_bytes, size }))
    }
}

impl OpenstackProvider {
    pub(super) fn never_open(&self, disk: &DiskId) -> Error {
        Error::Unsupported {
            provider: self.id.to_string(),
            what: format!("open disk {disk}, which comes as an image"),
            remedy: "describe a helper in its configuration (`helper`), in which disks can be worked on"
                .to_owned(),
        }
    }

    /// Decided once: with a helper that stands, or a note that none can, nothing is asked any more.
    pub(super) async fn reads_by_images(&self, relocation: RelocationId) -> Result<bool, Error> {
        if self.config.helper.is_none() {
            return Ok(true);
        }
        if !self.helper_servers(relocation).await?.is_empty() {
            return Ok(false);
        }
        let images = self.api.images_of(relocation).await?;
        if images.iter().any(|image| image.has(tag::ROLE, Role::ByImages.name())) {
            return Ok(true);
        }
        let (made, has_parts) = match self.helper_parts().await {
            Ok(_) => (self.helper(relocation).await.map(drop), true),
            Err(error) => (Err(error), false),
        };
        match made {
            Ok(()) => Ok(false),
            Err(error) if cannot_be(&error, has_parts) => {
                tracing::warn!(provider = %self.id, %relocation, %error, "no helper can be made: disks are read by way of images");
                self.note_by_images(relocation, &error).await?;
                self.drop_helper(relocation).await?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    async fn note_by_images(&self, relocation: RelocationId, why: &Error) -> Result<(), Error> {
        let more = [(NOTE, why.to_string())];
        let mut record = tag::metadata(relocation, Role::ByImages, &more);
        record["name"] = json!(format!("fluidcloud-{}-by-images", tag::label(relocation)));
        record["visibility"] = json!("private");
        let call = Call::post(Service::Image, "/images", "note that disks are read by way of images");
        self.api.call(call.json(record)).await.map(drop)
    }

    async fn image_of_volume(
        &self,
        relocation: RelocationId,
        id: &str,
        moment: Moment,
    ) -> Result<(Image, u64), Error> {
        let volume = self.api.volume(id).await?.ok_or_else(|| self.api.lost(format!("volume {id}")))?;
        let name = self.moment_of_volume(&volume, moment).await?;
        if let Some(image) = self.good_image(relocation, id, &name, volume.size).await? {
            return Ok((image, volume.size));
        }
        let copy = self.copy_of_volume(relocation, &volume, moment).await?;
        Ok((self.image_of_copy(relocation, id, &copy).await?, volume.size))
    }

    /// The server's own image where it is raw already.
    async fn raw_image_of_root(
        &self,
        relocation: RelocationId,
        server: &str,
        moment: Moment,
    ) -> Result<(Image, u64), Error> {
        let found = self.api.server(server).await?;
        let server = found.ok_or_else(|| self.api.lost(format!("server {server}")))?;
        let name = self.moment(Some(&server), moment).await?;
        let image = match self.good_image(relocation, &server.id, &name, server.flavor.disk).await? {
            Some(image) => image,
            None => self.image_of_root(relocation, &server, &name).await?,
        };
        let gib = root_gib(&server, &image).max(image.size.unwrap_or(0).div_ceil(GIB));
        if is_raw(&image) {
            return Ok((image, gib));
        }
        let copy = self.volume_of_root(relocation, &server, &name, &image).await?;
        Ok((self.image_of_copy(relocation, &server.id, &copy).await?, gib))
    }

    /// The copy and its snapshot go: the image has all of it.
    async fn image_of_copy(&self, relocation: RelocationId, of: &str, copy: &str) -> Result<Image, Error> {
        let found = self.api.volume(copy).await?.ok_or_else(|| self.api.lost(format!("volume {copy}")))?;
        // Of the copy itself: which moment it shows was known when it was made.
        let moment = found.metadata.get(MOMENT).map(String::as_str).unwrap_or_default();
        // Cinder gives them to the image in the request that makes it.
        let tags = json!({"os-set_image_metadata": {"metadata": copy_tags(relocation, of, moment)}});
        self.api.volume_action(copy, "say what an image will be of", tags).await?;
        let name = format!("fluidcloud-{}-window", tag::label(relocation));
        let image = self.api.start_image_of(copy, &name).await?;
        let image = self.api.image_is_whole_within(&image, copied_max(found.size)).await?;
        let expected = found.size.saturating_mul(GIB);
        if image.size != Some(expected) || !is_raw(&image) {
            self.api.delete_image(&image.id).await?;
            let cause = format!("it has {:?} of the {expected} bytes of volume {copy}", image.size).into();
            let what = format!("make a raw image of volume {copy}");
            return Err(Error::Driver { provider: self.id.to_string(), what, cause });
        }
        self.api.volume_is_free(copy, MADE_MAX).await?;
        self.api.delete_volume(copy).await?;
        self.drop_snapshots_of(relocation, of).await?;
        Ok(image)
    }

    /// Of this moment, waited for where the cloud is still at it. All others of the same disk go.
    async fn good_image(
        &self,
        relocation: RelocationId,
        of: &str,
        moment: &str,
        gib: u64,
    ) -> Result<Option<Image>, Error> {
        let mut good = None;
        for image in self.api.images_of(relocation).await? {
            if !image.has(tag::ROLE, Role::Copy.name()) || !image.has(OF, of) {
                continue;
            }
            let fits = good.is_none() && is_raw(&image) && image.has(MOMENT, moment);
            if fits && matches!(image.status.as_str(), "active" | "queued" | "saving") {
                match self.api.image_is_whole_within(&image.id, copied_max(gib)).await {
                    Ok(whole) => good = Some(whole),
                    // A record that nobody fills any more: it is made anew.
                    Err(Error::TimedOut { .. } | Error::Driver { .. }) => {
                        self.api.delete_image(&image.id).await?;
                    }
                    Err(error) => return Err(error),
                }
            } else {
                self.api.delete_image(&image.id).await?;
            }
        }
        Ok(good)
    }
}

fn is_raw(image: &Image) -> bool {
    image.disk_format.as_deref() == Some(RAW)
}

/// Whether no later attempt at a helper will be luckier, as far as anybody knows.
fn cannot_be(error: &Error, has_parts: bool) -> bool {
    matches!(error, Error::Config { .. } if !has_parts)
        || matches!(
            error,
            Error::NoRoom { .. }
                | Error::Quota { .. }
                | Error::Refused { full: true, .. }
                | Error::Refused { status: 403, .. }
        )
}
