//! The tasks of what moves without an instance, and its names at the target.

use fluidcloud_proto::alone::{CopyContainer, CopyImage, DetachedVolume};
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::request::Component;
use fluidcloud_proto::task::Work;

use super::Relocation;
use super::task::amiss;

impl Relocation {
    pub(super) fn copy(&self, name: &ComponentName) -> Result<Work, Failure> {
        let source = self.request.service.provider.clone();
        let asked =
            self.asked(name).ok_or_else(|| amiss(format!("component {name} is not in the request")))?;
        if let Some(container) = &asked.container {
            return Ok(Work::CopyContainer(CopyContainer {
                component: name.clone(),
                source,
                from: container.id.clone(),
                to: container.name_at_target().to_owned(),
            }));
        }
        let found = self.topology.as_ref().and_then(|topology| topology.image(name));
        match (&asked.image, found) {
            (Some(image), Some(found)) => Ok(Work::CopyImage(CopyImage {
                component: name.clone(),
                source,
                id: found.id.clone(),
                name: image.target_name.clone().unwrap_or_else(|| found.name.clone()),
                visibility: image.visibility,
            })),
            _ => Err(amiss(format!("component {name} is neither an image nor a container"))),
        }
    }

    fn asked(&self, name: &ComponentName) -> Option<&Component> {
        self.request.service.components.iter().find(|component| component.name == *name)
    }
}

pub(crate) fn target_name_of_volume<'a>(
    relocation: &'a Relocation,
    component: &ComponentName,
    found: &'a DetachedVolume,
) -> &'a str {
    let asked = relocation.asked(component).and_then(|component| component.volume.as_ref());
    asked.and_then(|volume| volume.target_name.as_deref()).unwrap_or(&found.name)
}
