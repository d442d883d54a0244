//! What instances stand in at a cloud: networks, routers, security groups, key pairs, server groups, object containers. All
//! by name, as an id means nothing at another cloud. Only what the instances of a service use is told.

use std::collections::BTreeMap;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Surroundings {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Network>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routers: Vec<Router>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<SecurityGroup>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keypairs: Vec<Keypair>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_groups: Vec<ServerGroup>,
    /// Those of the whole project: which of them a service uses is not known to its cloud.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<Container>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Network {
    pub name: String,
    /// Its owner lets other projects use it: it is there for everybody, and not made by anybody's move.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// Floating IPs come from here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub external: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    pub subnets: Vec<Subnet>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subnet {
    pub name: String,
    /// Such as `10.20.0.0/24`.
    pub cidr: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    pub dhcp: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<Pool>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// `slaac`, `dhcpv6-stateful` or `dhcpv6-stateless`, of a subnet of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_address_mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6_ra_mode: Option<String>,
}

/// Addresses that may be given out, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pool {
    pub first: IpAddr,
    pub last: IpAddr,
}

/// Of a subnet: one that its instances learn by DHCP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    pub to: String,
    pub via: IpAddr,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Router {
    pub name: String,
    /// The external network to which it leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<String>,
    /// CIDRs of the subnets that it joins, of networks that are told too.
    pub subnets: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecurityGroup {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    pub rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    pub direction: Direction,
    /// `IPv4` or `IPv6`.
    pub ethertype: String,
    /// Such as `tcp`; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// First and last port; of ICMP type and code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_min: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_max: Option<u32>,
    pub remote: Remote,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    Ingress,
    Egress,
}

/// The other end of what a rule lets through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Remote {
    Anywhere,
    /// A CIDR.
    Addresses(String),
    /// The instances of the security group with this name.
    Group(String),
}

/// Only the public half is known to a cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Keypair {
    pub name: String,
    pub fingerprint: String,
    pub public_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerGroup {
    pub name: String,
    /// Such as `anti-affinity`.
    pub policy: String,
    /// Names of its instances that are told too.
    pub members: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Container {
    pub name: String,
    pub objects: u64,
    pub bytes: u64,
}

/// What a cloud was told when it made an instance, beside its size.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flavor: String,
    pub boots_from: BootSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub security_groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_group: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Whether it was made with user data. What it says is never told: there are passwords in such scripts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_user_data: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BootSource {
    #[default]
    Unknown,
    /// By its name: the root disk is on the hypervisor.
    Image(String),
    /// The root disk is a volume of this type.
    Volume(String),
}

impl Surroundings {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
