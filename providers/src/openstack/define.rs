//! Instances at a target: defined on volumes and ports, made into a server by their first start, removed by their tag.

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Firmware;
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::OpenstackProvider;
use super::definition::{self, Definition, LAST};
use super::place::Spot;
use super::servers::{BUILD_MAX, Server};
use super::tag::{self, Role};
use super::volumes::Volume;
use super::wait::until;
use crate::error::Error;
use crate::furnishing::Size;
use crate::provider::InstanceOrder;

impl OpenstackProvider {
    pub(super) async fn define(&self, order: &InstanceOrder) -> Result<(), Error> {
        let (servers, volumes) = futures::future::try_join(self.api.servers(), self.api.volumes()).await?;
        self.is_free_or_ours(&servers, &volumes, &order.name, order.relocation)?;
        let known = definition::among(&volumes);
        let ours = |server: &&Server| {
            server.name == order.name.as_str() && tag::has(&server.metadata, order.relocation, Role::Server)
        };
        if servers.iter().any(|server| ours(&server))
            || known.iter().any(|known| known.name == order.name && known.relocation == order.relocation)
        {
            return Ok(());
        }
        let all = self.api.flavors().await?;
        let flavor = self.flavor_for(&all, &Size::of(order))?;
        let disks = self.ordered_disks(order, &volumes)?;
        // The helper stays until all is settled: the source is off by now, and nobody shall wait for it to go.
        try_join_all(disks.iter().map(|volume| self.release(order.relocation, volume))).await?;
        self.make_ports(order).await?;
        self.give_addresses(order).await?;
        self.write_definition(order, &disks, &flavor.id).await
    }

    /// Its volumes, root first.
    fn ordered_disks(&self, order: &InstanceOrder, volumes: &[Volume]) -> Result<Vec<Volume>, Error> {
        let mut disks = Vec::new();
        for (disk, place) in &order.disks {
            let spot = Spot::of(place, self.config.site_dir());
            let found = volumes.iter().find(|volume| {
                let is_there = match &spot {
                    Some(Spot::Volume(id)) => *id == volume.id,
                    Some(Spot::Coming(coming)) => coming == disk && volume.metadata.contains_key(tag::DIGEST),
                    _ => false,
                };
                is_there && tag::is_disk(&volume.metadata, order.relocation, disk)
            });
            disks.push(found.cloned().ok_or_else(|| Error::Driver {
                provider: self.id.to_string(),
                what: format!("define `{}`", order.name),
                cause: format!("disk {disk} at {} was not made by this relocation", place.path).into(),
            })?);
        }
        Ok(disks)
    }

    async fn write_definition(
        &self,
        order: &InstanceOrder,
        disks: &[Volume],
        flavor: &str,
    ) -> Result<(), Error> {
        let (name, uefi) = (order.name.to_string(), order.firmware == Firmware::Uefi);
        let part = |at: usize| [(tag::INSTANCE, name.clone()), (tag::PLACE, at.to_string())];
        for (at, volume) in disks.iter().enumerate().skip(1) {
            self.api.tag_volume(&volume.id, &part(at)).await?;
        }
        let Some(root) = disks.first() else {
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("run `{name}` without a disk"),
                remedy: "give it a root disk".to_owned(),
            });
        };
        self.api
            .volume_action(&root.id, "make bootable", json!({"os-set_bootable": {"bootable": true}}))
            .await?;
        let hardware = self.hardware_properties(uefi);
        let action = json!({"os-set_image_metadata": {"metadata": hardware}});
        self.api.volume_action(&root.id, "describe the hardware for", action).await?;
        let [instance, place] = part(0);
        let firmware = if uefi { "uefi" } else { "bios" };
        let told = [
            instance,
            place,
            (tag::FIRMWARE, firmware.to_owned()),
            (tag::AUTOSTART, if order.autostart { tag::LATER } else { "false" }.to_owned()),
            (tag::NOTE, order.note.clone()),
        ];
        self.api.tag_volume(&root.id, &told).await?;
        let launch = definition::launch(order);
        if !launch.is_empty() {
            let launch: Vec<(&str, String)> = launch.iter().map(|(k, v)| (k.as_str(), v.clone())).collect();
            self.api.tag_volume(&root.id, &launch).await?;
        }
        self.api.tag_volume(&root.id, &[(LAST, flavor.to_owned())]).await
    }

    /// What Nova reads from the root's image to build the machine.
    fn hardware_properties(&self, uefi: bool) -> Value {
        let shape = &self.shape;
        let mut all = json!({
            "hw_disk_bus": shape.disk_bus,
            "hw_vif_model": shape.nic,
            "hw_machine_type": shape.machine,
            "hw_firmware_type": if uefi { "uefi" } else { "bios" },
        });
        if shape.disk_bus == "scsi" {
            all["hw_scsi_model"] = json!("virtio-scsi");
        }
        all
    }

    /// Makes the server of a definition, which starts it. Answers when it runs. Of two callers at once one has the ports
    /// and the root; the other's server fails, and goes.
    pub(super) async fn first_start(&self, defined: &Definition) -> Result<(), Error> {
        let ports = self.defined_ports(defined.relocation, &defined.name).await?;
        let networks = match ports.is_empty() {
            true => json!("none"),
            false => ports.iter().map(|port| json!({"port": port.id})).collect(),
        };
        let disks: Vec<Value> = defined
            .volumes
            .iter()
            .enumerate()
            .map(|(at, volume)| {
                json!({
                    "boot_index": if at == 0 { 0 } else { -1 },
                    "uuid": volume.id,
                    "source_type": "volume",
                    "destination_type": "volume",
                    "delete_on_termination": false,
                    "disk_bus": self.shape.disk_bus,
                })
            })
            .collect();
        let more = [(tag::AUTOSTART, defined.autostart.clone()), (tag::NOTE, defined.note.clone())];
        let mut server = json!({
            "name": defined.name,
            "flavorRef": defined.flavor,
            "networks": networks,
            "block_device_mapping_v2": disks,
            "metadata": tag::metadata(defined.relocation, Role::Server, &more),
        });
        for (key, value) in &defined.metadata {
            server["metadata"][key] = json!(value);
        }
        if let Some(key) = &defined.keypair {
            server["key_name"] = json!(key);
        }
        if let Some(zone) = &self.config.availability_zone {
            server["availability_zone"] = json!(zone);
        }
        let what = format!("make server `{}`", defined.name);
        let made = self.api.make_server(&what, server, defined.server_group.as_deref()).await;
        self.one_runs(defined, made).await
    }

    /// Waits for whichever server of the definition comes to run.
    async fn one_runs(&self, defined: &Definition, made: Result<String, Error>) -> Result<(), Error> {
        let what = || format!("the first start of `{}`", defined.name);
        let failed = Mutex::new(None);
        let runs = until(what, BUILD_MAX, || async {
            let mut servers = self.made_servers(defined.relocation, &defined.name).await?;
            let ours = |server: &Server| made.as_ref().is_ok_and(|made| *made == server.id);
            if let Some(broken) = servers.iter().find(|server| server.status == "ERROR" && ours(server)) {
                let fault = self.api.server(&broken.id).await?.map(|server| server.reason());
                *failed.lock().await = fault;
                self.api.delete_server(&broken.id).await?;
            }
            servers.retain(|server| server.status != "ERROR");
            match servers.first() {
                // Refused because another caller has the root already, whose server is not listed yet.
                None if made.is_err() && self.is_taken(defined).await? => Ok(None),
                None => Ok(Some(false)),
                Some(server) if server.status == "BUILD" => Ok(None),
                Some(_) => Ok(Some(true)),
            }
        });
        if runs.await? {
            return Ok(());
        }
        match (made, failed.into_inner()) {
            (Err(error), _) => Err(error),
            (Ok(_), failed) => Err(Error::Driver {
                provider: self.id.to_string(),
                what: format!("start `{}`", defined.name),
                cause: failed.unwrap_or_else(|| "its server was removed".into()).into(),
            }),
        }
    }

    async fn is_taken(&self, defined: &Definition) -> Result<bool, Error> {
        let Some(root) = defined.volumes.first() else { return Ok(false) };
        let root = self.api.volume(&root.id).await?;
        Ok(root.is_some_and(|root| matches!(root.status.as_str(), "reserved" | "attaching" | "in-use")))
    }

    /// Oldest first.
    pub(super) async fn made_servers(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<Vec<Server>, Error> {
        let mut servers = self.api.servers().await?;
        servers.retain(|server| {
            server.name == name.as_str() && tag::has(&server.metadata, relocation, Role::Server)
        });
        servers.sort_by(|a, b| (&a.created, &a.id).cmp(&(&b.created, &b.id)));
        Ok(servers)
    }

    pub(super) async fn undefine(&self, relocation: RelocationId, name: &InstanceName) -> Result<(), Error> {
        for server in self.made_servers(relocation, name).await? {
            self.api.delete_server(&server.id).await?;
        }
        self.take_address_back(relocation, name).await?;
        for port in self.defined_ports(relocation, name).await? {
            self.api.delete_port(&port.id).await?;
        }
        let mut volumes = self.api.volumes_of(relocation).await?;
        volumes.retain(|volume| volume.metadata.get(tag::INSTANCE).is_some_and(|of| of == name.as_str()));
        for volume in volumes {
            for key in volume.metadata.keys().filter(|key| definition::is_key(key)) {
                self.api.untag_volume(&volume.id, key).await?;
            }
        }
        Ok(())
    }

    /// Somebody else's instance with the name, or one that another relocation has made or defined.
    pub(super) fn is_free_or_ours(
        &self,
        servers: &[Server],
        volumes: &[Volume],
        name: &InstanceName,
        relocation: RelocationId,
    ) -> Result<(), Error> {
        let foreign = servers.iter().any(|server| {
            server.name == name.as_str() && !tag::has(&server.metadata, relocation, Role::Server)
        });
        let defined = definition::among(volumes);
        if foreign || defined.iter().any(|known| known.name == *name && known.relocation != relocation) {
            return Err(Error::NameTaken { provider: self.id.to_string(), name: name.to_string() });
        }
        Ok(())
    }
}
