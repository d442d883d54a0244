//! A snapshot of a stopped server: an image where its root disk is on the hypervisor, which Nova gives in no other way, and a
//! snapshot of each volume. It comes when the bytes have arrived: Nova takes one image at a time, and some storage bears one
//! snapshot of a volume at a time, so that the copies of the disks go before.

use fluidcloud_proto::kept::Kept;
use fluidcloud_proto::topology::Power;
use serde_json::json;

use super::super::OpenstackProvider;
use super::super::power::{Found, power_of};
use super::super::servers::Server;
use super::super::tag::{OF, short};
use super::super::volumes::{Volume, copied_max};
use super::{AS, SNAPSHOT, tags};
use crate::error::Error;
use crate::keepsakes::SnapshotOrder;

impl OpenstackProvider {
    pub(super) async fn snapshot_of(&self, order: &SnapshotOrder) -> Result<Vec<Kept>, Error> {
        let server = match self.find(&order.instance).await? {
            Found::Server(server) if power_of(&server) == Power::Stopped => *server,
            Found::Server(server) => {
                return Err(Error::Unsupported {
                    provider: self.id.to_string(),
                    what: format!("take a snapshot of server `{}`, which is not off", server.name),
                    remedy: "leave it off until the relocation has ended, and request it again".to_owned(),
                });
            }
            Found::Defined(_) => return Err(self.unknown(&order.instance)),
        };
        let mut all = Vec::new();
        if server.image_id().is_some() {
            all.push(self.image_of_server(order, &server).await?);
        }
        let parts = self.parts_of_server(server).await?;
        for (at, (device, volume)) in parts.volumes.iter().enumerate() {
            let is_root = at == 0 && all.is_empty();
            let device = device.rsplit('/').next().unwrap_or_default();
            let name = if is_root { order.name.clone() } else { short(&format!("{}-{device}", order.name)) };
            all.push(self.snapshot_of_volume(order, volume, &name).await?);
        }
        Ok(all)
    }

    async fn image_of_server(&self, order: &SnapshotOrder, server: &Server) -> Result<Kept, Error> {
        let mut whole = None;
        for image in self.kept_images(order.relocation, &order.component, SNAPSHOT).await? {
            match image.status.as_str() {
                "active" | "queued" | "saving" if whole.is_none() => whole = Some(image.id),
                // Of an attempt that failed, or of two that came at once the later.
                _ => self.api.delete_image(&image.id).await?,
            }
        }
        let id = match whole {
            Some(id) => id,
            None => {
                let tags = tags(order.relocation, &order.component, &[(AS, SNAPSHOT.to_owned())]);
                let action = json!({"createImage": {"name": order.name, "metadata": tags}});
                let answer = self.api.act(&server.id, "take an image of", action).await?;
                let id = answer["image_id"].as_str();
                id.ok_or_else(|| self.api.lost(format!("image `{}`", order.name)))?.to_owned()
            }
        };
        let image = self.api.image_is_whole_within(&id, copied_max(server.flavor.disk)).await?;
        Ok(self.told_image(order.component.clone(), &image))
    }

    async fn snapshot_of_volume(
        &self,
        order: &SnapshotOrder,
        volume: &Volume,
        name: &str,
    ) -> Result<Kept, Error> {
        let mut whole = None;
        for snapshot in self.kept_snapshots(order.relocation, &order.component).await? {
            if snapshot.metadata.get(OF) != Some(&volume.id) {
                continue;
            }
            match snapshot.status.as_str() {
                "available" | "creating" if whole.is_none() => whole = Some(snapshot.id),
                _ => self.api.delete_snapshot(&snapshot.id).await?,
            }
        }
        let id = match whole {
            Some(id) => id,
            None => {
                self.drop_copies_of(order.relocation, &volume.id).await?;
                let tags = tags(order.relocation, &order.component, &[(OF, volume.id.clone())]);
                self.api.make_snapshot(&volume.id, name, tags).await?
            }
        };
        self.api.snapshot_is_whole(&id).await?;
        let all = self.kept_snapshots(order.relocation, &order.component).await?;
        let snapshot = all.into_iter().find(|snapshot| snapshot.id == id);
        let snapshot = snapshot.ok_or_else(|| self.api.lost(format!("snapshot {id}")))?;
        Ok(self.told_snapshot(order.component.clone(), &snapshot))
    }
}
