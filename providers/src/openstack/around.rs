//! What the cloud says around servers: networks, addresses, groups, keys. Looked at once for all servers that are asked
//! about; what it says of one of them becomes its settings and its NICs.

use std::collections::BTreeMap;

use fluidcloud_proto::surroundings::{BootSource, Settings};
use fluidcloud_proto::topology::Nic;

use super::OpenstackProvider;
use super::inspect::Parts;
use super::keypairs::{Keypair, ServerGroup};
use super::networks::{FloatingIp, Network, Port, SecurityGroup};
use crate::error::Error;

/// All that the project sees of such things.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub networks: Vec<Network>,
    pub floating: Vec<FloatingIp>,
    pub groups: Vec<SecurityGroup>,
    pub keypairs: Vec<Keypair>,
    pub server_groups: Vec<ServerGroup>,
}

impl OpenstackProvider {
    pub(super) async fn around(&self) -> Result<Around, Error> {
        let api = &self.api;
        let looks = futures::future::try_join5(
            api.networks(),
            api.floating_ips(),
            api.security_groups(),
            api.keypairs(),
            api.server_groups(),
        );
        let (networks, floating, groups, keypairs, server_groups) = Box::pin(looks).await?;
        Ok(Around { networks, floating, groups, keypairs, server_groups })
    }
}

impl Around {
    /// What a network is called; by its id where its name is used twice, or it has none.
    pub fn network_name(&self, id: &str) -> String {
        let all = self.networks.iter().map(|network| (network.id.as_str(), network.name.as_str()));
        called(id, all)
    }

    pub fn network(&self, id: &str) -> Option<&Network> {
        self.networks.iter().find(|network| network.id == id)
    }

    pub fn group_name(&self, id: &str) -> String {
        called(id, self.groups.iter().map(|group| (group.id.as_str(), group.name.as_str())))
    }

    pub fn group(&self, id: &str) -> Option<&SecurityGroup> {
        self.groups.iter().find(|group| group.id == id)
    }

    pub fn server_group_of(&self, server: &str) -> Option<&ServerGroup> {
        self.server_groups.iter().find(|group| group.members.iter().any(|member| member == server))
    }

    /// Addresses outside that lead to a port.
    pub fn floating_of(&self, port: &Port) -> impl Iterator<Item = &FloatingIp> {
        self.floating.iter().filter(|floating| floating.port_id.as_deref() == Some(port.id.as_str()))
    }

    pub fn nic(&self, port: &Port, model: &str) -> Nic {
        let floating = self.floating_of(port);
        Nic {
            mac: port.mac_address.to_lowercase(),
            model: model.to_owned(),
            network: self.network_name(&port.network_id),
            addresses: port.fixed_ips.iter().filter_map(|fixed| fixed.ip_address.parse().ok()).collect(),
            floating: floating.filter_map(|floating| floating.floating_ip_address.parse().ok()).collect(),
            security_groups: port.security_groups.iter().map(|id| self.group_name(id)).collect(),
        }
    }

    pub fn settings(&self, parts: &Parts) -> Settings {
        let server = parts.server.as_ref();
        let mut security_groups = Vec::new();
        for id in parts.ports.iter().flat_map(|port| &port.security_groups) {
            let name = self.group_name(id);
            if !security_groups.contains(&name) {
                security_groups.push(name);
            }
        }
        Settings {
            flavor: parts.flavor.name.clone(),
            boots_from: boots_from(parts),
            keypair: server.and_then(|server| server.key_name.clone()),
            security_groups,
            server_group: server
                .and_then(|server| self.server_group_of(&server.id))
                .map(|group| group.name.clone()),
            availability_zone: server.and_then(|server| server.zone.clone()).filter(|zone| !zone.is_empty()),
            metadata: server.map(|server| others(&server.metadata)).unwrap_or_default(),
            has_user_data: server.is_some_and(|server| server.has_user_data),
        }
    }
}

fn boots_from(parts: &Parts) -> BootSource {
    if let Some(id) = parts.server.as_ref().and_then(|server| server.image_id()) {
        let name = parts.image.as_ref().and_then(|image| image.name.clone());
        return BootSource::Image(name.unwrap_or_else(|| id.to_owned()));
    }
    match parts.volumes.first() {
        Some((_, root)) => BootSource::Volume(root.volume_type.clone().unwrap_or_default()),
        None => BootSource::Unknown,
    }
}

/// What is not ours.
fn others(metadata: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let theirs = metadata.iter().filter(|(key, _)| !key.starts_with("fluidcloud_"));
    theirs.map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn called<'a>(id: &str, all: impl Iterator<Item = (&'a str, &'a str)> + Clone) -> String {
    let name = all.clone().find(|(known, _)| *known == id).map_or("", |(_, name)| name);
    let twice = all.filter(|(_, other)| *other == name).count() > 1;
    if name.is_empty() || twice { id.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_used_twice_is_none() {
        let all = [("1", "web"), ("2", "db"), ("3", "db"), ("4", "")];
        let names: Vec<_> = ["1", "2", "4", "5"].iter().map(|id| called(id, all.into_iter())).collect();
        assert_eq!(names, ["web", "2", "4", "5"]);
    }

    #[test]
    fn our_own_marks_are_not_told_as_metadata() {
        let all = [("fluidcloud_kept", "x"), ("tier", "gold")];
        let all = all.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(others(&all).into_keys().collect::<Vec<_>>(), ["tier"]);
    }
}
