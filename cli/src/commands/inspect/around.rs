//! What instances stand in at a cloud, for people.

use fluidcloud_proto::surroundings::{
    Direction, Network, Remote, Router, Rule, SecurityGroup, Subnet, Surroundings,
};

use crate::table::Table;
use crate::units;

pub fn text(around: &Surroundings) -> String {
    let mut parts: Vec<String> = around.networks.iter().map(network).collect();
    parts.extend(around.routers.iter().map(router));
    parts.extend(around.security_groups.iter().map(group));
    parts.extend(around.keypairs.iter().map(|pair| format!("key pair {}: {}", pair.name, pair.fingerprint)));
    parts.extend(around.server_groups.iter().map(|group| {
        format!("server group {}: {}, of {}", group.name, group.policy, group.members.join(", "))
    }));
    if !around.containers.is_empty() {
        let mut table = Table::new(&["CONTAINER OF THE PROJECT", "OBJECTS", "SIZE"]);
        for container in &around.containers {
            table.row([container.name.clone(), container.objects.to_string(), units::bytes(container.bytes)]);
        }
        parts.push(table.to_string());
    }
    parts.join("\n")
}

fn network(network: &Network) -> String {
    let mut text = format!("network {}", network.name);
    for (is, word) in [(network.shared, ", shared"), (network.external, ", external")] {
        text.push_str(if is { word } else { "" });
    }
    if let Some(mtu) = network.mtu {
        text.push_str(&format!(", MTU {mtu}"));
    }
    for it in &network.subnets {
        text.push_str(&format!("\n  {}", subnet(it)));
    }
    text
}

fn subnet(subnet: &Subnet) -> String {
    let list = |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut parts = vec![format!("subnet {}", subnet.cidr)];
    parts.extend((!subnet.name.is_empty()).then(|| format!("called {}", subnet.name)));
    parts.push(match subnet.gateway {
        Some(gateway) => format!("gateway {gateway}"),
        None => "no gateway".to_owned(),
    });
    parts.push(if subnet.dhcp { "DHCP" } else { "no DHCP" }.to_owned());
    parts.extend((!subnet.dns.is_empty()).then(|| format!("DNS {}", list(&subnet.dns))));
    parts.extend(subnet.pools.iter().map(|pool| format!("{} to {}", pool.first, pool.last)));
    parts.extend(subnet.routes.iter().map(|route| format!("{} via {}", route.to, route.via)));
    parts.join(", ")
}

fn router(router: &Router) -> String {
    let outside = router.outside.as_ref().map(|name| format!(" to {name}")).unwrap_or_default();
    let mut text = format!("router {}{outside}: joins {}", router.name, router.subnets.join(", "));
    for route in &router.routes {
        text.push_str(&format!(", {} via {}", route.to, route.via));
    }
    text
}

fn group(group: &SecurityGroup) -> String {
    let rules = group.rules.iter().map(|it| format!("\n  {}", rule(it)));
    format!("security group {}{}", group.name, rules.collect::<String>())
}

fn rule(rule: &Rule) -> String {
    let way = match rule.direction {
        Direction::Ingress => "in from",
        Direction::Egress => "out to",
    };
    let remote = match &rule.remote {
        Remote::Anywhere => "anywhere".to_owned(),
        Remote::Addresses(cidr) => cidr.clone(),
        Remote::Group(name) => format!("group {name}"),
    };
    let ports = match (rule.port_min, rule.port_max) {
        (None, None) => String::new(),
        (Some(first), Some(last)) if first != last => format!(" {first}-{last}"),
        (first, last) => format!(" {}", first.or(last).unwrap_or_default()),
    };
    format!("{way} {remote}: {}{ports}, {}", rule.protocol.as_deref().unwrap_or("anything"), rule.ethertype)
}
