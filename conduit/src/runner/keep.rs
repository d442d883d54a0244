//! What stays of the move: a snapshot at the source, an image at the target.

use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::{KeepOrder, SnapshotOrder};

use super::{CALL_MAX, Scene, call, call_within, told};
use crate::relocation::Done;

impl Scene<'_> {
    /// What the target would refuse is found out while the source still runs.
    pub(super) async fn reserve_kept(&self) -> Result<(), Failure> {
        for (component, wanted) in self.relocation.moving() {
            if wanted.image.is_none() {
                continue;
            }
            // Where the disk will be is not known yet, and not asked for.
            let format = self.target.hardware().format;
            let order = self.keep_order(component, DiskPlace { path: String::new(), format })?;
            let keepsakes = self.target.keepsakes().map_err(told)?;
            call("the look at what images are taken", keepsakes.may_keep(&order)).await?;
        }
        Ok(())
    }

    pub(super) async fn snapshot(&self, component: &ComponentName) -> Result<Done, Failure> {
        let asked = self.relocation.component(component)?;
        let order = SnapshotOrder {
            relocation: self.relocation.id,
            component: component.clone(),
            instance: asked.id.clone(),
            name: asked.snapshot.clone().ok_or_else(|| not_asked("a snapshot", component))?,
        };
        let keepsakes = self.source.keepsakes().map_err(told)?;
        let within = self.copied_max(component)?;
        let kept = call_within(within, "the snapshot of the source", keepsakes.take_snapshot(&order)).await?;
        Ok(Done::Kept { kept })
    }

    pub(super) async fn set_aside(&self, component: &ComponentName) -> Result<Done, Failure> {
        let order = self.keep_order(component, self.root_at_target(component)?)?;
        let keepsakes = self.target.keepsakes().map_err(told)?;
        let within = self.copied_max(component)?;
        call_within(within, "the setting aside of a disk", keepsakes.set_aside(&order)).await?;
        Ok(Done::SetAside)
    }

    pub(super) async fn keep_image(&self, component: &ComponentName) -> Result<Done, Failure> {
        let order = self.keep_order(component, self.root_at_target(component)?)?;
        let keepsakes = self.target.keepsakes().map_err(told)?;
        let within = self.copied_max(component)?;
        let kept = call_within(within, "the making of an image", keepsakes.keep_image(&order)).await?;
        Ok(Done::Kept { kept: vec![kept] })
    }

    pub(super) async fn undo_snapshot(&self, component: &ComponentName) -> Result<(), Failure> {
        let keepsakes = self.source.keepsakes().map_err(told)?;
        call("the removal of a snapshot", keepsakes.drop_snapshot(self.relocation.id, component)).await
    }

    pub(super) async fn undo_set_aside(&self, component: &ComponentName) -> Result<(), Failure> {
        let keepsakes = self.target.keepsakes().map_err(told)?;
        call("the removal of what was set aside", keepsakes.drop_aside(self.relocation.id, component)).await
    }

    pub(super) async fn undo_keep_image(&self, component: &ComponentName) -> Result<(), Failure> {
        let keepsakes = self.target.keepsakes().map_err(told)?;
        call("the removal of an image", keepsakes.drop_image(self.relocation.id, component)).await
    }

    /// Where a cloud copies every byte of the disks, at no less than 32 MiB a second.
    fn copied_max(&self, component: &ComponentName) -> Result<Duration, Failure> {
        let disks = &self.relocation.placed(component)?.instance.disks;
        let bytes: u64 = disks.iter().map(|disk| disk.size_bytes).sum();
        Ok(CALL_MAX + Duration::from_secs(bytes >> 25))
    }

    /// Whatever of it is left, although its own undo is done.
    pub(super) async fn sweep_kept(&self) -> Result<(), Failure> {
        for (component, wanted) in self.relocation.moving() {
            if wanted.image.is_some() {
                self.undo_keep_image(component).await?;
                self.undo_set_aside(component).await?;
            }
            if wanted.snapshot.is_some() {
                self.undo_snapshot(component).await?;
            }
        }
        Ok(())
    }

    fn root_at_target(&self, component: &ComponentName) -> Result<DiskPlace, Failure> {
        let root = self.relocation.placed(component)?.instance.root();
        let place = root.and_then(|root| {
            let disk = DiskId { component: component.clone(), disk: root.name.clone() };
            self.relocation.prepared(&disk).cloned()
        });
        place.ok_or_else(|| not_asked("a root disk", component))
    }

    fn keep_order(&self, component: &ComponentName, root: DiskPlace) -> Result<KeepOrder, Failure> {
        let image = self.relocation.component(component)?.image.as_ref();
        let image = image.ok_or_else(|| not_asked("an image", component))?;
        Ok(KeepOrder {
            relocation: self.relocation.id,
            component: component.clone(),
            root,
            name: image.name.clone(),
            format: image.format,
            visibility: image.visibility,
        })
    }
}

fn not_asked(what: &str, component: &ComponentName) -> Failure {
    let message = format!("there is no word of {what} of component {component}");
    Failure::never(Code::Internal, message, "report this with the relocation's log")
}
