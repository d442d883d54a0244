//! A topology for people.

use fluidcloud_proto::surroundings::{BootSource, Settings};
use fluidcloud_proto::topology::{Concern, Disk, DiskRole, Instance, Nic, Placed, Power, Topology};

use super::{alone, around};
use crate::report::severity;
use crate::table::Table;
use crate::units;

pub fn topology(topology: &Topology) -> String {
    let mut parts: Vec<String> = topology.instances.iter().map(placed).collect();
    let alone = alone::text(topology);
    if topology.instances.is_empty() && topology.stays.is_empty() && alone.is_empty() {
        parts.push(format!("no instance runs or is defined at {}", topology.provider));
    }
    parts.push(alone);
    parts.extend(
        topology.stays.iter().map(|link| format!("{} stays: {} at {}", link.component, link.kind, link.url)),
    );
    parts.push(around::text(&topology.surroundings));
    parts.push(concerns(&topology.concerns));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn placed(placed: &Placed) -> String {
    let needs: Vec<&str> = placed.needs.iter().map(|name| name.as_str()).collect();
    let needs = if needs.is_empty() { String::new() } else { format!(", needs {}", needs.join(", ")) };
    let text = instance(&placed.instance);
    // One that no request names is called as its instance.
    if needs.is_empty() && placed.component.as_str() == placed.instance.name.as_str() {
        return text;
    }
    format!("component {}{needs}\n{text}", placed.component)
}

fn instance(instance: &Instance) -> String {
    let addresses: Vec<String> = instance.addresses.iter().map(ToString::to_string).collect();
    let firmware = format!("{:?}", instance.firmware).to_uppercase();
    let mut text = format!(
        "instance {}: {}, {} vCPUs, {} of memory, {}, {firmware}",
        instance.name,
        power(instance.power),
        instance.vcpus,
        units::bytes(instance.memory_bytes),
        instance.machine,
    );
    if !addresses.is_empty() {
        text.push_str(&format!(", at {}", addresses.join(", ")));
    }
    let mut disks =
        Table::new(&["  DISK", "ROLE", "BUS", "IN GUEST", "SIZE", "ALLOCATED", "FORMAT", "PLACE"]);
    for disk in &instance.disks {
        disks.row(disk_row(disk));
    }
    let settings = instance.settings.as_deref().map(settings).unwrap_or_default();
    let mut parts =
        vec![text, settings, disks.to_string(), nics(&instance.nics), concerns(&instance.concerns)];
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn settings(settings: &Settings) -> String {
    let boots_from = match &settings.boots_from {
        BootSource::Unknown => None,
        BootSource::Image(name) => Some(format!("image {name}")),
        BootSource::Volume(kind) if kind.is_empty() => Some("a volume".to_owned()),
        BootSource::Volume(kind) => Some(format!("a volume of type {kind}")),
    };
    let told = |what: &str, value: Option<String>| value.map(|value| format!("{what} {value}"));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let metadata: Vec<String> =
        settings.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let parts = [
        told("flavor", some(&settings.flavor)),
        told("boots from", boots_from),
        told("key pair", settings.keypair.clone()),
        told("security groups", some(&settings.security_groups.join(", "))),
        told("server group", settings.server_group.clone()),
        told("zone", settings.availability_zone.clone()),
        told("metadata", some(&metadata.join(", "))),
        settings.has_user_data.then(|| "has user data".to_owned()),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { String::new() } else { format!("  {}", parts.join("; ")) }
}

fn nics(nics: &[Nic]) -> String {
    let is_told = nics.iter().any(|nic| !nic.addresses.is_empty() || !nic.floating.is_empty());
    let header: &[&str] = match is_told {
        true => &["  NIC", "MODEL", "NETWORK", "ADDRESSES", "FLOATING"],
        false => &["  NIC", "MODEL", "NETWORK"],
    };
    let mut table = Table::new(header);
    for nic in nics {
        let list =
            |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        table.row([
            format!("  {}", nic.mac),
            nic.model.clone(),
            nic.network.clone(),
            list(&nic.addresses),
            list(&nic.floating),
        ]);
    }
    table.to_string()
}

fn disk_row(disk: &Disk) -> [String; 8] {
    let role = match disk.role {
        DiskRole::Root => "root",
        DiskRole::Volume => "volume",
    };
    [
        format!("  {}", disk.name),
        role.to_owned(),
        disk.bus.clone(),
        disk.guest_device.clone(),
        units::bytes(disk.size_bytes),
        units::bytes(disk.allocated_bytes),
        format!("{:?}", disk.place.format).to_lowercase(),
        disk.place.path.clone(),
    ]
}

/// One line each.
pub fn concerns(concerns: &[Concern]) -> String {
    let told = concerns.iter().map(|concern| {
        let severity = severity(concern.severity);
        format!("{severity}: {}: {}; {}", concern.subject, concern.message, concern.remedy)
    });
    told.collect::<Vec<_>>().join("\n")
}

fn power(power: Power) -> &'static str {
    match power {
        Power::Running => "running",
        Power::Stopped => "stopped",
        Power::Other => "neither running nor stopped",
    }
}
