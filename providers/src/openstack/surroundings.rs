//! What servers of a project stand in, by name: only what those servers use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fluidcloud_proto::ids::InstanceName;
use fluidcloud_proto::surroundings::{
    Direction, Keypair, Network, Pool, Remote, Route, Router, Rule, SecurityGroup, ServerGroup, Subnet,
    Surroundings,
};

use super::OpenstackProvider;
use super::around::Around;
use super::networks::{self, GroupRule, Port};
use super::power::Found;
use super::servers::Server;
use super::subnets::{self, Hop, is_router_port};
use crate::error::Error;

impl OpenstackProvider {
    pub(super) async fn surroundings_of(&self, names: &[InstanceName]) -> Result<Surroundings, Error> {
        let mut servers: Vec<(InstanceName, Server)> = Vec::new();
        for name in names {
            // One that was never started stands in what the move itself has made.
            if let Found::Server(server) = self.find(name).await? {
                servers.push((name.clone(), *server));
            }
        }
        let api = &self.api;
        let around = self.around().await?;
        let looks = futures::future::try_join3(api.ports(), api.all_subnets(), api.routers());
        let (ports, subnets, routers) = Box::pin(looks).await?;
        let ids: BTreeSet<&str> = servers.iter().map(|(_, server)| server.id.as_str()).collect();
        let own: Vec<&Port> = ports.iter().filter(|port| ids.contains(port.device_id.as_str())).collect();
        let used: BTreeSet<&str> = own.iter().map(|port| port.network_id.as_str()).collect();
        let told: Vec<&subnets::Subnet> =
            subnets.iter().filter(|subnet| used.contains(subnet.network_id.as_str())).collect();
        Ok(Surroundings {
            networks: used.iter().filter_map(|id| network(id, &around, &told)).collect(),
            routers: routers.iter().filter_map(|it| router(it, &around, &told, &ports)).collect(),
            security_groups: groups(&own, &around),
            keypairs: keypairs(&servers, &around),
            server_groups: server_groups(&servers, &around),
            containers: api.containers().await?,
        })
    }
}

fn network(id: &str, around: &Around, subnets: &[&subnets::Subnet]) -> Option<Network> {
    let found = around.network(id)?;
    let subnets = subnets.iter().filter(|subnet| subnet.network_id == id);
    Some(Network {
        name: around.network_name(id),
        shared: found.shared,
        external: found.external,
        mtu: found.mtu.filter(|mtu| *mtu > 0),
        subnets: subnets.map(|it| subnet(it)).collect(),
    })
}

fn subnet(found: &subnets::Subnet) -> Subnet {
    let address = |text: &String| text.parse::<IpAddr>().ok();
    let mode = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let pool =
        |pool: &subnets::Range| Some(Pool { first: pool.start.parse().ok()?, last: pool.end.parse().ok()? });
    Subnet {
        name: found.name.clone(),
        cidr: found.cidr.clone(),
        gateway: found.gateway_ip.as_ref().and_then(address),
        dhcp: found.enable_dhcp,
        dns: found.dns_nameservers.iter().filter_map(address).collect(),
        pools: found.allocation_pools.iter().filter_map(pool).collect(),
        routes: routes(&found.host_routes),
        ipv6_address_mode: mode(&found.ipv6_address_mode),
        ipv6_ra_mode: mode(&found.ipv6_ra_mode),
    }
}

fn routes(hops: &[Hop]) -> Vec<Route> {
    let route = |hop: &Hop| Some(Route { to: hop.destination.clone(), via: hop.nexthop.parse().ok()? });
    hops.iter().filter_map(route).collect()
}

/// One that joins a subnet that is told.
fn router(
    found: &subnets::Router,
    around: &Around,
    subnets: &[&subnets::Subnet],
    ports: &[Port],
) -> Option<Router> {
    let mut joined: Vec<String> = Vec::new();
    let own = ports.iter().filter(|port| port.device_id == found.id && is_router_port(&port.device_owner));
    for fixed in own.flat_map(|port| &port.fixed_ips) {
        let told = subnets.iter().find(|subnet| subnet.id == fixed.subnet_id);
        joined.extend(told.map(|subnet| subnet.cidr.clone()));
    }
    joined.sort();
    joined.dedup();
    let outside = found.gateway.as_ref().map(|gateway| around.network_name(&gateway.network_id));
    let name = if found.name.is_empty() { found.id.clone() } else { found.name.clone() };
    (!joined.is_empty()).then(|| Router { name, outside, subnets: joined, routes: routes(&found.routes) })
}

/// Those of the ports, and those that their rules speak of.
fn groups(ports: &[&Port], around: &Around) -> Vec<SecurityGroup> {
    let mut waiting: Vec<&str> =
        ports.iter().flat_map(|port| &port.security_groups).map(String::as_str).collect();
    let mut told: BTreeMap<&str, SecurityGroup> = BTreeMap::new();
    while let Some(id) = waiting.pop() {
        let Some(found) = around.group(id).filter(|_| !told.contains_key(id)) else { continue };
        waiting.extend(found.security_group_rules.iter().filter_map(|rule| rule.remote_group_id.as_deref()));
        told.insert(id, group(found, around));
    }
    let mut groups: Vec<SecurityGroup> = told.into_values().collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

fn group(found: &networks::SecurityGroup, around: &Around) -> SecurityGroup {
    SecurityGroup {
        name: around.group_name(&found.id),
        description: found.description.clone(),
        rules: rules(&found.security_group_rules, |id| around.group_name(id)),
    }
}

/// Sorted, each once. One that names a group of addresses is left out: it has no meaning elsewhere, and inspection has a
/// concern about it.
pub(super) fn rules(found: &[GroupRule], name: impl Fn(&str) -> String) -> Vec<Rule> {
    let plain = found.iter().filter(|rule| rule.remote_address_group_id.is_none());
    let mut rules: Vec<Rule> = plain.map(|found| rule(found, &name)).collect();
    rules.sort();
    rules.dedup();
    rules
}

pub(super) fn rule(found: &GroupRule, name: impl Fn(&str) -> String) -> Rule {
    let protocol = found.protocol.clone().filter(|protocol| !protocol.is_empty() && protocol != "any");
    Rule {
        direction: if found.direction == "egress" { Direction::Egress } else { Direction::Ingress },
        ethertype: if found.ethertype.is_empty() { "IPv4".to_owned() } else { found.ethertype.clone() },
        protocol,
        port_min: found.port_range_min,
        port_max: found.port_range_max,
        remote: match (&found.remote_group_id, &found.remote_ip_prefix) {
            (Some(group), _) => Remote::Group(name(group)),
            (None, Some(prefix)) => Remote::Addresses(prefix.clone()),
            (None, None) => Remote::Anywhere,
        },
    }
}

fn keypairs(servers: &[(InstanceName, Server)], around: &Around) -> Vec<Keypair> {
    let used: BTreeSet<&str> = servers.iter().filter_map(|(_, server)| server.key_name.as_deref()).collect();
    let told = around.keypairs.iter().filter(|pair| used.contains(pair.name.as_str()));
    told.map(|pair| Keypair {
        name: pair.name.clone(),
        fingerprint: pair.fingerprint.clone(),
        public_key: pair.public_key.trim().to_owned(),
    })
    .collect()
}

fn server_groups(servers: &[(InstanceName, Server)], around: &Around) -> Vec<ServerGroup> {
    let members = |ids: &[String]| -> Vec<String> {
        let told = servers.iter().filter(|(_, server)| ids.contains(&server.id));
        told.map(|(name, _)| name.to_string()).collect()
    };
    let told = around.server_groups.iter().filter_map(|group| {
        let members = members(&group.members);
        let (name, policy) = (group.name.clone(), group.policy().to_owned());
        (!members.is_empty()).then_some(ServerGroup { name, policy, members })
    });
    told.collect()
}
