//! An instance as the cloud's APIs tell of it: server or definition, its volumes in the guest's order, its ports.

use std::collections::BTreeMap;

use fluidcloud_proto::ids::{DiskName, InstanceName};
use fluidcloud_proto::topology::{Disk, DiskRole, Firmware, Instance, Power};
use serde_json::Value;

use super::definition::Definition;
use super::networks::Port;
use super::orphans::text;
use super::place::Spot;
use super::power::{Found, addresses, power_of};
use super::servers::{Flavor, Server};
use super::tag::{self, Metadata};
use super::volumes::{GIB, Image, Volume};
use super::{OpenstackProvider, concerns};
use crate::error::Error;

const MIB: u64 = 1 << 20;

/// What an image, or the volume made of it, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub disk_bus: String,
    pub nic: String,
    pub machine: String,
    pub firmware: Firmware,
}

impl Asked {
    /// What is left out is what QEMU gets from Nova by itself.
    fn of(properties: &BTreeMap<String, Value>) -> Self {
        let of = |key: &str, else_: &str| text(properties.get(key)).unwrap_or_else(|| else_.to_owned());
        let uefi = of("hw_firmware_type", "bios") == "uefi";
        Self {
            disk_bus: of("hw_disk_bus", "virtio"),
            nic: of("hw_vif_model", "virtio"),
            machine: of("hw_machine_type", "pc"),
            firmware: if uefi { Firmware::Uefi } else { Firmware::Bios },
        }
    }
}

/// All that an instance is made of.
#[derive(Debug)]
pub(super) struct Parts {
    pub server: Option<Server>,
    pub flavor: Flavor,
    pub image: Option<Image>,
    /// With the device at which the guest sees it, in that order.
    pub volumes: Vec<(String, Volume)>,
    pub ports: Vec<Port>,
    pub asked: Asked,
}

impl OpenstackProvider {
    pub(super) async fn describe(&self, instance: &InstanceName) -> Result<Instance, Error> {
        let (parts, power, addresses, metadata) = match self.find(instance).await? {
            Found::Server(server) => {
                let power = power_of(&server);
                let known = if power == Power::Running { addresses(&server) } else { Vec::new() };
                let metadata = server.metadata.clone();
                (self.parts_of_server(*server).await?, power, known, metadata)
            }
            Found::Defined(defined) => {
                let metadata = defined.volumes.first().map(|root| root.metadata.clone()).unwrap_or_default();
                (self.parts_of_definition(*defined).await?, Power::Stopped, Vec::new(), metadata)
            }
        };
        let around = self.around().await?;
        Ok(Instance {
            name: instance.clone(),
            power,
            autostart: starts_by_itself(&metadata),
            machine: parts.asked.machine.clone(),
            firmware: parts.asked.firmware,
            vcpus: parts.flavor.vcpus,
            memory_bytes: parts.flavor.ram.saturating_mul(MIB),
            disks: self.disks_of(&parts),
            nics: parts.ports.iter().map(|port| around.nic(port, &parts.asked.nic)).collect(),
            addresses,
            settings: Some(Box::new(around.settings(&parts))),
            concerns: concerns::of(instance.as_str(), &parts, &around),
        })
    }

    pub(super) async fn parts_of_server(&self, server: Server) -> Result<Parts, Error> {
        let looks = server.volumes.iter().map(|volume| self.api.volume(&volume.id));
        let found = futures::future::try_join_all(looks).await?;
        let mut volumes: Vec<(String, Volume)> = Vec::new();
        for volume in found.into_iter().flatten() {
            let here = volume.attachments.iter().find(|attached| attached.server_id == server.id);
            let device = here.and_then(|attached| attached.device.clone()).unwrap_or_default();
            volumes.push((device, volume));
        }
        let root = server.root_device.clone();
        volumes.sort_by_key(|(device, _)| (Some(device) != root.as_ref(), device.len(), device.clone()));
        let image = match server.image_id() {
            Some(id) => self.api.image(id).await?,
            None => None,
        };
        let none = BTreeMap::new();
        let properties = match (&image, volumes.first()) {
            (Some(image), _) => &image.properties,
            (None, Some((_, root))) if server.image_id().is_none() => &root.volume_image_metadata,
            _ => &none,
        };
        let asked = Asked::of(properties);
        let mut ports = self.api.ports_of_server(&server.id).await?;
        ports.sort_by(|a, b| (&a.description, &a.id).cmp(&(&b.description, &b.id)));
        let flavor = server.flavor.clone();
        Ok(Parts { server: Some(server), flavor, image, volumes, ports, asked })
    }

    async fn parts_of_definition(&self, defined: Definition) -> Result<Parts, Error> {
        let ports = self.defined_ports(defined.relocation, &defined.name).await?;
        let flavors = self.api.flavors().await?;
        let flavor = flavors.into_iter().find(|flavor| flavor.id == defined.flavor);
        let flavor = flavor.ok_or_else(|| self.api.lost(format!("flavor {}", defined.flavor)))?;
        let mut asked = match defined.volumes.first() {
            Some(root) => Asked::of(&root.volume_image_metadata),
            None => Asked::of(&BTreeMap::new()),
        };
        asked.firmware = defined.firmware;
        let device = |at: usize| device_name(&asked.disk_bus, at);
        let volumes = defined.volumes.into_iter().enumerate();
        let volumes = volumes.map(|(at, volume)| (device(at), volume)).collect();
        Ok(Parts { server: None, flavor, image: None, volumes, ports, asked })
    }

    fn disks_of(&self, parts: &Parts) -> Vec<Disk> {
        let dir = self.config.site_dir();
        let bus = &parts.asked.disk_bus;
        let mut disks = Vec::new();
        if let Some(server) = parts.server.as_ref().filter(|server| server.image_id().is_some()) {
            let device = server.root_device.clone().unwrap_or_else(|| device_name(bus, 0));
            let size_bytes = root_bytes(parts);
            disks.extend(disk_name(&device).map(|name| Disk {
                name,
                role: DiskRole::Root,
                bus: bus.clone(),
                guest_device: in_guest(&device),
                size_bytes,
                // What the hypervisor holds of it is told to nobody.
                allocated_bytes: size_bytes,
                place: Spot::RootOf(server.id.clone()).place(dir),
                volume_type: None,
            }));
        }
        for (device, volume) in &parts.volumes {
            let role = if disks.is_empty() { DiskRole::Root } else { DiskRole::Volume };
            let device = if device.is_empty() { device_name(bus, disks.len()) } else { device.clone() };
            disks.extend(disk_name(&device).map(|name| Disk {
                name,
                role,
                bus: bus.clone(),
                guest_device: in_guest(&device),
                size_bytes: volume.size.saturating_mul(GIB),
                allocated_bytes: volume.size.saturating_mul(GIB),
                place: Spot::Volume(volume.id.clone()).place(dir),
                volume_type: volume.volume_type.clone(),
            }));
        }
        disks
    }
}

/// 0 where nobody says.
pub(super) fn root_bytes(parts: &Parts) -> u64 {
    let flavor = parts.flavor.disk.saturating_mul(GIB);
    if flavor > 0 {
        return flavor;
    }
    // A flavor without a size: as large as the image.
    let image = parts.image.as_ref();
    let told = image.map_or(0, |image| image.virtual_size.unwrap_or(0).max(image.min_disk * GIB));
    told.div_ceil(GIB) * GIB
}

/// What a host with such a thing would be told; see `tag::AUTOSTART`.
fn starts_by_itself(metadata: &Metadata) -> bool {
    metadata.get(tag::AUTOSTART).is_some_and(|found| found == "true")
}

/// Nova says `hda` of a disk on IDE, where Linux has said `sda` for long.
fn in_guest(device: &str) -> String {
    device.replacen("/dev/hd", "/dev/sd", 1)
}

fn device_name(bus: &str, at: usize) -> String {
    let family = if bus == "virtio" { "vd" } else { "sd" };
    let letter = char::from(b'a' + u8::try_from(at.min(25)).unwrap_or(25));
    format!("/dev/{family}{letter}")
}

fn disk_name(device: &str) -> Option<DiskName> {
    device.rsplit('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_an_image_does_not_ask_for_is_what_nova_gives() {
        let none = Asked::of(&BTreeMap::new());
        assert_eq!((none.disk_bus.as_str(), none.firmware), ("virtio", Firmware::Bios));
        let asked = BTreeMap::from([
            ("hw_disk_bus".to_owned(), json!("scsi")),
            ("hw_firmware_type".to_owned(), json!("uefi")),
        ]);
        assert_eq!(
            (Asked::of(&asked).disk_bus.as_str(), Asked::of(&asked).firmware),
            ("scsi", Firmware::Uefi)
        );
    }

    #[test]
    fn a_disk_has_the_name_of_its_device() {
        assert_eq!(disk_name(&device_name("virtio", 1)).unwrap().as_str(), "vdb");
        assert_eq!(disk_name(&device_name("scsi", 0)).unwrap().as_str(), "sda");
        assert_eq!(disk_name(""), None);
    }
}
