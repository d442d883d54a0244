//! Networks and their subnets: one that is there is used when it has the source's name and its subnets; else one is made,
//! all of it as the source's.

use std::net::IpAddr;

use fluidcloud_proto::furniture::{Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::surroundings::{Network, Subnet};
use serde_json::{Value, json};

use super::super::networks::Network as Found;
use super::super::subnets::Subnet as FoundSubnet;
use super::super::{OpenstackProvider, tag};
use super::{Here, Taken};
use crate::error::Error;
use crate::furnishing::Furnishing;

pub(super) const ROLE: &str = "network";

pub(super) fn description(relocation: RelocationId, name: &str) -> String {
    tag::short(&tag::description(relocation, &format!("{ROLE} {name}")))
}

/// What stands for a network of the source. Pure.
pub(super) fn taken(wanted: &Network, relocation: RelocationId, here: &Here) -> Taken {
    let ours = description(relocation, &wanted.name);
    let mut all: Vec<&Found> = here.networks.iter().collect();
    all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    if let Some(found) = all.iter().find(|found| found.description == ours) {
        return Taken::Made { id: found.id.clone(), name: found.name.clone() };
    }
    let mut named = all.into_iter().filter(|found| found.name == wanted.name);
    let named: Vec<&Found> = named.by_ref().collect();
    let same = |found: &&&Found| {
        let has =
            |cidr: &str| here.subnets.iter().any(|it| it.network_id == found.id && is_same(cidr, &it.cidr));
        found.external == wanted.external && wanted.subnets.iter().all(|subnet| has(&subnet.cidr))
    };
    match named.iter().find(same) {
        Some(found) => Taken::There { id: found.id.clone(), name: found.name.clone() },
        None if named.is_empty() => Taken::Nothing { name: wanted.name.clone() },
        None => Taken::Nothing { name: format!("{}-{}", wanted.name, tag::label(relocation)) },
    }
}

/// However they are written.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    let parts = |cidr: &str| -> Option<(IpAddr, u8)> {
        let (net, length) = cidr.split_once('/')?;
        Some((net.parse().ok()?, length.parse().ok()?))
    };
    one == other || (parts(one).is_some() && parts(one) == parts(other))
}

impl OpenstackProvider {
    pub(super) async fn furnish_network(
        &self,
        order: &Furnishing,
        wanted: &Network,
        here: &Here,
    ) -> Result<Furniture, Error> {
        let mut notes = Vec::new();
        let (id, name, made) = match taken(wanted, order.relocation, here) {
            Taken::There { id, name } => (id, name, false),
            Taken::Made { id, name } => (id, name, true),
            Taken::Nothing { name } => {
                self.may_be_made(wanted)?;
                let id = self.new_network(order.relocation, wanted, &name, &mut notes).await?;
                (id, name, true)
            }
        };
        if made {
            for subnet in &wanted.subnets {
                self.furnish_subnet(order.relocation, &id, subnet).await?;
            }
        }
        Ok(Furniture {
            kind: FurnitureKind::Network,
            source: wanted.name.clone(),
            target: name,
            id,
            made,
            notes,
            decided_for: None,
        })
    }

    /// What its cloud lends to everybody is not ours to imitate: instances would find none of their neighbours there.
    pub(super) fn may_be_made(&self, wanted: &Network) -> Result<(), Error> {
        if !wanted.shared && !wanted.external {
            return Ok(());
        }
        Err(Error::Config {
            provider: self.id.to_string(),
            what: format!(
                "there is nothing like network `{}`, which the source's cloud lends to its projects: say what \
                 stands for it, with `networks: {{{}: NAME}}` or with `network`",
                wanted.name, wanted.name
            ),
        })
    }

    async fn new_network(
        &self,
        relocation: RelocationId,
        wanted: &Network,
        name: &str,
        notes: &mut Vec<String>,
    ) -> Result<String, Error> {
        let description = description(relocation, &wanted.name);
        let plain = json!({"name": name, "description": description});
        let mut network = plain.clone();
        if let Some(mtu) = wanted.mtu {
            network["mtu"] = json!(mtu);
        }
        let made = match self.api.make_network(name, network).await {
            // Larger than this cloud's, or not for members to say.
            Err(Error::Refused { status: 400 | 403, full: false, .. }) if wanted.mtu.is_some() => {
                notes.push(format!("its MTU is the target's own, not {}", wanted.mtu.unwrap_or_default()));
                self.api.make_network(name, plain).await?
            }
            made => made?,
        };
        // Another caller may have made one at the same time: the older one is it, for everybody.
        let mut all = self.api.networks().await?;
        all.retain(|network| network.description == description);
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        match all.into_iter().next() {
            Some(first) if first.id != made => {
                self.api.delete_network(&made).await?;
                Ok(first.id)
            }
            _ => Ok(made),
        }
    }

    async fn furnish_subnet(
        &self,
        relocation: RelocationId,
        network: &str,
        wanted: &Subnet,
    ) -> Result<(), Error> {
        let is_there = async || -> Result<bool, Error> {
            let all = self.api.all_subnets().await?;
            Ok(all.iter().any(|found| found.network_id == network && is_same(&found.cidr, &wanted.cidr)))
        };
        if is_there().await? {
            return Ok(());
        }
        match self.api.make_subnet(&wanted.cidr, body(relocation, network, wanted)).await {
            Ok(_) => Ok(()),
            // Another caller was quicker.
            Err(Error::Refused { status: 400 | 409, full: false, .. }) if is_there().await? => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn body(relocation: RelocationId, network: &str, wanted: &Subnet) -> Value {
    let is_v6 = wanted.cidr.contains(':');
    let mut subnet = json!({
        "network_id": network,
        "name": wanted.name,
        "description": tag::short(&tag::description(relocation, &format!("subnet {}", wanted.cidr))),
        "cidr": wanted.cidr,
        "ip_version": if is_v6 { 6 } else { 4 },
        // Nothing is not the same as left out: that would be the first address.
        "gateway_ip": wanted.gateway,
        "enable_dhcp": wanted.dhcp,
        "dns_nameservers": wanted.dns,
    });
    if !wanted.pools.is_empty() {
        let pool = wanted.pools.iter().map(|pool| json!({"start": pool.first, "end": pool.last}));
        subnet["allocation_pools"] = pool.collect();
    }
    if !wanted.routes.is_empty() {
        let route = wanted.routes.iter().map(|route| json!({"destination": route.to, "nexthop": route.via}));
        subnet["host_routes"] = route.collect();
    }
    for (key, mode) in
        [("ipv6_address_mode", &wanted.ipv6_address_mode), ("ipv6_ra_mode", &wanted.ipv6_ra_mode)]
    {
        if let Some(mode) = mode {
            subnet[key] = json!(mode);
        }
    }
    subnet
}

/// Subnets that are still to be made for a network.
pub(super) fn missing<'a>(wanted: &'a Network, id: Option<&str>, here: &'a Here) -> usize {
    let there = |subnet: &&Subnet| {
        let found = |it: &FoundSubnet| Some(it.network_id.as_str()) == id && is_same(&it.cidr, &subnet.cidr);
        !here.subnets.iter().any(found)
    };
    wanted.subnets.iter().filter(there).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, cidr: &str) -> Network {
        let subnet = json!({"name": "v4", "cidr": cidr, "gateway": null, "dhcp": true});
        serde_json::from_value(json!({"name": name, "subnets": [subnet]})).unwrap()
    }

    fn here(description: &str) -> Here {
        let network = |id: &str, name: &str, at: &str, description: &str| {
            serde_json::from_value(
                json!({"id": id, "name": name, "created_at": at, "description": description}),
            )
            .unwrap()
        };
        let subnet = |network: &str, cidr: &str| {
            serde_json::from_value(json!({"id": cidr, "network_id": network, "cidr": cidr})).unwrap()
        };
        Here {
            networks: vec![network("1", "net", "b", ""), network("2", "net", "a", description)],
            subnets: vec![subnet("1", "10.0.0.0/24"), subnet("2", "10.9.0.0/24")],
            ..Here::default()
        }
    }

    #[test]
    fn name_and_subnets_say_whether_one_is_there() {
        let id = RelocationId::new();
        let there = |name: &str, number: &str| Taken::There { id: number.into(), name: name.into() };
        assert_eq!(taken(&wanted("net", "10.0.0.0/24"), id, &here("")), there("net", "1"));
        assert_eq!(taken(&wanted("net", "10.9.0.0/24"), id, &here("")), there("net", "2"));
        let other = Taken::Nothing { name: format!("net-{}", tag::label(id)) };
        assert_eq!(taken(&wanted("net", "10.8.0.0/24"), id, &here("")), other, "the name is another one's");
        assert_eq!(
            taken(&wanted("new", "10.0.0.0/24"), id, &here("")),
            Taken::Nothing { name: "new".into() }
        );
        let ours = Taken::Made { id: "2".into(), name: "net".into() };
        assert_eq!(taken(&wanted("net", "10.0.0.0/24"), id, &here(&description(id, "net"))), ours);
    }

    #[test]
    fn a_subnet_without_gateway_is_made_without() {
        let made = body(RelocationId::new(), "n", &wanted("net", "fd00::/64").subnets[0]);
        assert_eq!((&made["gateway_ip"], &made["ip_version"]), (&Value::Null, &json!(6)));
        assert!(made.get("allocation_pools").is_none() && made.get("ipv6_ra_mode").is_none());
        assert!(is_same("fd00:0::/64", "fd00::/64") && !is_same("fd00::/64", "fd00::/65"));
    }
}
