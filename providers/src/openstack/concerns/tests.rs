//! Each thing that hinders is found, and nothing where nothing does.

use std::collections::BTreeMap;

use fluidcloud_proto::topology::{Firmware, Severity};
use serde_json::{Value, json};

use super::super::inspect::Asked;
use super::*;

fn parts(server: Value, volume: Value, port: Value) -> Parts {
    let mut base = json!({"id": "s", "name": "shop", "status": "ACTIVE", "image": {"id": "i"},
        "flavor": {"original_name": "m", "vcpus": 1, "ram": 512, "disk": 3}});
    let mut disk = json!({"id": "v", "status": "in-use", "size": 1, "attachments": [{"server_id": "s", "device": "/dev/vdb"}]});
    let mut nic = json!({"id": "p", "mac_address": "fa:16:3e:00:00:01", "binding:vnic_type": "normal"});
    for (base, more) in [(&mut base, server), (&mut disk, volume), (&mut nic, port)] {
        for (key, value) in more.as_object().unwrap() {
            base[key] = value.clone();
        }
    }
    let server: Server = serde_json::from_value(base).unwrap();
    Parts {
        flavor: server.flavor.clone(),
        server: Some(server),
        image: None,
        volumes: vec![("/dev/vdb".into(), serde_json::from_value(disk).unwrap())],
        ports: vec![serde_json::from_value(nic).unwrap()],
        asked: Asked {
            disk_bus: "virtio".into(),
            nic: "virtio".into(),
            machine: "pc".into(),
            firmware: Firmware::Bios,
        },
    }
}

fn around() -> Around {
    let floating = json!({"id": "f", "floating_ip_address": "203.0.113.9", "port_id": "outside"});
    let group = json!({"id": "g", "name": "web", "security_group_rules": [
        {"direction": "ingress", "ethertype": "IPv4", "remote_address_group_id": "a"}]});
    let company =
        json!({"id": "c", "name": "apart", "policies": ["anti-affinity"], "members": ["other", "t"]});
    Around {
        networks: vec![
            serde_json::from_value(json!({"id": "x", "name": "public", "router:external": true})).unwrap(),
        ],
        floating: vec![serde_json::from_value(floating).unwrap()],
        groups: vec![serde_json::from_value(group).unwrap()],
        keypairs: vec![serde_json::from_value(json!({"name": "mine"})).unwrap()],
        server_groups: vec![serde_json::from_value(company).unwrap()],
    }
}

fn worst(server: Value, volume: Value, port: Value) -> Vec<(Severity, String)> {
    let found = of("shop", &parts(server, volume, port), &around());
    assert!(found.iter().all(|concern| !concern.remedy.is_empty()));
    let told = found.into_iter().filter(|concern| !concern.message.contains("cloud-init"));
    told.map(|concern| (concern.severity, concern.subject)).collect()
}

#[test]
fn an_ordinary_server_raises_nothing_more() {
    assert_eq!(worst(json!({}), json!({}), json!({})), []);
}

#[test]
fn what_cannot_move_is_critical() {
    let critical = |subject: &str| vec![(Severity::Critical, subject.to_owned())];
    let two = json!([{"server_id": "s"}, {"server_id": "t"}]);
    assert_eq!(
        worst(json!({}), json!({"multiattach": true, "attachments": two}), json!({})),
        critical("shop/vdb")
    );
    assert_eq!(worst(json!({}), json!({"status": "error"}), json!({})), critical("shop/vdb"));
    let direct = json!({"binding:vnic_type": "direct"});
    assert_eq!(worst(json!({}), json!({}), direct), critical("shop/fa:16:3e:00:00:01"));
    assert_eq!(
        worst(json!({"status": "ERROR", "fault": {"message": "x"}}), json!({}), json!({})),
        critical("shop")
    );
    assert_eq!(worst(json!({"status": "RESCUE"}), json!({}), json!({})), critical("shop"));
    let sizeless = json!({"flavor": {"vcpus": 1, "ram": 1, "disk": 0}});
    assert_eq!(worst(sizeless, json!({}), json!({})), critical("shop"));
    let tpm = BTreeMap::from([("hw:tpm_version", "2.0")]);
    let tpm = json!({"flavor": {"vcpus": 1, "ram": 1, "disk": 1, "extra_specs": tpm}});
    assert_eq!(worst(tpm, json!({}), json!({})), critical("shop"));
}

#[test]
fn what_is_around_it_and_stays_is_told() {
    let nic = || vec![(Severity::Warning, "shop/fa:16:3e:00:00:01".to_owned())];
    let server = |severity| vec![(severity, "shop".to_owned())];
    for port in [
        json!({"id": "outside"}),
        json!({"network_id": "x"}),
        json!({"allowed_address_pairs": [{"ip_address": "10.0.0.9"}]}),
        json!({"port_security_enabled": false}),
    ] {
        assert_eq!(worst(json!({}), json!({}), port.clone()), nic(), "{port}");
    }
    assert_eq!(
        worst(json!({}), json!({}), json!({"security_groups": ["g", "g"]})),
        server(Severity::Warning)
    );
    let trunk = worst(json!({}), json!({}), json!({"trunk_details": {"sub_ports": []}}));
    assert_eq!(trunk[0].0, Severity::Critical);
    assert_eq!(worst(json!({"key_name": "mine"}), json!({}), json!({})), []);
    assert_eq!(worst(json!({"key_name": "theirs"}), json!({}), json!({})), server(Severity::Warning));
    let told = json!({"OS-EXT-SRV-ATTR:user_data": "IyEvYmluL3No"});
    assert_eq!(worst(told, json!({}), json!({})), server(Severity::Warning));
    assert_eq!(worst(json!({"OS-EXT-SRV-ATTR:user_data": null}), json!({}), json!({})), []);
}

#[test]
fn what_changes_is_a_warning() {
    let warning = |subject: &str| vec![(Severity::Warning, subject.to_owned())];
    assert_eq!(worst(json!({}), json!({"encrypted": true}), json!({})), warning("shop/vdb"));
    let ephemeral = json!({"flavor": {"vcpus": 1, "ram": 1, "disk": 1, "OS-FLV-EXT-DATA:ephemeral": 2}});
    assert_eq!(worst(ephemeral, json!({}), json!({})), warning("shop"));
    assert_eq!(
        worst(json!({"config_drive": "True"}), json!({}), json!({})),
        [(Severity::Information, "shop".to_owned())]
    );
}
