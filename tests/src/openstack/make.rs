//! What a user has in a project: servers with volumes and addresses, made through the APIs and removed in the reverse order.

use std::time::{Duration, Instant};

use fluidcloud_providers::openstack::api::{Call, Service};
use serde_json::{Value, json};

use super::{Cloud, DONE_WITHIN, flavor, image, outside};
use crate::wait;

/// Lets in whatever the stories ask for.
pub const OPEN: &str = "fluidcloud-stories";

/// Between two looks whether something is gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A server to be made.
#[derive(Clone, Debug)]
pub struct Server {
    pub name: String,
    pub image: String,
    pub flavor: String,
    /// Its root disk is a volume.
    pub on_volume: bool,
    /// A further volume of 1 GiB, or one made of this image.
    pub volume: Option<Option<String>>,
    /// The bus of its disks, where the image asks for one.
    pub bus: Option<&'static str>,
    /// Run at each of its starts.
    pub script: String,
    /// One that was made before, by [`Cloud::make_port`].
    pub port: Option<String>,
}

impl Server {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image(),
            flavor: flavor(),
            on_volume: false,
            volume: None,
            bus: None,
            script: "#!/bin/sh\n".to_owned(),
            port: None,
        }
    }
}

impl Cloud {
    pub fn id_of(&self, service: Service, key: &str, name: &str) -> String {
        let found = self.call(Call::get(service, format!("/{key}"), format!("list {key}")));
        let all = found[key.replace('-', "_")].as_array().cloned().unwrap_or_default();
        let found = all.iter().find(|thing| thing["name"] == name);
        let found = found.unwrap_or_else(|| panic!("there is no `{name}` among {key} of {}", self.name));
        found["id"].as_str().expect("an id").to_owned()
    }

    /// It goes when the story ends.
    pub fn made(&self, service: Service, path: String) {
        self.made.lock().expect("no panic before").push((service, path));
    }

    /// A security group that lets in the stories, made once.
    pub fn open_group(&self) {
        let found = self.call(Call::get(Service::Network, "/security-groups", "list security groups"));
        let all = found["security_groups"].as_array().expect("a list");
        if all.iter().any(|group| group["name"] == OPEN) {
            return;
        }
        let body = json!({"security_group": {"name": OPEN, "description": "for stories"}});
        let call = Call::post(Service::Network, "/security-groups", "make a security group").json(body);
        let id = self.call(call)["security_group"]["id"].as_str().expect("an id").to_owned();
        self.made(Service::Network, format!("/security-groups/{id}"));
        let rule = json!({"security_group_rule": {"security_group_id": id, "direction": "ingress",
            "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 1, "port_range_max": 65535}});
        self.call(Call::post(Service::Network, "/security-group-rules", "add a rule").json(rule));
    }

    /// Made and running, with a floating IP, which is answered with the server's id.
    pub fn make_server(&self, server: &Server) -> (String, String) {
        self.open_group();
        let network = self.id_of(Service::Network, "networks", &self.network);
        let found = self.call(Call::get(Service::Compute, "/flavors", "list flavors"));
        let flavor =
            found["flavors"].as_array().expect("a list").iter().find(|one| one["name"] == server.flavor);
        let image = match server.image == image() {
            true => self.hasty_image(),
            false => self.id_of(Service::Image, "images", &server.image),
        };
        let mut disks = Vec::new();
        let mut root = if server.on_volume {
            let id = self
                .make_volume(json!({"size": 1, "imageRef": image, "name": format!("{}-root", server.name)}));
            json!({"uuid": id, "source_type": "volume", "destination_type": "volume", "boot_index": 0})
        } else {
            json!({"uuid": image, "source_type": "image", "destination_type": "local", "boot_index": 0,
                "delete_on_termination": true})
        };
        if let Some(bus) = server.bus {
            root["disk_bus"] = json!(bus);
        }
        disks.push(root);
        if let Some(of) = &server.volume {
            let mut volume = json!({"size": 1, "name": format!("{}-data", server.name)});
            if let Some(image) = of {
                volume["imageRef"] = json!(self.id_of(Service::Image, "images", image));
            }
            let id = self.make_volume(volume);
            let mut disk =
                json!({"uuid": id, "source_type": "volume", "destination_type": "volume", "boot_index": -1});
            if let Some(bus) = server.bus {
                disk["disk_bus"] = json!(bus);
            }
            disks.push(disk);
        }
        let mut body = json!({"server": {
            "name": server.name, "flavorRef": flavor.expect("the flavor")["id"], "networks": [{"uuid": network}],
            "security_groups": [{"name": OPEN}], "block_device_mapping_v2": disks,
            "user_data": data_encoding(server.script.as_bytes()),
        }});
        if !server.on_volume {
            body["server"]["imageRef"] = json!(image);
        }
        if let Some(port) = &server.port {
            body["server"]["networks"] = json!([{"port": port}]);
        }
        let call = Call::post(Service::Compute, "/servers", "make a server").json(body);
        let id = self.call(call)["server"]["id"].as_str().expect("an id").to_owned();
        self.made(Service::Compute, format!("/servers/{id}"));
        wait::until_every(LOOK_EVERY, "the server runs", DONE_WITHIN, || {
            let status = self.power(&id);
            assert_ne!(status, "ERROR");
            (status == "ACTIVE").then_some(())
        });
        let address = self.give_address(&id);
        (id, address)
    }

    /// A port in the project's network, with its address, for a server that is made later.
    pub fn make_port(&self) -> (String, String) {
        self.open_group();
        let network = self.id_of(Service::Network, "networks", &self.network);
        let group = self.id_of(Service::Network, "security-groups", OPEN);
        let body = json!({"port": {"network_id": network, "security_groups": [group], "name": "story"}});
        let made = self.call(Call::post(Service::Network, "/ports", "make a port").json(body));
        let id = made["port"]["id"].as_str().expect("an id").to_owned();
        self.made(Service::Network, format!("/ports/{id}"));
        let address = made["port"]["fixed_ips"][0]["ip_address"].as_str().expect("an address");
        (id, address.to_owned())
    }

    /// The usual image again, for guests that do not listen when they are told to shut down: Nova would wait a minute for
    /// each.
    fn hasty_image(&self) -> String {
        let upload = || {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let file = dir.path().join("image");
            std::fs::write(&file, self.download_image(&image())).expect("a writable directory");
            self.upload_image("story-guest", &file, &[("os_shutdown_timeout", "2")])
        };
        self.hasty.get_or_init(upload).clone()
    }

    pub fn make_volume(&self, volume: Value) -> String {
        let call = Call::post(Service::Volume, "/volumes", "make a volume").json(json!({"volume": volume}));
        let id = self.call(call)["volume"]["id"].as_str().expect("an id").to_owned();
        self.made(Service::Volume, format!("/volumes/{id}"));
        wait::until_every(LOOK_EVERY, "the volume is there", DONE_WITHIN, || {
            let found = self.call(Call::get(Service::Volume, format!("/volumes/{id}"), "look at a volume"));
            (found["volume"]["status"] == "available").then_some(())
        });
        id
    }

    fn give_address(&self, server: &str) -> String {
        let ports = Call::get(Service::Network, "/ports", "list ports").query("device_id", server);
        let port = self.call(ports)["ports"][0]["id"].clone();
        let outside = self.id_of(Service::Network, "networks", &outside());
        let body = json!({"floatingip": {"floating_network_id": outside, "port_id": port, "description": "for stories"}});
        let made =
            self.call(Call::post(Service::Network, "/floatingips", "allocate a floating IP").json(body));
        let made = &made["floatingip"];
        self.made(Service::Network, format!("/floatingips/{}", made["id"].as_str().expect("an id")));
        made["floating_ip_address"].as_str().expect("an address").to_owned()
    }

    /// Status by the server's id; empty when there is none.
    pub fn power(&self, id: &str) -> String {
        let call = Call::get(Service::Compute, format!("/servers/{id}"), "look at a server");
        let found = self.try_call(call).unwrap_or_default();
        found["server"]["status"].as_str().unwrap_or_default().to_owned()
    }

    /// Of a server by its name: the address inside, and the one outside.
    pub fn addresses_of(&self, name: &str) -> (String, String) {
        let id = self.id_of(Service::Compute, "servers", name);
        let found = self.call(Call::get(Service::Compute, format!("/servers/{id}"), "look at a server"));
        let networks = found["server"]["addresses"].as_object().cloned().unwrap_or_default();
        let all: Vec<&Value> = networks.values().filter_map(Value::as_array).flatten().collect();
        let of = |kind: &str| {
            let address = all.iter().find(|one| one["OS-EXT-IPS:type"] == kind);
            address.unwrap_or_else(|| panic!("`{name}` has no {kind} address: {all:?}"))["addr"].clone()
        };
        let text = |value: Value| value.as_str().expect("an address").to_owned();
        (text(of("fixed")), text(of("floating")))
    }

    /// Removes a server that a relocation has made, with its volumes, ports and floating IPs.
    pub fn remove_moved(&self, name: &str) {
        let id = self.id_of(Service::Compute, "servers", name);
        let volumes =
            Call::get(Service::Compute, format!("/servers/{id}/os-volume_attachments"), "list volumes");
        let volumes = self.call(volumes)["volumeAttachments"].as_array().cloned().unwrap_or_default();
        let ports = Call::get(Service::Network, "/ports", "list ports").query("device_id", id.as_str());
        let ports = self.call(ports)["ports"].as_array().cloned().unwrap_or_default();
        for volume in &volumes {
            self.made(Service::Volume, format!("/volumes/{}", volume["volumeId"].as_str().expect("an id")));
        }
        for port in &ports {
            let port = port["id"].as_str().expect("an id");
            self.made(Service::Network, format!("/ports/{port}"));
            let call =
                Call::get(Service::Network, "/floatingips", "list floating IPs").query("port_id", port);
            for floating in self.call(call)["floatingips"].as_array().expect("a list") {
                self.made(
                    Service::Network,
                    format!("/floatingips/{}", floating["id"].as_str().expect("an id")),
                );
            }
        }
        self.made(Service::Compute, format!("/servers/{id}"));
    }

    /// Everything that was made here goes, the newest first.
    pub fn clear(&self) {
        let mut left = std::mem::take(&mut *self.made.lock().unwrap_or_else(|poison| poison.into_inner()));
        left.reverse();
        let end = Instant::now() + DONE_WITHIN;
        while !left.is_empty() && Instant::now() < end {
            // Refused as long as what uses it is still going.
            left.retain(|(service, path)| {
                let _ = self.try_call(Call::delete(*service, path.clone(), "remove what a story made"));
                self.try_call(Call::get(*service, path.clone(), "look whether it is gone")).is_some()
            });
            if !left.is_empty() {
                std::thread::sleep(LOOK_EVERY);
            }
        }
        for (_, path) in left {
            eprintln!("{path} at {} stays", self.name);
        }
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.clear();
    }
}

/// User data goes so.
fn data_encoding(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}
