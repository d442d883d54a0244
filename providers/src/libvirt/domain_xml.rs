//! The definition of a domain on the target's hardware.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Firmware, Nic};
use uuid::Uuid;

use super::describe::letters;
use super::tag;
use super::xml::Element;
use crate::config::Accel;
use crate::provider::InstanceOrder;

/// What an IDE controller takes.
const IDE_DISKS_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Machine<'a> {
    pub hardware: &'a Hardware,
    pub network: &'a str,
    /// Settled: never [`Accel::Auto`].
    pub accel: Accel,
}

/// What this hardware cannot do, as text.
pub(super) fn refuses(hardware: &Hardware, disks: usize) -> Option<String> {
    let known = |given: &str, known: &[&str], what: &str| {
        (!known.contains(&given))
            .then(|| format!("`{given}` is no {what} of ours: use one of {}", known.join(", ")))
    };
    known(&hardware.machine, &["pc", "q35"], "machine")
        .or_else(|| known(&hardware.disk_bus, &["ide", "sata", "scsi", "virtio"], "disk bus"))
        .or_else(|| known(&hardware.nic, &["e1000", "e1000e", "virtio"], "network card"))
        .or_else(|| {
            let ide = hardware.disk_bus == "ide";
            (ide && hardware.machine == "q35").then(|| "`q35` has no `ide`: use `sata`".to_owned())
        })
        .or_else(|| {
            let too_many = hardware.disk_bus == "ide" && disks > IDE_DISKS_MAX;
            too_many
                .then(|| format!("{disks} disks on `ide`, which takes {IDE_DISKS_MAX}: use another disk bus"))
        })
}

/// The same for the same order: defining it twice is once.
pub(super) fn uuid(relocation: RelocationId, name: &str) -> Uuid {
    Uuid::new_v5(&relocation.0, name.as_bytes())
}

pub(super) fn write(order: &InstanceOrder, machine: &Machine<'_>) -> String {
    let hardware = machine.hardware;
    let kind = if machine.accel == Accel::Kvm { "kvm" } else { "qemu" };
    let disks = order.disks.iter().enumerate().map(|(at, (_, place))| disk(at, place, hardware));
    let nics = order.nics.iter().map(|nic| interface(nic, machine));
    let made = tag::Mark { relocation: order.relocation, autostart: order.autostart };
    let devices = Element::new("devices")
        .children(disks)
        .children((hardware.disk_bus == "scsi").then(scsi_controller))
        .children(nics)
        .child(Element::new("serial").with("type", "pty").child(Element::new("target").with("port", 0)))
        .child(Element::new("console").with("type", "pty"))
        .child(guest_agent())
        // Boot loaders that draw want something to draw on; nobody needs to look.
        .child(Element::new("video").child(Element::new("model").with("type", "vga")))
        .children((hardware.disk_bus == "virtio").then(random));
    Element::new("domain")
        .with("type", kind)
        .child(Element::new("name").text(&order.name))
        .child(Element::new("uuid").text(uuid(order.relocation, order.name.as_str())))
        .child(Element::new("metadata").child(tag::made_element(made, &order.note)))
        .child(Element::new("memory").with("unit", "b").text(order.memory_bytes))
        .child(Element::new("vcpu").text(order.vcpus.max(1)))
        .child(os(order.firmware, hardware))
        .child(features())
        .child(cpu(machine.accel))
        .child(Element::new("clock").with("offset", "utc"))
        .child(Element::new("on_poweroff").text("destroy"))
        .child(Element::new("on_reboot").text("restart"))
        .child(Element::new("on_crash").text("destroy"))
        .child(devices)
        .write()
}

fn os(firmware: Firmware, hardware: &Hardware) -> Element {
    let os = match firmware {
        Firmware::Bios => Element::new("os"),
        Firmware::Uefi => Element::new("os").with("firmware", "efi"),
    };
    os.child(Element::new("type").with("arch", "x86_64").with("machine", &hardware.machine).text("hvm"))
}

fn features() -> Element {
    Element::new("features").child(Element::new("acpi")).child(Element::new("apic"))
}

/// What emulated guests get: enough for distributions that want x86-64-v2, without the vector instructions that
/// QEMU emulates slowly and only since lately.
const EMULATED_CPU: &str = "Nehalem";

/// KVM gives what the host has, as the probe tried it.
fn cpu(accel: Accel) -> Element {
    let cpu = Element::new("cpu").with("check", "none");
    match accel {
        Accel::Kvm => cpu.with("mode", "host-passthrough"),
        Accel::Tcg | Accel::Auto => cpu
            .with("mode", "custom")
            .with("match", "exact")
            .child(Element::new("model").with("fallback", "allow").text(EMULATED_CPU)),
    }
}

fn disk(at: usize, place: &DiskPlace, hardware: &Hardware) -> Element {
    let format = match place.format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    };
    let is_device = place.path.starts_with("/dev/");
    let (kind, attribute) = if is_device { ("block", "dev") } else { ("file", "file") };
    let family = match hardware.disk_bus.as_str() {
        "ide" => "hd",
        "virtio" => "vd",
        _ => "sd",
    };
    Element::new("disk")
        .with("type", kind)
        .with("device", "disk")
        .child(Element::new("driver").with("name", "qemu").with("type", format).with("discard", "unmap"))
        .child(Element::new("source").with(attribute, &place.path))
        .child(
            Element::new("target")
                .with("dev", format!("{family}{}", letters(at)))
                .with("bus", &hardware.disk_bus),
        )
        .children((at == 0).then(|| Element::new("boot").with("order", 1)))
}

fn scsi_controller() -> Element {
    Element::new("controller").with("type", "scsi").with("index", 0).with("model", "virtio-scsi")
}

fn interface(nic: &Nic, machine: &Machine<'_>) -> Element {
    Element::new("interface")
        .with("type", "network")
        .child(Element::new("mac").with("address", &nic.mac))
        .child(Element::new("source").with("network", machine.network))
        .child(Element::new("model").with("type", &machine.hardware.nic))
}

fn guest_agent() -> Element {
    Element::new("channel")
        .with("type", "unix")
        .child(Element::new("target").with("type", "virtio").with("name", "org.qemu.guest_agent.0"))
}

fn random() -> Element {
    Element::new("rng")
        .with("model", "virtio")
        .child(Element::new("backend").with("model", "random").text("/dev/urandom"))
}

#[cfg(test)]
mod tests;
