//! `fluidcloud inspect`: what runs at a provider, one instance, or the service of a request, and what may hinder a
//! move. Reads only.

use std::path::Path;

use fluidcloud_conduit::runner::inspect::inspect;
use fluidcloud_conduit::web::HttpWeb;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::topology::{Concern, Disk, DiskRole, Instance, Power, Topology};
use fluidcloud_providers::Registry;
use serde_json::json;

use super::request;
use crate::args::{InspectArgs, Output};
use crate::config::Config;
use crate::fault::Fault;
use crate::output;
use crate::report::severity;
use crate::service;
use crate::table::Table;
use crate::units;

pub async fn run(config: &Config, told: InspectArgs) -> Result<(), Fault> {
    let registry = service::registry(config)?;
    let provider = told.what.parse::<ProviderId>().ok().filter(|id| registry.get(id).is_ok());
    match (provider, &told.instance) {
        (Some(id), None) => instances(&registry, &id, told.output).await,
        (Some(id), Some(name)) => {
            let instance = registry.get(&id)?.inspect(name).await?;
            match told.output {
                Output::Json => output::json(&instance),
                Output::Text => output::line(instance_text(&instance)),
            }
        }
        (None, None) if told.what == "-" || Path::new(&told.what).exists() => service(&registry, &told).await,
        (None, _) => Err(Fault::usage(
            format!("`{}` is neither a configured provider nor a request file", told.what),
            "name a provider that `fluidcloud providers` lists, or a file that exists",
        )),
    }
}

async fn instances(registry: &Registry, id: &ProviderId, output: Output) -> Result<(), Fault> {
    let instances = registry.get(id)?.instances().await?;
    if output == Output::Json {
        let all: Vec<_> =
            instances.iter().map(|(name, power)| json!({ "name": name, "power": power })).collect();
        return output::json(&all);
    }
    let mut table = Table::new(&["INSTANCE", "POWER"]);
    for (name, power) in instances {
        table.row([name.to_string(), power_text(power).to_owned()]);
    }
    output::line(table.to_string())
}

async fn service(registry: &Registry, told: &InspectArgs) -> Result<(), Fault> {
    let request = request::read(Path::new(&told.what))?;
    let topology = inspect(registry, &HttpWeb::new(), &request).await?;
    match told.output {
        Output::Json => output::json(&topology),
        Output::Text => output::line(topology_text(&topology)),
    }
}

fn topology_text(topology: &Topology) -> String {
    let mut parts: Vec<String> = topology
        .instances
        .iter()
        .map(|placed| {
            let needs: Vec<&str> = placed.needs.iter().map(|name| name.as_str()).collect();
            let needs =
                if needs.is_empty() { String::new() } else { format!(", needs {}", needs.join(", ")) };
            format!("component {}{needs}\n{}", placed.component, instance_text(&placed.instance))
        })
        .collect();
    parts.extend(
        topology.stays.iter().map(|link| format!("{} stays: {} at {}", link.component, link.kind, link.url)),
    );
    parts.push(concerns_text(&topology.concerns));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn instance_text(instance: &Instance) -> String {
    let addresses: Vec<String> = instance.addresses.iter().map(ToString::to_string).collect();
    let firmware = format!("{:?}", instance.firmware).to_uppercase();
    let mut text = format!(
        "instance {}: {}, {} vCPUs, {} of memory, {}, {firmware}",
        instance.name,
        power_text(instance.power),
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
    let mut nics = Table::new(&["  NIC", "MODEL", "NETWORK"]);
    for nic in &instance.nics {
        nics.row([format!("  {}", nic.mac), nic.model.clone(), nic.network.clone()]);
    }
    let mut parts = vec![text, disks.to_string(), nics.to_string(), concerns_text(&instance.concerns)];
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
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
pub fn concerns_text(concerns: &[Concern]) -> String {
    let told = concerns.iter().map(|concern| {
        let severity = severity(concern.severity);
        format!("{severity}: {}: {}; {}", concern.subject, concern.message, concern.remedy)
    });
    told.collect::<Vec<_>>().join("\n")
}

fn power_text(power: Power) -> &'static str {
    match power {
        Power::Running => "running",
        Power::Stopped => "stopped",
        Power::Other => "neither running nor stopped",
    }
}
