//! What moves without an instance, for people.

use fluidcloud_proto::topology::Topology;

use super::text;
use crate::units;

/// One line each, and then the concerns about them.
pub fn text(topology: &Topology) -> String {
    let volumes = topology.volumes.iter().map(|volume| {
        let (found, size) = (&volume.found, units::bytes(volume.found.disk.size_bytes));
        format!("{} is volume {} ({}), {size}", volume.component, found.name, found.id)
    });
    let images = topology.images.iter().map(|image| {
        let (found, size) = (&image.found, units::bytes(image.found.size_bytes));
        format!("{} is image {} ({}), {size} of {}", image.component, found.name, found.id, found.disk_format)
    });
    let containers = topology.containers.iter().map(|container| {
        let (found, size) = (&container.found, units::bytes(container.found.bytes));
        format!("{} is container {}, {} objects, {size}", container.component, found.name, found.objects)
    });
    let mut lines: Vec<String> = volumes.chain(images).chain(containers).collect();
    lines.push(concerns(topology));
    lines.retain(|line| !line.is_empty());
    lines.join("\n")
}

/// Those of instances are told with them.
fn concerns(topology: &Topology) -> String {
    let volumes = topology.volumes.iter().flat_map(|volume| &volume.found.concerns);
    let images = topology.images.iter().flat_map(|image| &image.found.concerns);
    let containers = topology.containers.iter().flat_map(|container| &container.found.concerns);
    text::concerns(&volumes.chain(images).chain(containers).cloned().collect::<Vec<_>>())
}
