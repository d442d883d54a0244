//! An image of a root disk that stays: Cinder writes it from a clone of the volume, so that the instance starts meanwhile. What
//! the clone says of itself in its image metadata becomes the image's properties as Cinder makes its record, so that the record
//! is never without our tag.

use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::Kept;
use fluidcloud_proto::request::Visibility;
use serde_json::{Value, json};

use super::super::OpenstackProvider;
use super::super::api::{Call, Service};
use super::super::place::Spot;
use super::super::tag::{self, MOMENT, OF, Role};
use super::super::volumes::{Image, Volume, copied_max};
use super::{AS, IMAGE, tags};
use crate::error::Error;
use crate::keepsakes::KeepOrder;

/// The moment of a clone, which is never a source's.
const ASIDE: &str = "set aside";
const PATCH: &str = "application/openstack-images-v2.1-json-patch";

impl OpenstackProvider {
    /// Glance tells the formats that it takes; for whose eyes a member may make an image is known by trying.
    pub(super) async fn image_is_welcome(&self, order: &KeepOrder) -> Result<(), Error> {
        let format = order.format.as_str();
        let call = Call::get(Service::Image, "/schemas/image", "see which images are taken");
        let schema = super::super::api::absent(self.api.call(call).await)?.unwrap_or_default();
        let taken = schema["properties"]["disk_format"]["enum"].as_array();
        if taken.is_some_and(|taken| !taken.iter().any(|one| one == format)) {
            let taken: Vec<&str> = taken.into_iter().flatten().filter_map(Value::as_str).collect();
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("keep image `{}` as {format}", order.name),
                remedy: format!("choose a format that its image service takes: {}", taken.join(", ")),
            });
        }
        if matches!(order.visibility, Visibility::Private | Visibility::Shared) {
            return Ok(());
        }
        for image in self.api.images_of(order.relocation).await? {
            if image.status == "queued" && image.has(tag::ROLE, Role::Copy.name()) {
                self.api.delete_image(&image.id).await?;
            }
        }
        // Tagged as what goes when all is settled or undone, should we not come to remove it.
        let mut record = tag::metadata(order.relocation, Role::Copy, &[]);
        record["name"] = json!(order.name);
        record["disk_format"] = json!(format);
        record["container_format"] = json!("bare");
        record["visibility"] = json!(order.visibility.as_str());
        let what = format!("make image `{}` {}", order.name, order.visibility.as_str());
        let made = self.api.call(Call::post(Service::Image, "/images", what).json(record)).await?;
        match made["id"].as_str() {
            Some(id) => self.api.delete_image(id).await,
            None => Ok(()),
        }
    }

    /// Found, or made now: the root volume is free, as its instance was not started yet.
    pub(super) async fn clone_root(&self, order: &KeepOrder) -> Result<Volume, Error> {
        let mut whole = None;
        for clone in self.clones(order.relocation, &order.component).await? {
            match clone.status.as_str() {
                "error" | "error_deleting" => self.api.delete_volume(&clone.id).await?,
                _ if whole.is_none() => whole = Some(clone.id),
                _ => {
                    self.api.volume_is_free(&clone.id, copied_max(clone.size)).await?;
                    self.api.delete_volume(&clone.id).await?;
                }
            }
        }
        let root = self.root_of(order).await?;
        let id = match whole {
            Some(id) => id,
            None => {
                let more = [
                    (OF, root.id.clone()),
                    (MOMENT, ASIDE.to_owned()),
                    (tag::COMPONENT, order.component.to_string()),
                ];
                let clone = json!({
                    "source_volid": root.id,
                    "size": root.size,
                    "name": format!("fluidcloud-{}-aside", tag::label(order.relocation)),
                    "metadata": tag::metadata(order.relocation, Role::Copy, &more),
                });
                self.api.make_volume(&format!("set volume {} aside", root.id), clone).await?
            }
        };
        self.api.volume_is_free(&id, copied_max(root.size)).await
    }

    async fn root_of(&self, order: &KeepOrder) -> Result<Volume, Error> {
        let lost = || self.api.lost(format!("the root disk of {}", order.component));
        match Spot::of(&order.root, self.config.site_dir()) {
            Some(Spot::Volume(id)) => self.api.volume(&id).await?.ok_or_else(lost),
            // It came as an image: the volume of it that is sealed.
            Some(Spot::Coming(disk)) => {
                let volumes = self.disk_volumes(order.relocation, &disk).await?;
                let sealed = volumes.into_iter().find(|volume| volume.metadata.contains_key(tag::DIGEST));
                sealed.ok_or_else(lost)
            }
            _ => Err(lost()),
        }
    }

    pub(super) async fn drop_clones(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<(), Error> {
        for clone in self.clones(relocation, component).await? {
            // What is being written to an image cannot go before that has ended.
            if clone.status == "uploading" {
                self.api.volume_is_free(&clone.id, copied_max(clone.size)).await?;
            }
            self.api.delete_volume(&clone.id).await?;
        }
        Ok(())
    }

    async fn clones(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<Vec<Volume>, Error> {
        let mut all = self.api.volumes_of(relocation).await?;
        let is = |volume: &Volume, key: &str, value: &str| {
            volume.metadata.get(key).is_some_and(|found| found == value)
        };
        all.retain(|volume| {
            tag::has(&volume.metadata, relocation, Role::Copy)
                && is(volume, MOMENT, ASIDE)
                && is(volume, tag::COMPONENT, component.as_str())
        });
        Ok(all)
    }

    pub(super) async fn kept_image_of_root(&self, order: &KeepOrder) -> Result<Kept, Error> {
        let id = match self.image_begun(order).await? {
            Some(id) => id,
            None => self.begin_image(order).await?,
        };
        let clones = self.clones(order.relocation, &order.component).await?;
        let gib = clones.iter().map(|clone| clone.size).max().unwrap_or(0);
        let image = self.api.image_is_whole_within(&id, copied_max(gib)).await?;
        let image = self.made_visible(order, image).await?;
        self.drop_clones(order.relocation, &order.component).await?;
        Ok(self.told_image(order.component.clone(), &image))
    }

    /// One that is whole or on its way. What failed goes.
    async fn image_begun(&self, order: &KeepOrder) -> Result<Option<String>, Error> {
        let mut found = None;
        for image in self.kept_images(order.relocation, &order.component, IMAGE).await? {
            match image.status.as_str() {
                "active" | "queued" | "saving" if found.is_none() => found = Some(image.id),
                _ => self.api.delete_image(&image.id).await?,
            }
        }
        let Some(id) = found else { return Ok(None) };
        // A record that nobody fills: Cinder died over it, or gave up.
        let filling = self.clones(order.relocation, &order.component).await?;
        let filling = filling.iter().any(|clone| clone.status == "uploading");
        let waits = self.api.image(&id).await?.is_some_and(|image| image.status == "queued");
        if waits && !filling {
            self.api.delete_image(&id).await?;
            return Ok(None);
        }
        Ok(Some(id))
    }

    async fn begin_image(&self, order: &KeepOrder) -> Result<String, Error> {
        let clone = self.clone_root(order).await?;
        let tags = tags(order.relocation, &order.component, &[(AS, IMAGE.to_owned())]);
        let action = json!({"os-set_image_metadata": {"metadata": tags}});
        self.api.volume_action(&clone.id, "mark what is told of", action).await?;
        let upload = json!({"os-volume_upload_image": {
            "image_name": order.name,
            "disk_format": order.format.as_str(),
            "container_format": "bare",
            "force": false,
        }});
        let what = format!("make image `{}` of volume {}", order.name, clone.id);
        let path = format!("/volumes/{}/action", clone.id);
        let answer = self.api.call(Call::post(Service::Volume, path, what).json(upload)).await?;
        let id = answer["os-volume_upload_image"]["image_id"].as_str();
        Ok(id.ok_or_else(|| self.api.lost(format!("image `{}`", order.name)))?.to_owned())
    }

    /// Cinder's first version makes them as its Glance is used to.
    async fn made_visible(&self, order: &KeepOrder, image: Image) -> Result<Image, Error> {
        let visibility = order.visibility.as_str();
        let tags = tags(order.relocation, &order.component, &[(AS, IMAGE.to_owned())]);
        let mut changes = Vec::new();
        if !image.has("visibility", visibility) {
            changes.push(json!({"op": "replace", "path": "/visibility", "value": visibility}));
        }
        // Some leave out what they were told of the volume.
        for (key, value) in tags.as_object().into_iter().flatten() {
            if image.properties.get(key) != Some(value) {
                changes.push(json!({"op": "add", "path": format!("/{key}"), "value": value}));
            }
        }
        if changes.is_empty() {
            return Ok(image);
        }
        let what = format!("make image {} {visibility}", image.id);
        let call = Call::patch(Service::Image, format!("/images/{}", image.id), what);
        self.api.call(call.header("content-type", PATCH).json(json!(changes))).await?;
        self.api.image(&image.id).await?.ok_or_else(|| self.api.lost(format!("image {}", image.id)))
    }
}
