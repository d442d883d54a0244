//! Glance: images as things of their own, by its API alone. A record is made with our tag before its first byte comes; one
//! whose bytes came from an attempt that broke is removed, as nobody knows what it holds.

mod describe;

use async_trait::async_trait;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::{ComponentName, RelocationId};
use serde_json::{Value, json};

use super::OpenstackProvider;
use super::api::{Call, Service};
use super::servers::Id;
use super::tag::{self, COMPONENT, EPOCH, Role};
use super::volumes::Image;
use crate::bytes::{ByteStream, Source};
use crate::error::Error;
use crate::image_store::{ImageOrder, ImageStore};
pub(super) use describe::described;

/// Of one task; each begins at the first byte.
const UPLOADS_MAX: u32 = 4;

#[async_trait]
impl ImageStore for OpenstackProvider {
    async fn image(&self, id: &str) -> Result<StoredImage, Error> {
        let call = Call::get(Service::Image, "/images", "list images").query("name", id);
        let mut named: Vec<Value> = self.api.list(call, "images").await?;
        // By its id only where nothing has it as its name.
        if named.is_empty() && plain(id) {
            named.extend(self.image_record(id).await?);
        }
        match &named[..] {
            [image] => Ok(described(image)),
            [] => Err(Error::NotThere {
                provider: self.id.to_string(),
                what: format!("image `{id}`"),
                code: Code::UnknownImage,
            }),
            several => Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("tell which of {} images named `{id}` is meant", several.len()),
                remedy: "give the id of one".to_owned(),
            }),
        }
    }

    async fn read_image(&self, id: &str) -> Result<ByteStream, Error> {
        let path = format!("/images/{id}/file");
        Ok(self.api.pour(Call::get(Service::Image, path, format!("download image {id}"))))
    }

    async fn put_image(&self, order: &ImageOrder, source: &dyn Source) -> Result<StoredImage, Error> {
        let mut broken = None;
        for _ in 0..UPLOADS_MAX {
            let record = match self.fit_record(order).await? {
                Record::Whole(image) => return Ok(described(&image)),
                Record::Empty(id) => id,
            };
            match self.upload(&record, order, source).await {
                Ok(()) => (),
                // After a 401 too: the token is another one now, and what became of the record is looked at.
                Err(error) if error.retryable() || matches!(error, Error::Refused { status: 401, .. }) => {
                    tracing::warn!(provider = %self.id, image = record, %error, "an upload broke");
                    broken = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match self.fit_record(order).await? {
            Record::Whole(image) => Ok(described(&image)),
            Record::Empty(id) => Err(broken.unwrap_or_else(|| {
                self.api.broken(format!("image {id}"), "queued", "see the log of glance-api")
            })),
        }
    }

    async fn delete_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        for image in self.copied_images(relocation, component).await? {
            self.api.delete_image(&image.id).await?;
        }
        Ok(())
    }
}

/// The one record of an order.
enum Record {
    Whole(Value),
    Empty(String),
}

impl OpenstackProvider {
    async fn upload(&self, image: &str, order: &ImageOrder, source: &dyn Source) -> Result<(), Error> {
        let path = format!("/images/{image}/file");
        let call = Call::put(Service::Image, path, format!("upload image {image}"))
            .header("content-type", "application/octet-stream")
            .once();
        self.api.fill(&call, order.like.size_bytes, source.open().await?).await?;
        self.api.image_is_whole(image).await.map(drop)
    }

    /// Found or made. What is left of other attempts is removed.
    async fn fit_record(&self, order: &ImageOrder) -> Result<Record, Error> {
        let mut fit = None;
        for image in self.copied_images(order.relocation, &order.component).await? {
            let epoch = image.properties.get(EPOCH).and_then(Value::as_str);
            let epoch = epoch.and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
            if epoch > order.epoch.0 {
                return Err(Error::Fenced { provider: self.id.to_string(), newer: epoch });
            }
            match image.status.as_str() {
                "active" if fit.is_none() => {
                    let record = self.image_record(&image.id).await?;
                    fit = Some(Record::Whole(
                        record.ok_or_else(|| self.api.lost(format!("image {}", image.id)))?,
                    ));
                }
                // No byte has come, and none of an earlier attempt can.
                "queued" if epoch == order.epoch.0 && fit.is_none() => fit = Some(Record::Empty(image.id)),
                _ => self.api.delete_image(&image.id).await?,
            }
        }
        match fit {
            Some(fit) => Ok(fit),
            None => Ok(Record::Empty(self.make_record(order).await?)),
        }
    }

    async fn make_record(&self, order: &ImageOrder) -> Result<String, Error> {
        let more = [(COMPONENT, order.component.to_string()), (EPOCH, order.epoch.to_string())];
        let mut record = tag::metadata(order.relocation, Role::Image, &more);
        for (key, value) in &order.like.properties {
            record[key.as_str()] = json!(value);
        }
        record["name"] = json!(order.name);
        record["disk_format"] = json!(order.like.disk_format);
        record["container_format"] = json!(order.like.container_format);
        record["min_disk"] = json!(order.like.min_disk_gib);
        record["min_ram"] = json!(order.like.min_ram_mib);
        record["visibility"] = json!(order.visibility.as_str());
        let call = Call::post(Service::Image, "/images", format!("make image `{}`", order.name)).json(record);
        let made = self.api.call(call).await?;
        let made: Id = serde_json::from_value(made).map_err(|cause| Error::Driver {
            provider: self.id.to_string(),
            what: format!("make image `{}`", order.name),
            cause: cause.into(),
        })?;
        Ok(made.id)
    }

    pub(super) async fn image_record(&self, id: &str) -> Result<Option<Value>, Error> {
        let call = Call::get(Service::Image, format!("/images/{id}"), format!("look at image {id}"));
        super::api::absent(self.api.call(call).await)
    }

    /// Newest epoch first.
    async fn copied_images(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<Vec<Image>, Error> {
        let mut images = self.api.images_of(relocation).await?;
        images.retain(|image| is_copied(image) && image.has(COMPONENT, component.as_str()));
        Ok(images)
    }
}

/// Moved for its own sake, not made on the way.
pub(super) fn is_copied(image: &Image) -> bool {
    image.has(tag::ROLE, Role::Image.name())
}

/// It can be part of an address as it is.
fn plain(id: &str) -> bool {
    !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}
