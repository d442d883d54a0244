//! What is written is what is read back.

use fluidcloud_proto::ids::{DiskId, InstanceName};
use fluidcloud_proto::topology::DiskRole;
use roxmltree::Document;

use super::*;
use crate::libvirt::describe::{Source, describe};

fn hardware(machine: &str, disk_bus: &str, nic: &str) -> Hardware {
    Hardware {
        machine: machine.into(),
        disk_bus: disk_bus.into(),
        nic: nic.into(),
        format: DiskFormat::Qcow2,
    }
}

fn order(name: &str, note: &str) -> InstanceOrder {
    let disk = |name: &str, path: &str, format| {
        let id = DiskId { component: "app".parse().unwrap(), disk: name.parse().unwrap() };
        (id, DiskPlace { path: path.into(), format })
    };
    InstanceOrder {
        relocation: RelocationId::new(),
        name: name.parse::<InstanceName>().unwrap(),
        vcpus: 3,
        memory_bytes: 777 << 20,
        firmware: Firmware::Uefi,
        disks: vec![
            disk("sdb", "/pool/it's <the> \"root\" & more.qcow2", DiskFormat::Qcow2),
            disk("sda", "/dev/mapper/volume", DiskFormat::Raw),
        ],
        nics: vec![Nic {
            mac: "52:54:00:01:02:03".into(),
            model: "rtl8139".into(),
            network: "old".into(),
            addresses: vec![],
            floating: Vec::new(),
            security_groups: Vec::new(),
        }],
        settings: None,
        furnished: Default::default(),
        launched: Default::default(),
        autostart: true,
        note: note.into(),
    }
}

#[test]
fn every_shape_is_read_back_as_it_was_ordered() {
    for (machine, disk_bus, nic, first, second) in [
        ("pc", "ide", "e1000", "/dev/sda", "/dev/sdb"),
        ("q35", "sata", "e1000e", "/dev/sda", "/dev/sdb"),
        ("q35", "scsi", "virtio", "/dev/sda", "/dev/sdb"),
        ("q35", "virtio", "virtio", "/dev/vda", "/dev/vdb"),
    ] {
        let (hardware, order) = (hardware(machine, disk_bus, nic), order("shop", "a <note> & \"more\""));
        let xml = write(&order, &Machine { hardware: &hardware, network: "lan", accel: Accel::Tcg });
        let parsed = Document::parse(&xml).unwrap();
        let read = describe(&parsed);
        assert_eq!((read.machine.as_str(), read.firmware), (machine, Firmware::Uefi));
        assert_eq!((read.vcpus, read.memory_bytes), (3, 777 << 20));
        let disks: Vec<_> =
            read.disks.iter().map(|disk| (disk.role, disk.guest_device.as_str(), disk.format)).collect();
        let wanted =
            [(DiskRole::Root, first, DiskFormat::Qcow2), (DiskRole::Volume, second, DiskFormat::Raw)];
        assert_eq!(disks, wanted);
        for (disk, (_, place)) in read.disks.iter().zip(&order.disks) {
            assert_eq!(disk.source, Source::Path(place.path.clone()));
        }
        assert_eq!(
            read.nics,
            [Nic {
                mac: "52:54:00:01:02:03".into(),
                model: nic.into(),
                network: "lan".into(),
                addresses: vec![],
                floating: Vec::new(),
                security_groups: Vec::new(),
            }]
        );
        let made = tag::Mark { relocation: order.relocation, autostart: order.autostart };
        assert_eq!(tag::made_for(&parsed), Some(made));
        assert_eq!(parsed.root_element().attribute("type"), Some("qemu"));
    }
}

#[test]
fn hardware_acceleration_is_used_only_when_it_was_chosen() {
    let (hardware, order) = (hardware("q35", "virtio", "virtio"), order("shop", ""));
    for (accel, kind) in [(Accel::Kvm, "kvm"), (Accel::Tcg, "qemu"), (Accel::Auto, "qemu")] {
        let xml = write(&order, &Machine { hardware: &hardware, network: "lan", accel });
        assert_eq!(Document::parse(&xml).unwrap().root_element().attribute("type"), Some(kind));
    }
}

#[test]
fn the_same_order_is_the_same_domain() {
    let relocation = RelocationId::new();
    assert_eq!(uuid(relocation, "shop"), uuid(relocation, "shop"));
    assert_ne!(uuid(relocation, "shop"), uuid(relocation, "shop2"));
    assert_ne!(uuid(relocation, "shop"), uuid(RelocationId::new(), "shop"));
}

#[test]
fn hardware_that_does_not_exist_is_refused_by_name() {
    assert_eq!(refuses(&hardware("pc", "ide", "e1000"), 4), None);
    for (hardware, disks, named) in [
        (hardware("vax", "ide", "e1000"), 1, "vax"),
        (hardware("pc", "mfm", "e1000"), 1, "mfm"),
        (hardware("pc", "ide", "ne2k"), 1, "ne2k"),
        (hardware("q35", "ide", "e1000"), 1, "sata"),
        (hardware("pc", "ide", "e1000"), 5, "5 disks"),
    ] {
        let told = refuses(&hardware, disks).unwrap();
        assert!(told.contains(named), "{told}");
    }
}
