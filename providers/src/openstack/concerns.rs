//! What may hinder the move of a server, with what to do about it. Pure. Critical is what would be lost or would not work
//! and cannot be put right by the move itself.

use fluidcloud_proto::topology::{Concern, Severity};

use super::around::Around;
use super::inspect::{Parts, root_bytes};
use super::networks::{GroupRule, Port};
use super::servers::Server;
use super::volumes::Volume;
use Severity::{Critical, Information, Warning};

pub(super) fn of(name: &str, parts: &Parts, around: &Around) -> Vec<Concern> {
    let mut found = Found { name, all: Vec::new() };
    if let Some(server) = &parts.server {
        of_server(server, parts, &mut found);
        of_guest(server, &mut found);
        of_company(server, around, &mut found);
    }
    of_flavor(parts, &mut found);
    for (device, volume) in &parts.volumes {
        of_volume(device, volume, &mut found);
    }
    for port in &parts.ports {
        of_port(port, around, &mut found);
    }
    of_groups(parts, around, &mut found);
    found.all
}

/// Of a volume that is to move without a server.
pub(super) fn of_detached(name: &str, volume: &Volume) -> Vec<Concern> {
    let mut found = Found { name, all: Vec::new() };
    of_volume("", volume, &mut found);
    if volume.status == "in-use" || !volume.attachments.is_empty() {
        let users: Vec<&str> =
            volume.attachments.iter().map(|attached| attached.server_id.as_str()).collect();
        let message = format!("the volume is attached to server {}, which may write to it", users.join(", "));
        found.add(Critical, "", message, "detach it first, or move it with its server as an `instance`");
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
}

/// What its guest reads of its cloud.
fn of_guest(server: &Server, found: &mut Found<'_>) {
    if server.has_user_data {
        let message = "its user data stays: what reads it at each boot finds none at the target";
        let remedy = "put what is still needed of it into the guest, such as with a `rewrite` rule";
        found.add(Warning, "", message, remedy);
    }
    let message = "cloud-init, if it has it, takes the target for a new machine, one without user data: it makes host keys, \
                   hostname and users anew";
    let remedy = "to keep them, put `manual_cache_clean: true` into /etc/cloud/cloud.cfg.d/ of the guest, or make \
         /etc/cloud/cloud-init.disabled";
    found.add(Information, "", message, remedy);
}

/// What it shares with others.
fn of_company(server: &Server, around: &Around, found: &mut Found<'_>) {
    if let Some(key) = &server.key_name
        && !around.keypairs.iter().any(|pair| pair.name == *key)
    {
        let message = format!("its key pair `{key}` is another user's: its public half cannot be read");
        let remedy = "nothing for keys that are in the guest already; else import it at the target";
        found.add(Warning, "", message, remedy);
    }
    if let Some(group) = around.server_group_of(&server.id).filter(|group| group.members.len() > 1) {
        let others = group.members.len() - 1;
        let (name, policy) = (&group.name, group.policy());
        let message = format!(
            "it shares server group `{name}` ({policy}) with {others} more, which the policy no longer holds together with it if they stay"
        );
        found.add(Information, "", message, "move them as one service, or accept it");
    }
}

fn of_port(port: &Port, around: &Around, found: &mut Found<'_>) {
    let mac = &port.mac_address;
    if !matches!(port.vnic_type.as_str(), "" | "normal") {
        let message = format!("it is hardware of its host (port of kind `{}`)", port.vnic_type);
        found.add(Critical, mac, message, "give the server a port of kind `normal` instead");
    }
    if port.trunk_details.as_ref().is_some_and(|trunk| !trunk.is_null()) {
        let message = "it is a trunk: the ports that it carries do not move";
        found.add(Critical, mac, message, "give the server a port for each of these networks instead");
    }
    if !port.allowed_address_pairs.is_empty() {
        let all: Vec<&str> = port.allowed_address_pairs.iter().map(|pair| pair.ip_address.as_str()).collect();
        let message = format!(
            "it may use addresses that are not its own ({}); at the target it may not",
            all.join(", ")
        );
        found.add(Warning, mac, message, "allow these address pairs at its new port");
    }
    if port.port_security_enabled == Some(false) {
        let message = "it lets all traffic through (no port security); at the target it gets security groups";
        found.add(Warning, mac, message, "switch port security off at its new port, if it must be");
    }
    if around.network(&port.network_id).is_some_and(|network| network.external) {
        let message = "it is in a network of the cloud itself: its addresses stay there";
        found.add(Warning, mac, message, "give the new address, which the report tells, to whoever uses it");
    }
    for floating in around.floating_of(port) {
        let message =
            format!("its floating IP {} stays: the target has others", floating.floating_ip_address);
        let remedy = "give the new one, which the report tells, to DNS and to whoever uses it";
        found.add(Warning, mac, message, remedy);
    }
}

fn of_groups(parts: &Parts, around: &Around, found: &mut Found<'_>) {
    let mut ids: Vec<&String> = parts.ports.iter().flat_map(|port| &port.security_groups).collect();
    ids.sort();
    ids.dedup();
    for group in ids.into_iter().filter_map(|id| around.group(id)) {
        let lost = |rule: &&GroupRule| rule.remote_address_group_id.is_some();
        let lost = group.security_group_rules.iter().filter(lost).count();
        if lost > 0 {
            let message = format!(
                "{lost} rules of security group `{}` name address groups and do not move",
                group.name
            );
            found.add(Warning, "", message, "write their addresses into rules of the group");
        }
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
    } else if volume.multiattach {
        let message =
            "it can be attached to several servers; at the target only if its volume type there allows it";
        found.add(Information, &part, message, "give it such a type there if it is still needed");
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
