//! What stays of a move in an OpenStack project: snapshots of a source, an image of a target. Each carries the relocation, and a
//! role by which `settle` lets it be.

mod image;
mod snapshot;

use async_trait::async_trait;
use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::{Kept, KeptKind};
use serde_json::Value;

use super::OpenstackProvider;
use super::orphans::text;
use super::tag::{self, Role};
use super::volumes::{GIB, Image, Snapshot};
use crate::error::Error;
use crate::keepsakes::{KeepOrder, Keepsakes, SnapshotOrder};

/// Which of the two an image in Glance is.
const AS: &str = "fluidcloud_kept_as";
const SNAPSHOT: &str = "snapshot";
const IMAGE: &str = "image";

#[async_trait]
impl Keepsakes for OpenstackProvider {
    async fn may_keep(&self, order: &KeepOrder) -> Result<(), Error> {
        self.image_is_welcome(order).await
    }

    async fn take_snapshot(&self, order: &SnapshotOrder) -> Result<Vec<Kept>, Error> {
        self.snapshot_of(order).await
    }

    async fn drop_snapshot(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        for image in self.kept_images(relocation, component, SNAPSHOT).await? {
            self.api.delete_image(&image.id).await?;
        }
        for snapshot in self.kept_snapshots(relocation, component).await? {
            self.api.delete_snapshot(&snapshot.id).await?;
        }
        Ok(())
    }

    async fn set_aside(&self, order: &KeepOrder) -> Result<(), Error> {
        self.clone_root(order).await.map(drop)
    }

    async fn drop_aside(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.drop_clones(relocation, component).await
    }

    async fn keep_image(&self, order: &KeepOrder) -> Result<Kept, Error> {
        self.kept_image_of_root(order).await
    }

    async fn drop_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        for image in self.kept_images(relocation, component, IMAGE).await? {
            self.api.delete_image(&image.id).await?;
        }
        Ok(())
    }

    async fn kept(&self, relocation: RelocationId) -> Result<Vec<Kept>, Error> {
        let mut all = Vec::new();
        for image in self.api.images_of(relocation).await?.iter().filter(|image| is_kept(image)) {
            let component = text(image.properties.get(tag::COMPONENT)).and_then(|name| name.parse().ok());
            all.extend(component.map(|component| self.told_image(component, image)));
        }
        for snapshot in self.api.snapshots_of(relocation).await? {
            let component = snapshot.metadata.get(tag::COMPONENT).and_then(|name| name.parse().ok());
            let kept = tag::has(&snapshot.metadata, relocation, Role::Kept);
            all.extend(component.filter(|_| kept).map(|component| self.told_snapshot(component, &snapshot)));
        }
        Ok(all)
    }
}

impl OpenstackProvider {
    /// Oldest first.
    async fn kept_images(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
        kept_as: &str,
    ) -> Result<Vec<Image>, Error> {
        let mut images = self.api.images_of(relocation).await?;
        images.retain(|image| {
            is_kept(image) && image.has(tag::COMPONENT, component.as_str()) && image.has(AS, kept_as)
        });
        let made = |image: &Image| text(image.properties.get("created_at"));
        images.sort_by(|a, b| (made(a), &a.id).cmp(&(made(b), &b.id)));
        Ok(images)
    }

    async fn kept_snapshots(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
    ) -> Result<Vec<Snapshot>, Error> {
        let mut all = self.api.snapshots_of(relocation).await?;
        all.retain(|snapshot| {
            tag::has(&snapshot.metadata, relocation, Role::Kept)
                && snapshot.metadata.get(tag::COMPONENT).is_some_and(|of| of == component.as_str())
        });
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        Ok(all)
    }

    fn told_image(&self, component: ComponentName, image: &Image) -> Kept {
        let of = |key: &str| text(image.properties.get(key)).unwrap_or_default();
        Kept {
            component,
            kind: KeptKind::Image,
            provider: self.id.clone(),
            name: image.name.clone().unwrap_or_default(),
            id: image.id.clone(),
            status: image.status.clone(),
            format: of("disk_format"),
            visibility: of("visibility"),
            size_bytes: image.properties.get("size").and_then(Value::as_u64).unwrap_or(0),
        }
    }

    fn told_snapshot(&self, component: ComponentName, snapshot: &Snapshot) -> Kept {
        Kept {
            component,
            kind: KeptKind::Snapshot,
            provider: self.id.clone(),
            name: snapshot.name.clone(),
            id: snapshot.id.clone(),
            status: snapshot.status.clone(),
            format: String::new(),
            visibility: String::new(),
            size_bytes: snapshot.size.saturating_mul(GIB),
        }
    }
}

/// It stays when the relocation has settled.
pub(super) fn is_kept(image: &Image) -> bool {
    image.has(tag::ROLE, Role::Kept.name())
}

fn tags(relocation: RelocationId, component: &ComponentName, more: &[(&str, String)]) -> Value {
    let mut all = vec![(tag::COMPONENT, component.to_string())];
    all.extend_from_slice(more);
    tag::metadata(relocation, Role::Kept, &all)
}
