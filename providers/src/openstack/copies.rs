//! Volumes that show a source's disk: taken by snapshot, so that the source's own stays where it is. A copy knows of which
//! moment it is; one of another moment is removed and never shown.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::Power;
use futures::future::try_join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use super::OpenstackProvider;
use super::images::is_copied;
use super::keepsakes::is_kept;
use super::power::power_of;
use super::servers::Server;
use super::tag::{self, MOMENT, OF, Role};
use super::volumes::{GIB, Image, MADE_MAX, Volume, copied_max};
use super::wait::until;
use crate::error::Error;
use crate::provider::Moment;

/// Of one volume for one copy.
const SNAPSHOTS_MAX: u32 = 3;
/// Any bytes would do: names of moments are made in it.
const MOMENTS: Uuid = Uuid::from_u128(0x6f1c_9a52_6d1e_4be5_9a0e_51b7_a0c5_3d11);

impl OpenstackProvider {
    pub(super) async fn copy_of_volume(
        &self,
        relocation: RelocationId,
        volume: &Volume,
        moment: Moment,
    ) -> Result<String, Error> {
        let moment = self.moment_of_volume(volume, moment).await?;
        if let Some(copy) = self.good_copy(relocation, &volume.id, &moment).await? {
            return Ok(copy);
        }
        let tags = copy_tags(relocation, &volume.id, &moment);
        let name = copy_name(relocation);
        let snapshot = self.snapshot_to_copy(relocation, volume, &name, &tags).await?;
        let mut copy = json!({"snapshot_id": snapshot, "size": volume.size, "name": name, "metadata": tags});
        if let Some(kind) = &volume.volume_type {
            copy["volume_type"] = json!(kind);
        }
        let what = format!("make a copy of volume {}", volume.id);
        let copy = self.api.make_volume(&what, copy).await?;
        self.api.volume_is_free(&copy, copied_max(volume.size)).await?;
        Ok(copy)
    }

    /// Storage that needs the hypervisor for it takes none while Nova is busy with the server, such as with an image of its
    /// root disk: what went into error by that is taken again.
    async fn snapshot_to_copy(
        &self,
        relocation: RelocationId,
        volume: &Volume,
        name: &str,
        tags: &Value,
    ) -> Result<String, Error> {
        let mut tries = 1;
        loop {
            if let Some(attached) = volume.attachments.first() {
                self.server_is_idle(&attached.server_id).await?;
            }
            // Some storage makes a volume of the first snapshot only: of a later one it refuses the file that lies below.
            self.drop_snapshots_of(relocation, &volume.id).await?;
            let snapshot = self.api.make_snapshot(&volume.id, name, tags.clone()).await?;
            match self.api.snapshot_is_whole(&snapshot).await {
                Ok(()) => return Ok(snapshot),
                Err(Error::Driver { .. }) if tries < SNAPSHOTS_MAX => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Bounded by what takes longest, an image of it.
    async fn server_is_idle(&self, id: &str) -> Result<(), Error> {
        until(
            || format!("server {id} to have nothing under way"),
            MADE_MAX,
            || async {
                Ok(self.api.server(id).await?.is_none_or(|server| server.task.is_none()).then_some(()))
            },
        )
        .await
    }

    /// By way of an image, as Nova gives a root disk on a hypervisor in no other way.
    pub(super) async fn copy_of_root(
        &self,
        relocation: RelocationId,
        server: &str,
        moment: Moment,
    ) -> Result<String, Error> {
        let found = self.api.server(server).await?;
        let server = found.ok_or_else(|| self.api.lost(format!("server {server}")))?;
        let moment = self.moment(Some(&server), moment).await?;
        if let Some(copy) = self.good_copy(relocation, &server.id, &moment).await? {
            return Ok(copy);
        }
        let image = self.image_of_root(relocation, &server, &moment).await?;
        self.volume_of_root(relocation, &server, &moment, &image).await
    }

    /// In the format that its hypervisor keeps it in.
    pub(super) async fn image_of_root(
        &self,
        relocation: RelocationId,
        server: &Server,
        moment: &str,
    ) -> Result<Image, Error> {
        let tags = copy_tags(relocation, &server.id, moment);
        let action = json!({"createImage": {"name": copy_name(relocation), "metadata": tags}});
        let answer = self.api.act(&server.id, "take an image of", action).await?;
        let image = answer["image_id"].as_str().ok_or_else(|| self.api.lost("the image".into()))?.to_owned();
        self.api.image_is_whole_within(&image, copied_max(server.flavor.disk)).await
    }

    /// The image goes.
    pub(super) async fn volume_of_root(
        &self,
        relocation: RelocationId,
        server: &Server,
        moment: &str,
        image: &Image,
    ) -> Result<String, Error> {
        let (gib, image) = (root_gib(server, image), &image.id);
        let (name, tags) = (copy_name(relocation), copy_tags(relocation, &server.id, moment));
        let copy = json!({"imageRef": image, "size": gib, "name": name, "metadata": tags});
        let what = format!("make a copy of the root disk of server `{}`", server.name);
        let copy = self.api.make_volume(&what, copy).await?;
        self.api.volume_is_free(&copy, copied_max(gib)).await?;
        self.api.delete_image(image).await?;
        Ok(copy)
    }

    pub(super) async fn moment_of_volume(&self, volume: &Volume, moment: Moment) -> Result<String, Error> {
        let user = match volume.attachments.first() {
            Some(attached) => self.api.server(&attached.server_id).await?,
            None => None,
        };
        self.moment(user.as_ref(), moment).await
    }

    /// The name of the moment, the same as long as its disks cannot have changed.
    pub(super) async fn moment(&self, server: Option<&Server>, moment: Moment) -> Result<String, Error> {
        let (Some(server), Moment::Stopped) = (server, moment) else {
            return Ok(match moment {
                Moment::Running => "running".to_owned(),
                Moment::Stopped => "detached".to_owned(),
            });
        };
        if power_of(server) != Power::Stopped {
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("copy the disks of server `{}`, which is not off", server.name),
                remedy: "leave it off until the relocation has ended, and request it again".to_owned(),
            });
        }
        let stamp = self.stamp_of(server).await?;
        Ok(format!("stopped {}", Uuid::new_v5(&MOMENTS, stamp.as_bytes())))
    }

    /// Those of other moments are removed.
    async fn good_copy(
        &self,
        relocation: RelocationId,
        of: &str,
        moment: &str,
    ) -> Result<Option<String>, Error> {
        let mut good = None;
        for volume in self.api.volumes_of(relocation).await? {
            let is = |key: &str, value: &str| volume.metadata.get(key).is_some_and(|found| found == value);
            if !tag::has(&volume.metadata, relocation, Role::Copy) || !is(OF, of) {
                continue;
            }
            let whole = matches!(volume.status.as_str(), "available" | "in-use");
            if is(MOMENT, moment) && whole && good.is_none() {
                good = Some(volume.id);
            } else {
                self.release(relocation, &volume).await?;
                self.api.delete_volume(&volume.id).await?;
            }
        }
        Ok(good)
    }

    /// Those of other moments, and of attempts that failed. Their clones are gone by now.
    pub(super) async fn drop_snapshots_of(&self, relocation: RelocationId, of: &str) -> Result<(), Error> {
        for snapshot in self.api.snapshots_of(relocation).await? {
            let copy = tag::has(&snapshot.metadata, relocation, Role::Copy);
            if copy && snapshot.metadata.get(OF).is_some_and(|found| found == of) {
                self.api.delete_snapshot(&snapshot.id).await?;
            }
        }
        Ok(())
    }

    /// Of one disk, whose bytes have arrived.
    pub(super) async fn drop_copies_of(&self, relocation: RelocationId, of: &str) -> Result<(), Error> {
        // Of no moment that there is.
        self.good_copy(relocation, of, "").await?;
        self.drop_snapshots_of(relocation, of).await
    }

    /// All copies, and what they were made from. Volumes first: a snapshot may be held by its clone.
    pub(super) async fn drop_copies(&self, relocation: RelocationId) -> Result<(), Error> {
        let mut copies = self.api.volumes_of(relocation).await?;
        copies.retain(|volume| tag::has(&volume.metadata, relocation, Role::Copy));
        let removed = copies.iter().map(|volume| async {
            self.release(relocation, volume).await?;
            self.api.delete_volume(&volume.id).await
        });
        try_join_all(removed).await?;
        let mut snapshots = self.api.snapshots_of(relocation).await?;
        snapshots.retain(|snapshot| !tag::has(&snapshot.metadata, relocation, Role::Kept));
        try_join_all(snapshots.iter().map(|snapshot| self.api.delete_snapshot(&snapshot.id))).await?;
        let images = self.api.images_of(relocation).await?.into_iter();
        for image in images.filter(|image| !is_copied(image) && !is_kept(image)) {
            self.api.delete_image(&image.id).await?;
        }
        Ok(())
    }
}

fn copy_name(relocation: RelocationId) -> String {
    format!("fluidcloud-{}-copy", tag::label(relocation))
}

/// What a root disk on a hypervisor takes as a volume.
pub(super) fn root_gib(server: &Server, image: &Image) -> u64 {
    let virtual_gib = image.virtual_size.map_or(0, |bytes| bytes.div_ceil(GIB));
    server.flavor.disk.max(image.min_disk).max(virtual_gib).max(1)
}

pub(super) fn copy_tags(relocation: RelocationId, of: &str, moment: &str) -> Value {
    tag::metadata(relocation, Role::Copy, &[(OF, of.to_owned()), (MOMENT, moment.to_owned())])
}
