//! What takes a step back, by our tag only, and the last look that nothing of ours is left.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_providers::Made;

use super::{Scene, UNDO_GRACE, call};

impl Scene<'_> {
    pub(super) async fn undo(&self, step: &StepId) -> Result<(), Failure> {
        let id = self.relocation.id;
        match step {
            // Held until the target is gone: a source that starts by itself must not meet it.
            StepId::Commit => {
                for (component, _) in self.relocation.moving() {
                    self.hold(component).await?;
                }
                Ok(())
            }
            // Off before anything that it needs is started at the source again; the undo of `create` finds it gone.
            StepId::Verify(component) if self.target.deletes_running() => {
                let name = self.target_name(component)?;
                call("the removal of the target", self.target.delete_instance(id, name)).await
            }
            StepId::Verify(component) => {
                let name = self.target_name(component)?;
                // By tag, never by name alone: an instance of somebody else may have the name by now.
                if self.made().await?.contains(&Made::Instance { name: name.clone() }) {
                    call("the stop of the target", self.target.stop(name, UNDO_GRACE)).await?;
                }
                Ok(())
            }
            StepId::Create(component) => {
                let name = self.target_name(component)?;
                call("the removal of the target", self.target.delete_instance(id, name)).await
            }
            StepId::Snapshot(component) => self.undo_snapshot(component).await,
            StepId::SetAside(component) => self.undo_set_aside(component).await,
            StepId::KeepImage(component) => self.undo_keep_image(component).await,
            StepId::Freeze(component) => {
                let name = self.source_name(component)?;
                // Without our mark it was not touched, and whoever stopped or paused it had a reason.
                if !call("the look at the source's mark", self.source.is_kept(name, id)).await? {
                    return Ok(());
                }
                // One that did not run is not started. The mark goes after the start, as it says that this is still to
                // be done; and should its host have rebooted in between, it is started again.
                let runs = self.relocation.ran_before(component);
                if runs {
                    call("the start of the source", self.source.start(name)).await?;
                }
                call("the release of the source", self.source.release_source(name, id)).await?;
                if runs {
                    call("the start of the source", self.source.start(name)).await?;
                }
                Ok(())
            }
            StepId::Address(component) => {
                let name = self.target_name(component)?;
                call("the release of addresses", self.target.release_addresses(id, name)).await
            }
            StepId::Prepare(disk) => {
                call("the removal of a target disk", self.target.delete_disk(id, disk)).await
            }
            StepId::Copy(component) => self.undo_copy(component).await,
            StepId::Furnish => self.unfurnish().await,
            StepId::Reserve => self.sweep().await,
            _ => Ok(()),
        }
    }

    async fn made(&self) -> Result<Vec<Made>, Failure> {
        call("the look for what was made", self.target.made_for(self.relocation.id)).await
    }

    /// Removes what carries our tag although its own undo is done, and fails naming it when it stays.
    async fn sweep(&self) -> Result<(), Failure> {
        let id = self.relocation.id;
        // Copies of its disks and the helper that showed them.
        let at_source = call("the tidying of the source", self.source.settle(id));
        let (target, source) = futures::future::join(self.sweep_target(id), at_source).await;
        target.and(source)
    }

    async fn sweep_target(&self, id: RelocationId) -> Result<(), Failure> {
        self.sweep_alone().await?;
        self.sweep_kept().await?;
        let left = self.made().await?;
        if left.is_empty() {
            return Ok(());
        }
        tracing::warn!(relocation = %id, ?left, "sweeping what undone steps left at the target");
        let instances: Vec<&InstanceName> = left
            .iter()
            .filter_map(|made| match made {
                Made::Instance { name } => Some(name),
                Made::Disk { .. } | Made::Scrap { .. } | Made::Image { .. } | Made::Furniture { .. } => None,
            })
            .collect();
        for name in instances {
            call("the removal of the target", self.target.delete_instance(id, name)).await?;
        }
        for disk in self.disks()? {
            call("the removal of a target disk", self.target.delete_disk(id, &disk)).await?;
        }
        call("the tidying of the target", self.target.settle(id)).await?;
        if left.iter().any(|made| matches!(made, Made::Furniture { .. })) {
            self.unfurnish().await?;
        }
        let left = self.made().await?;
        if left.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = left
            .iter()
            .map(|made| match made {
                Made::Instance { name } => format!("instance {name}"),
                Made::Disk { path } => format!("disk {path}"),
                Made::Image { name } => format!("image {name}"),
                Made::Scrap { path } => path.clone(),
                Made::Furniture { what } => what.clone(),
            })
            .collect();
        let message = format!("{} still has of this relocation: {}", self.target_id, names.join(", "));
        Err(Failure::later(Code::Provider, message, "remove these by hand"))
    }
}
