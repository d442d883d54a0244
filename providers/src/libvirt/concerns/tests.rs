//! A domain with everything that can stand in the way, and one with nothing.

use roxmltree::Document;

use super::*;
use crate::libvirt::describe::{Source, describe, letters};
use fluidcloud_proto::topology::{DiskFormat, DiskRole};

const PLAIN: &str = r#"
<domain type='kvm'>
  <name>plain</name>
  <memory unit='MiB'>512</memory>
  <vcpu placement='static'>2</vcpu>
  <os><type arch='x86_64' machine='pc-i440fx-7.2'>hvm</type><boot dev='hd'/></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/a.qcow2'/>
      <target dev='hda' bus='ide'/></disk>
    <disk type='file' device='cdrom'><target dev='hdb' bus='ide'/><readonly/></disk>
    <disk type='block' device='disk'><driver name='qemu' type='raw'/><source dev='/dev/vg/b'/>
      <target dev='hdc' bus='ide'/></disk>
    <disk type='volume' device='disk'><driver name='qemu' type='raw'/><source pool='p' volume='c'/>
      <target dev='vda' bus='virtio'/></disk>
    <interface type='network'><mac address='52:54:00:AA:00:01'/><source network='default'/><model type='e1000'/></interface>
    <interface type='bridge'><mac address='52:54:00:aa:00:02'/><source bridge='br0'/></interface>
  </devices>
</domain>"#;

const HARD: &str = r#"
<domain type='kvm'>
  <name>hard</name>
  <memory>524288</memory>
  <vcpu>1</vcpu>
  <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><loader secure='yes' type='pflash'>/x</loader>
    <kernel>/boot/vmlinuz</kernel></os>
  <cpu mode='host-passthrough'/>
  <launchSecurity type='sev'/>
  <devices>
    <disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='a'/>
      <target dev='sda' bus='sata'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='vmdk'/><source file='/p/b'/>
      <target dev='sdb' bus='sata'/></disk>
    <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/p/c'><encryption format='luks'/></source>
      <target dev='sdc' bus='sata'/><shareable/></disk>
    <disk type='file' device='cdrom'><source file='/iso'/><target dev='sdd' bus='sata'/></disk>
    <interface type='hostdev'><mac address='52:54:00:aa:00:03'/><source/></interface>
    <interface type='network'><mac address='52:54:00:aa:00:04'/><source network='n'/><filterref filter='f'/></interface>
    <hostdev mode='subsystem' type='pci'/>
    <filesystem type='mount'><source dir='/srv'/><target dir='shared'/></filesystem>
    <tpm model='tpm-crb'/>
  </devices>
</domain>"#;

fn severities(xml: &str) -> Vec<(String, Severity)> {
    let domain = Document::parse(xml).unwrap();
    of_domain("it", &domain)
        .into_iter()
        .map(|found| (format!("{}: {}", found.subject, found.message), found.severity))
        .collect()
}

#[test]
fn a_plain_domain_raises_no_concern_and_is_read_in_full() {
    assert_eq!(severities(PLAIN), []);
    let domain = Document::parse(PLAIN).unwrap();
    let read = describe(&domain);
    assert_eq!((read.machine.as_str(), read.firmware), ("pc-i440fx-7.2", Firmware::Bios));
    assert_eq!((read.vcpus, read.memory_bytes), (2, 512 << 20));
    let disks: Vec<_> =
        read.disks.iter().map(|disk| (disk.name.as_str(), disk.guest_device.as_str(), disk.role)).collect();
    assert_eq!(
        disks,
        [
            ("hda", "/dev/sda", DiskRole::Root),
            ("hdc", "/dev/sdb", DiskRole::Volume),
            ("vda", "/dev/vda", DiskRole::Volume)
        ]
    );
    assert_eq!(read.disks[0].format, DiskFormat::Qcow2);
    assert_eq!(read.disks[1].source, Source::Path("/dev/vg/b".into()));
    assert_eq!(read.disks[2].source, Source::Volume { pool: "p".into(), volume: "c".into() });
    let nics: Vec<_> =
        read.nics.iter().map(|nic| (nic.mac.as_str(), nic.model.as_str(), nic.network.as_str())).collect();
    assert_eq!(nics, [("52:54:00:aa:00:01", "e1000", "default"), ("52:54:00:aa:00:02", "rtl8139", "br0")]);
}

#[test]
fn everything_that_stands_in_the_way_is_told() {
    let found = severities(HARD);
    for (text, severity) in [
        ("it: it boots a kernel", Critical),
        ("it: its memory is encrypted", Critical),
        ("it: its processor", Information),
        ("it: variables of its firmware", Warning),
        ("it: it boots with secure boot", Warning),
        ("it: what is sealed in its TPM", Critical),
        ("it/sda: it lies on storage of kind `network`", Critical),
        ("it/sdb: its format is `vmdk`", Critical),
        ("it/sdc: it is encrypted", Critical),
        ("it/sdc: other instances may write", Critical),
        ("it/sdd: the medium in its cdrom", Warning),
        ("it/52:54:00:aa:00:03: it is host hardware", Critical),
        ("it/52:54:00:aa:00:04: the rules", Warning),
        ("it: it uses a device of its host", Critical),
        ("it: the directory `shared`", Warning),
    ] {
        let told = found.iter().find(|(told, _)| told.starts_with(text));
        assert_eq!(told.map(|(_, severity)| *severity), Some(severity), "{text} in {found:#?}");
    }
    assert_eq!(found.len(), 15, "{found:#?}");
}

#[test]
fn a_domain_without_disk_or_of_another_architecture_is_critical() {
    let xml = "<domain><os><type arch='aarch64'>hvm</type></os><devices/></domain>";
    assert_eq!(severities(xml).iter().filter(|(_, severity)| *severity == Critical).count(), 2);
}

#[test]
fn the_boot_order_finds_the_root_wherever_it_is() {
    let xml = PLAIN
        .replace("<target dev='vda' bus='virtio'/>", "<target dev='vda' bus='virtio'/><boot order='1'/>");
    let domain = Document::parse(&xml).unwrap();
    let names: Vec<_> = describe(&domain).disks.iter().map(|disk| disk.name.to_string()).collect();
    assert_eq!(names, ["vda", "hda", "hdc"]);
}

#[test]
fn devices_are_lettered_as_the_kernel_does() {
    assert_eq!([0, 1, 25, 26, 27, 701, 702].map(letters), ["a", "b", "z", "aa", "ab", "zz", "aaa"]);
}
