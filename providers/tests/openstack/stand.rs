//! What a server of the tests stands in: a network behind a router, security groups that speak of each other, a key pair, a
//! server group; all with names that nobody else has.

use std::collections::BTreeSet;

use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_providers::openstack::api::{Api, Call, Service};
use serde_json::{Value, json};

/// A key for which nobody has the private half.
const PUBLIC_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAII96OUKgMFSi7npwK1ktl1aL0pT6Dpthwhikm4L/Q20R";

/// As inspection would tell of it. `outside`: the external network of the source.
pub fn surroundings(label: &str, outside: &str) -> Surroundings {
    let named = |what: &str| format!("{label}-{what}");
    let v4 = json!({
        "name": named("v4"), "cidr": "10.91.7.0/24", "gateway": "10.91.7.1", "dhcp": true, "dns": ["10.91.7.2"],
        "pools": [{"first": "10.91.7.20", "last": "10.91.7.90"}],
        "routes": [{"to": "10.92.0.0/16", "via": "10.91.7.3"}],
    });
    let v6 = json!({
        "name": named("v6"), "cidr": "fd91:7::/64", "gateway": "fd91:7::1", "dhcp": true,
        "pools": [{"first": "fd91:7::2", "last": "fd91:7::ffff"}],
        "ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac",
    });
    let rule = |direction: &str, ports: Value, remote: Value| json!({"direction": direction, "ethertype": "IPv4", "protocol": "tcp", "port_min": ports, "port_max": ports, "remote": remote});
    let web = [
        rule("ingress", json!(80), json!({"addresses": "0.0.0.0/0"})),
        rule("egress", json!(5432), json!({"group": named("db")})),
    ];
    let db = [rule("ingress", json!(5432), json!({"group": named("web")}))];
    let any = json!({"direction": "egress", "ethertype": "IPv4", "remote": "anywhere"});
    serde_json::from_value(json!({
        "networks": [{"name": named("net"), "mtu": 1400, "subnets": [v4, v6]}],
        "routers": [{"name": named("router"), "outside": outside, "subnets": ["10.91.7.0/24", "fd91:7::/64"]}],
        "security_groups": [
            {"name": named("db"), "rules": db},
            {"name": named("web"), "rules": web},
            {"name": "default", "rules": [any]},
        ],
        "keypairs": [{"name": named("ops"), "fingerprint": "", "public_key": PUBLIC_KEY}],
        "server_groups": [{"name": named("apart"), "policy": "soft-anti-affinity", "members": []}],
    }))
    .unwrap()
}

/// Everything of such kinds in the project by id, without ports, which a cloud makes and removes in its own time.
pub async fn listing(api: &Api) -> BTreeSet<String> {
    const KINDS: [(Service, &str, &str); 6] = [
        (Service::Network, "/networks", "networks"),
        (Service::Network, "/subnets", "subnets"),
        (Service::Network, "/routers", "routers"),
        (Service::Network, "/security-groups", "security_groups"),
        (Service::Compute, "/os-keypairs", "keypairs"),
        (Service::Compute, "/os-server-groups", "server_groups"),
    ];
    let mut all = BTreeSet::new();
    for (service, path, key) in KINDS {
        let answer = api.call(Call::get(service, path, "list")).await.unwrap();
        for thing in answer[key].as_array().unwrap() {
            let id = if key == "keypairs" { &thing["keypair"]["name"] } else { &thing["id"] };
            all.insert(format!("{key} {id} {}", thing["name"]));
        }
    }
    all
}
