//! Neutron's subnets and routers: what they look like and what can be asked of them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::lenient;
use super::networks::Network;
use super::servers::Id;
use crate::error::Error;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Subnet {
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub network_id: String,
    pub cidr: String,
    #[serde(default)]
    pub gateway_ip: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub enable_dhcp: bool,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub dns_nameservers: Vec<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub allocation_pools: Vec<Range>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub host_routes: Vec<Hop>,
    #[serde(default)]
    pub ipv6_address_mode: Option<String>,
    #[serde(default)]
    pub ipv6_ra_mode: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Range {
    pub start: String,
    pub end: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Hop {
    pub destination: String,
    pub nexthop: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Router {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created_at: String,
    #[serde(rename = "external_gateway_info", default)]
    pub gateway: Option<Gateway>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub routes: Vec<Hop>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Gateway {
    pub network_id: String,
}

/// Owner of a port by which a router is in a subnet; clouds with distributed or doubled routers have more of them.
const ROUTER_PORTS: [&str; 3] = [
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
];

pub(super) fn is_router_port(owner: &str) -> bool {
    ROUTER_PORTS.contains(&owner)
}

impl Api {
    pub(super) async fn subnets(&self, network: &Network) -> Result<Vec<Subnet>, Error> {
        let what = format!("list the subnets of network `{}`", network.name);
        let call = Call::get(Service::Network, "/subnets", what).query("network_id", network.id.clone());
        self.list(call, "subnets").await
    }

    pub(super) async fn all_subnets(&self) -> Result<Vec<Subnet>, Error> {
        self.list(Call::get(Service::Network, "/subnets", "list subnets"), "subnets").await
    }

    pub(super) async fn routers(&self) -> Result<Vec<Router>, Error> {
        self.list(Call::get(Service::Network, "/routers", "list routers"), "routers").await
    }

    pub(super) async fn make_subnet(&self, cidr: &str, subnet: Value) -> Result<String, Error> {
        let call = Call::post(Service::Network, "/subnets", format!("make subnet {cidr}"));
        Ok(self.one::<Id>(call.json(json!({"subnet": subnet})), "subnet").await?.id)
    }

    pub(super) async fn make_router(&self, name: &str, router: Value) -> Result<String, Error> {
        let call = Call::post(Service::Network, "/routers", format!("make router `{name}`"));
        Ok(self.one::<Id>(call.json(json!({"router": router})), "router").await?.id)
    }

    pub(super) async fn delete_router(&self, id: &str) -> Result<(), Error> {
        let what = format!("delete router {id}");
        self.remove(Call::delete(Service::Network, format!("/routers/{id}"), what)).await
    }

    /// `by` is a subnet or a port.
    pub(super) async fn join_router(&self, id: &str, by: Value) -> Result<(), Error> {
        let path = format!("/routers/{id}/add_router_interface");
        self.call(Call::put(Service::Network, path, format!("join a subnet to router {id}")).json(by))
            .await
            .map(drop)
    }

    /// One that has left, or is gone, is no error.
    pub(super) async fn leave_router(&self, id: &str, by: Value) -> Result<(), Error> {
        let path = format!("/routers/{id}/remove_router_interface");
        let call = Call::put(Service::Network, path, format!("take a subnet off router {id}"));
        super::api::absent(self.call(call.json(by)).await).map(drop)
    }

    pub(super) async fn set_routes(&self, id: &str, routes: Vec<Value>) -> Result<(), Error> {
        let call =
            Call::put(Service::Network, format!("/routers/{id}"), format!("set the routes of router {id}"));
        self.call(call.json(json!({"router": {"routes": routes}}))).await.map(drop)
    }
}
