//! Ports of an instance before it is a server: each on the network, and with the security groups, that stand for those of the
//! source; with the hardware address, and the fixed one where the subnet has it.

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Nic;
use serde_json::{Value, json};

use super::OpenstackProvider;
use super::fixed;
use super::networks::{Network, Port};
use super::tag;
use crate::error::Error;
use crate::provider::InstanceOrder;

impl OpenstackProvider {
    /// Whoever comes second finds the port of the first by its hardware address, which a network has only once.
    pub(super) async fn make_ports(&self, order: &InstanceOrder) -> Result<(), Error> {
        let mut ports = self.api.ports_of(order.relocation).await?;
        for (at, nic) in order.nics.iter().enumerate() {
            let description = tag::description(order.relocation, &port_role(&order.name, at));
            if ports.iter().any(|port| port.description == description) {
                continue;
            }
            let network = self.network_for(order, nic).await?;
            let what = format!("make a port with address {} on network `{}`", nic.mac, network.name);
            let mut port = json!({
                "network_id": network.id,
                "mac_address": nic.mac,
                "description": description,
                "name": format!("{}-{at}", order.name),
            });
            let groups = self.groups_for(order, nic).await?;
            if !groups.is_empty() {
                port["security_groups"] = json!(groups);
            }
            let subnets = self.api.subnets(&network).await?;
            let subnets: Vec<&str> = subnets.iter().map(|subnet| subnet.cidr.as_str()).collect();
            let kept = fixed::keepable(&nic.addresses, &subnets);
            let mut made = if kept.is_empty() {
                self.api.make_port(&what, port.clone()).await
            } else {
                let mut same: Value = port.clone();
                same["fixed_ips"] = kept.iter().map(|address| json!({"ip_address": address})).collect();
                self.api.make_port(&what, same).await
            };
            if matches!(&made, Err(Error::Refused { status: 400 | 409, full: false, .. })) {
                ports = self.api.ports_of(order.relocation).await?;
                if ports.iter().any(|port| port.description == description) {
                    continue;
                }
                if !kept.is_empty() {
                    // Somebody else has the address there: then any.
                    made = self.api.make_port(&what, port).await;
                }
            }
            made?;
        }
        Ok(())
    }

    /// What the configuration names for it, or what was furnished.
    async fn network_for(&self, order: &InstanceOrder, nic: &Nic) -> Result<Network, Error> {
        if let Some(name) = self.config.network.as_ref().or(self.config.networks.get(&nic.network)) {
            return self.api.network_named(name).await;
        }
        let furnished = order.furnished.find(FurnitureKind::Network, &nic.network);
        let furnished = furnished.ok_or_else(|| self.no_network(&nic.network))?;
        Ok(Network { id: furnished.id.clone(), name: furnished.target.clone(), ..Network::default() })
    }

    pub(super) fn no_network(&self, source: &str) -> Error {
        let what = format!(
            "nothing stands for network `{source}` of the source: name it with `networks: {{{source}: NAME}}`, or one \
             `network` for all NICs"
        );
        Error::Config { provider: self.id.to_string(), what }
    }

    /// Ids; none is the project's `default`.
    async fn groups_for(&self, order: &InstanceOrder, nic: &Nic) -> Result<Vec<String>, Error> {
        if let Some(decided) = &order.launched.security_group {
            return Ok(vec![decided.clone()]);
        }
        if !self.config.security_groups.is_empty() {
            return self.api.security_group_ids(&self.config.security_groups).await;
        }
        let stands = |name: &String| order.furnished.find(FurnitureKind::SecurityGroup, name);
        Ok(nic.security_groups.iter().filter_map(stands).map(|group| group.id.clone()).collect())
    }

    /// In the order of the NICs.
    pub(super) async fn defined_ports(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<Vec<Port>, Error> {
        let mut ports = self.api.ports_of(relocation).await?;
        let begins = tag::description(relocation, &format!("port {name} "));
        ports.retain(|port| port.description.starts_with(&begins));
        ports.sort_by_key(|port| port.description[begins.len()..].parse::<u32>().unwrap_or(u32::MAX));
        Ok(ports)
    }
}

fn port_role(name: &InstanceName, at: usize) -> String {
    format!("port {name} {at}")
}
