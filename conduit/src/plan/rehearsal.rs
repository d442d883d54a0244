//! What is to be tried inside a guest at the source before anything is copied: all that its later steps will do.

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::request::{InstanceComponent, RelocationRequest};
use fluidcloud_proto::task::{Adaptation, Folding, GuestDisk, Hardware, RehearseGuest};
use fluidcloud_proto::topology::{Instance, Topology};

use super::parts;
use crate::relocation::folds_into;

/// One for each component that is changed, in the order of the request. What `fluidcloud plan --rehearse` tries.
pub fn rehearsals(
    request: &RelocationRequest,
    topology: &Topology,
    hardware: &Hardware,
) -> Result<Vec<RehearseGuest>, Failure> {
    let parts = parts(request, topology)?;
    let changed = parts.iter().filter(|part| part.is_changed());
    Ok(changed.map(|part| rehearsal(part.name, part.wanted, part.found, hardware)).collect())
}

pub(crate) fn rehearsal(
    component: &ComponentName,
    wanted: &InstanceComponent,
    found: &Instance,
    hardware: &Hardware,
) -> RehearseGuest {
    let disk = |disk: &fluidcloud_proto::topology::Disk| GuestDisk {
        disk: DiskId { component: component.clone(), disk: disk.name.clone() },
        place: disk.place.clone(),
        guest_device: disk.guest_device.clone(),
        staging: folds_into(wanted, &disk.name).is_some(),
    };
    let disks: Vec<GuestDisk> = found.disks.iter().map(disk).collect();
    let fold = |disk: &GuestDisk| {
        let into = folds_into(wanted, &disk.disk.disk)?.to_owned();
        Some(Folding { volume: disk.disk.clone(), into })
    };
    let adapt =
        wanted.guest.is_adapt().then(|| Adaptation { nics: found.nics.clone(), hardware: hardware.clone() });
    RehearseGuest {
        folds: disks.iter().filter_map(fold).collect(),
        disks,
        adapt,
        rules: wanted.rewrite.clone(),
    }
}
