//! What the conduit does itself for what moves without an instance: names are looked at before anything is made, the source
//! before the commit; the rest is undone by tag.

use std::sync::Arc;

use fluidcloud_proto::alone::{DetachedVolume, disk_of};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::request::{Component, ContainerComponent};
use fluidcloud_proto::topology::Severity;
use fluidcloud_providers::{ObjectStore, Provider};

use super::{Scene, call, told};
use crate::relocation::target_name_of_volume;

impl Scene<'_> {
    fn alone(&self) -> impl Iterator<Item = &Component> {
        self.relocation.request.service.components.iter().filter(|component| component.is_alone())
    }

    pub(super) fn containers(&self) -> impl Iterator<Item = (&ComponentName, &ContainerComponent)> {
        self.alone().filter_map(|component| Some((&component.name, component.container.as_ref()?)))
    }

    fn volumes(&self) -> impl Iterator<Item = (&ComponentName, &DetachedVolume)> {
        let topology = self.relocation.topology.iter();
        topology.flat_map(|topology| &topology.volumes).map(|volume| (&volume.component, &volume.found))
    }

    pub(super) fn lone_disks(&self) -> impl Iterator<Item = DiskId> {
        self.volumes().map(|(component, _)| disk_of(component))
    }

    /// The target can take each, under its name.
    pub(super) async fn reserve_alone(&self) -> Result<(), Failure> {
        let id = self.relocation.id;
        for (component, volume) in self.volumes() {
            let volumes = self.target.volumes().map_err(told)?;
            let name = target_name_of_volume(self.relocation, component, volume);
            call("the look at a name", volumes.is_name_free(id, name)).await?;
        }
        if self.alone().any(|component| component.image.is_some()) {
            self.target.images().map_err(told)?;
        }
        for (_, container) in self.containers() {
            let objects = self.target.objects().map_err(told)?;
            call("the look at a name", objects.is_name_free(id, container.name_at_target())).await?;
        }
        Ok(())
    }

    /// What was copied is what there is: nobody has used the volumes since the inspection.
    pub(super) async fn volumes_are_untouched(&self) -> Result<(), Failure> {
        for (component, found) in self.volumes() {
            let volumes = self.source.volumes().map_err(told)?;
            let now = call("the look at a volume", volumes.volume(&found.id)).await?;
            let source = &self.relocation.request.service.provider;
            let remedy = "leave it alone until the relocation has ended, and request it again";
            if let Some(concern) = now.concerns.iter().find(|concern| concern.severity == Severity::Critical)
            {
                let message = format!(
                    "volume {} of component {component} at {source}: {}",
                    found.name, concern.message
                );
                return Err(Failure::never(Code::SourceChanged, message, &concern.remedy));
            }
            if now.stamp != found.stamp || now.disk.size_bytes != found.disk.size_bytes {
                let message = format!(
                    "volume {} of component {component} at {source} was used or changed during the move",
                    found.name
                );
                return Err(Failure::never(Code::SourceChanged, message, remedy));
            }
        }
        Ok(())
    }

    /// People find the volumes under their names.
    pub(super) async fn name_volumes(&self) -> Result<(), Failure> {
        for (component, found) in self.volumes() {
            let volumes = self.target.volumes().map_err(told)?;
            let name = target_name_of_volume(self.relocation, component, found);
            let disk = disk_of(component);
            let named = volumes.name_disk(self.relocation.id, &disk, name);
            call("the naming of a volume", named).await?;
        }
        Ok(())
    }

    pub(super) async fn undo_copy(&self, component: &ComponentName) -> Result<(), Failure> {
        let id = self.relocation.id;
        if let Some((_, container)) = self.containers().find(|(name, _)| *name == component) {
            let removed = objects(&*self.target)?;
            return call(
                "the removal of a container",
                removed.remove_container(id, container.name_at_target()),
            )
            .await;
        }
        let images = self.target.images().map_err(told)?;
        call("the removal of an image", images.delete_image(id, component)).await
    }

    /// Whatever of it is left, although its own undo is done.
    pub(super) async fn sweep_alone(&self) -> Result<(), Failure> {
        for component in self.alone().filter(|component| component.volume.is_none()) {
            self.undo_copy(&component.name).await?;
        }
        Ok(())
    }
}

fn objects(target: &dyn Provider) -> Result<Arc<dyn ObjectStore>, Failure> {
    target.objects().map_err(told)
}
