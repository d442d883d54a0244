//! What the relocation is about, from what was asked for and what was found.

use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::part::{Part, PartDisk, PartKind};
use fluidcloud_proto::request::{Component, InstanceComponent};
use fluidcloud_proto::topology::{Disk, Instance, Topology};

use crate::relocation::{Relocation, folds_into, target_name};

/// In the order of the request; none before it was inspected.
pub(super) fn parts(relocation: &Relocation) -> Vec<Part> {
    let Some(topology) = &relocation.topology else { return Vec::new() };
    let components = relocation.request.service.components.iter();
    components.filter_map(|component| part(component, topology)).collect()
}

fn part(component: &Component, topology: &Topology) -> Option<Part> {
    let name = &component.name;
    let mut part = if let Some(wanted) = &component.instance {
        instance(name, wanted, &topology.placed(name)?.instance)
    } else if let Some(wanted) = &component.volume {
        let found = topology.volume(name)?;
        let disks = vec![disk(&found.disk, None)];
        Part { disks, ..named(name, PartKind::Volume, &found.name, wanted.target_name.as_deref()) }
    } else if let Some(wanted) = &component.image {
        named(name, PartKind::Image, &topology.image(name)?.name, wanted.target_name.as_deref())
    } else if let Some(wanted) = &component.container {
        named(name, PartKind::Container, &topology.container(name)?.name, Some(wanted.name_at_target()))
    } else {
        named(name, PartKind::Stays, &component.stays.as_ref()?.url, None)
    };
    part.needs.clone_from(&component.needs);
    Some(part)
}

fn instance(component: &ComponentName, wanted: &InstanceComponent, found: &Instance) -> Part {
    let at_target = target_name(wanted).as_str();
    let mut networks: Vec<String> = Vec::new();
    for nic in &found.nics {
        if !networks.contains(&nic.network) {
            networks.push(nic.network.clone());
        }
    }
    Part {
        vcpus: Some(found.vcpus),
        memory_bytes: Some(found.memory_bytes),
        disks: found.disks.iter().map(|found| disk(found, folds_into(wanted, &found.name))).collect(),
        networks,
        ..named(component, PartKind::Instance, found.name.as_str(), Some(at_target))
    }
}

fn disk(found: &Disk, fold_into: Option<&str>) -> PartDisk {
    PartDisk {
        disk: found.name.clone(),
        size_bytes: found.size_bytes,
        role: found.role,
        fold_into: fold_into.map(str::to_owned),
    }
}

fn named(component: &ComponentName, kind: PartKind, name: &str, target_name: Option<&str>) -> Part {
    Part {
        component: component.clone(),
        kind,
        name: name.to_owned(),
        target_name: target_name.filter(|given| *given != name).map(str::to_owned),
        needs: Vec::new(),
        vcpus: None,
        memory_bytes: None,
        disks: Vec::new(),
        networks: Vec::new(),
    }
}
