//! What may hinder the move of a server, with what to do about it. Pure. Critical is what would be lost or would not work
//! and cannot be put right by the move itself.

use fluidcloud_proto::topology::{Concern, Severity};

use super::inspect::{Parts, root_bytes};
use super::servers::Server;
use super::volumes::Volume;
use Severity::{Critical, Information, Warning};

pub(super) fn of(name: &str, parts: &Parts) -> Vec<Concern> {
    let mut found = Found { name, all: Vec::new() };
    if let Some(server) = &parts.server {
        of_server(server, parts, &mut found);
    }
    of_flavor(parts, &mut found);
    for (device, volume) in &parts.volumes {
        of_volume(device, volume, &mut found);
    }
    for port in &parts.ports {
        if !matches!(port.vnic_type.as_str(), "" | "normal") {
            let message = format!("it is hardware of its host (port of kind `{}`)", port.vnic_type);
            let remedy = "give the server a port of kind `normal` instead";
            found.add(Critical, &port.mac_address, message, remedy);
        }
    }
    found.all
}

struct Found<'a> {
    name: &'a str,
    all: Vec<Concern>,
}

impl Found<'_> {
    fn add(&mut self, severity: Severity, part: &str, message: impl Into<String>, remedy: &str) {
        let subject = if part.is_empty() { self.name.to_owned() } else { format!("{}/{part}", self.name) };
        self.all.push(Concern { severity, subject, message: message.into(), remedy: remedy.to_owned() });
    }
}

fn of_server(server: &Server, parts: &Parts, found: &mut Found<'_>) {
    match server.status.as_str() {
        "ACTIVE" | "SHUTOFF" => (),
        "ERROR" => {
            let message = format!("it is in state ERROR: {}", server.reason());
            found.add(Critical, "", message, "mend it (reset its state, reboot it hard) or leave it out");
        }
        state => {
            let message = format!("it is in state {state}");
            found.add(Critical, "", message, "bring it to ACTIVE or SHUTOFF first");
        }
    }
    if server.config_drive.as_str().is_some_and(|told| !told.is_empty()) || server.config_drive == true {
        let remedy = "nothing for most guests: what it told them they have read at their first boot";
        found.add(Information, "", "its config drive does not move", remedy);
    }
    if server.image_id().is_none() && parts.volumes.is_empty() {
        found.add(Critical, "", "it has no disk", "attach its disk, or leave it out of the service");
    }
    if server.image_id().is_some() && root_bytes(parts) == 0 {
        let message =
            "how large its root disk is nobody says: neither its flavor nor its image, which is gone";
        found.add(Critical, "", message, "resize it to a flavor with a disk, then try again");
    }
    if !parts.volumes.is_empty() || server.image_id().is_some() {
        let message = "user data, key pair and security groups stay: its ports get the target's own groups";
        let remedy = "set rules of the same effect at the target";
        found.add(Warning, "", message, remedy);
    }
}

fn of_flavor(parts: &Parts, found: &mut Found<'_>) {
    let flavor = &parts.flavor;
    if flavor.ephemeral > 0 {
        let message = format!("the ephemeral disk of its flavor ({} GiB) does not move", flavor.ephemeral);
        found.add(Warning, "", message, "copy what is needed of it to a volume");
    }
    for key in flavor.extra_specs.keys() {
        if key.starts_with("pci_passthrough:") || key.starts_with("resources:VGPU") {
            let message = format!("it uses a device of its host ({key})");
            found.add(Critical, "", message, "resize it to a flavor without, and check that it works");
        }
        if key.starts_with("hw:tpm") {
            let remedy = "take the keys out of the TPM (for disks: add a passphrase) and resize it to a flavor without";
            found.add(Critical, "", "what is sealed in its TPM does not move", remedy);
        }
        if key.starts_with("hw:mem_encryption") {
            found.add(
                Warning,
                "",
                "its memory is encrypted by its host; at the target it is not",
                "check that it may be moved",
            );
        }
    }
}

fn of_volume(device: &str, volume: &Volume, found: &mut Found<'_>) {
    let part = device.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&volume.id).to_owned();
    if volume.multiattach && volume.attachments.len() > 1 {
        let remedy = "stop and detach it at all other servers first";
        found.add(Critical, &part, "other servers may write to it meanwhile", remedy);
    }
    if volume.encrypted {
        let message =
            "its cloud encrypts it; at the target it is encrypted only if the volume type there does so";
        found.add(
            Warning,
            &part,
            message,
            "configure an encrypted `volume_type` at the target, or accept it",
        );
    }
    if !matches!(volume.status.as_str(), "in-use" | "available") {
        let message = format!("its volume {} is in state {}", volume.id, volume.status);
        found.add(Critical, &part, message, "mend it first, such as with `openstack volume set --state`");
    }
}

#[cfg(test)]
#[path = "concerns/tests.rs"]
mod tests;
