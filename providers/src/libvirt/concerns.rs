//! What in a domain's XML may hinder a move, with what to do about it. Critical is what would be lost or would not
//! work and cannot be put right by the move itself.

use fluidcloud_proto::topology::{Concern, Firmware, Severity};
use roxmltree::{Document, Node};

use super::describe::{self, child, devices, path};

use Severity::{Critical, Information, Warning};

pub(super) fn concern(
    severity: Severity,
    subject: &str,
    message: impl Into<String>,
    remedy: &str,
) -> Concern {
    Concern { severity, subject: subject.to_owned(), message: message.into(), remedy: remedy.to_owned() }
}

pub(super) fn of_domain(name: &str, domain: &Document<'_>) -> Vec<Concern> {
    let root = domain.root_element();
    let mut found = Vec::new();
    machine(name, root, &mut found);
    firmware(name, domain, &mut found);
    for disk in devices(root, "disk") {
        if describe::is_disk(disk) {
            of_disk(name, disk, &mut found)
        } else {
            of_drive(name, disk, &mut found)
        }
    }
    if !devices(root, "disk").any(describe::is_disk) {
        found.push(concern(
            Critical,
            name,
            "it has no disk",
            "attach its disk, or leave it out of the service",
        ));
    }
    for nic in devices(root, "interface") {
        of_nic(name, nic, &mut found);
    }
    passed_through(name, root, &mut found);
    found
}

fn machine(name: &str, root: Node<'_, '_>, found: &mut Vec<Concern>) {
    let arch = path(root, &["os", "type"]).and_then(|kind| kind.attribute("arch")).unwrap_or("x86_64");
    if arch != "x86_64" {
        let remedy = "keep it where it is: other architectures are not supported";
        found.push(concern(Critical, name, format!("it is a {arch} machine"), remedy));
    }
    if path(root, &["os", "kernel"]).is_some() {
        let remedy =
            "install a boot loader and a kernel in the guest, then drop `<kernel>` from its definition";
        found.push(concern(Critical, name, "it boots a kernel that lies outside its disks", remedy));
    }
    if child(root, "launchSecurity").is_some() {
        let remedy = "remove `<launchSecurity>` from its definition and start it without";
        found.push(concern(Critical, name, "its memory is encrypted by its host", remedy));
    }
    let cpu = child(root, "cpu").and_then(|cpu| cpu.attribute("mode"));
    if let Some(mode @ ("host-passthrough" | "host-model")) = cpu {
        let message = format!("its processor is that of its host ({mode}); the target may have another one");
        let remedy = "nothing for most guests; check what was built for this very processor";
        found.push(concern(Information, name, message, remedy));
    }
}

fn firmware(name: &str, domain: &Document<'_>, found: &mut Vec<Concern>) {
    let root = domain.root_element();
    if describe::describe(domain).firmware == Firmware::Uefi {
        let remedy = "install the boot loader at the fallback path too (grub-install --removable)";
        found.push(concern(
            Warning,
            name,
            "variables of its firmware, such as boot entries, do not move",
            remedy,
        ));
    }
    let loader = path(root, &["os", "loader"]);
    let feature = path(root, &["os", "firmware"]).into_iter().flat_map(|firmware| firmware.children());
    let mut asked = feature.filter(|node| node.attribute("name") == Some("secure-boot"));
    if loader.is_some_and(|loader| loader.attribute("secure") == Some("yes"))
        || asked.any(|feature| feature.attribute("enabled") == Some("yes"))
    {
        let remedy = "the target starts it without: check that nothing in the guest insists on secure boot";
        found.push(concern(Warning, name, "it boots with secure boot", remedy));
    }
    if devices(root, "tpm").next().is_some() {
        let remedy =
            "take the keys out of the TPM (for disks: add a passphrase), then remove it from the definition";
        found.push(concern(Critical, name, "what is sealed in its TPM does not move", remedy));
    }
}

fn of_disk(name: &str, disk: Node<'_, '_>, found: &mut Vec<Concern>) {
    let subject = format!("{name}/{}", describe::target_name(disk));
    let mut add =
        |severity, message: String, remedy: &str| found.push(concern(severity, &subject, message, remedy));
    if describe::source(disk).is_none() {
        let kind = disk.attribute("type").unwrap_or("unknown");
        let remedy =
            "copy it to a file or block device at the host first, or detach it and name it in `stays`";
        add(Critical, format!("it lies on storage of kind `{kind}`, which is not read at the host"), remedy);
    }
    if describe::format(disk).is_none() {
        let kind = child(disk, "driver").and_then(|driver| driver.attribute("type")).unwrap_or_default();
        let remedy = "convert it with `qemu-img convert -O qcow2` first";
        add(Critical, format!("its format is `{kind}`; raw and qcow2 are read"), remedy);
    }
    if disk.attribute("device") == Some("lun") {
        add(Critical, "it is a SCSI device passed through".to_owned(), "attach it as `device='disk'`");
    }
    let has = |tag: &str| disk.descendants().any(|node| node.has_tag_name(tag));
    if has("encryption") {
        add(
            Critical,
            "it is encrypted by the host".to_owned(),
            "copy it to one without `<encryption>` first",
        );
    }
    if has("shareable") {
        let remedy = "stop and detach it at all other instances, then remove `<shareable/>`";
        add(Critical, "other instances may write to it meanwhile".to_owned(), remedy);
    }
    if has("transient") {
        add(Critical, "what is written to it is dropped at stop".to_owned(), "remove `<transient/>` from it");
    }
    if describe::target_name(disk).parse::<fluidcloud_proto::ids::DiskName>().is_err() {
        add(Critical, "its name is not valid here".to_owned(), "give it a target name such as `vdb`");
    }
}

fn of_drive(name: &str, drive: Node<'_, '_>, found: &mut Vec<Concern>) {
    if child(drive, "source").is_some() {
        let subject = format!("{name}/{}", describe::target_name(drive));
        let kind = drive.attribute("device").unwrap_or("drive");
        let remedy = "eject it if the guest does not need it; else copy its content to a disk";
        found.push(concern(Warning, &subject, format!("the medium in its {kind} does not move"), remedy));
    }
}

fn of_nic(name: &str, nic: Node<'_, '_>, found: &mut Vec<Concern>) {
    let mac = child(nic, "mac").and_then(|mac| mac.attribute("address")).unwrap_or("nic");
    let subject = format!("{name}/{mac}");
    if let Some(kind @ ("hostdev" | "vdpa" | "vhostuser")) = nic.attribute("type") {
        let remedy = "give it an interface on a network or bridge instead";
        found.push(concern(
            Critical,
            &subject,
            format!("it is host hardware passed through ({kind})"),
            remedy,
        ));
    }
    if child(nic, "filterref").is_some() {
        let remedy = "set rules of the same effect at the target";
        found.push(concern(Warning, &subject, "the rules of its network filter do not move", remedy));
    }
}

fn passed_through(name: &str, root: Node<'_, '_>, found: &mut Vec<Concern>) {
    for device in devices(root, "hostdev") {
        let kind = device.attribute("type").unwrap_or("unknown");
        let remedy = "detach it, and check that the guest works without it";
        found.push(concern(Critical, name, format!("it uses a device of its host ({kind})"), remedy));
    }
    for share in devices(root, "filesystem") {
        let at = child(share, "target").and_then(|target| target.attribute("dir")).unwrap_or("unnamed");
        let remedy = "copy what is in it to a disk, or serve it over the network and name it in `stays`";
        found.push(concern(
            Warning,
            name,
            format!("the directory `{at}` that its host shares with it does not move"),
            remedy,
        ));
    }
    for memory in devices(root, "memory") {
        let model = memory.attribute("model").unwrap_or("dimm");
        if model != "dimm" {
            let remedy = "copy its content to a disk and detach it";
            found.push(concern(
                Critical,
                name,
                format!("content of its memory device ({model}) does not move"),
                remedy,
            ));
        }
    }
}

#[cfg(test)]
mod tests;
