//! Neutron's networks, ports, floating IPs and security groups: what they look like, and what can be asked of all but the
//! groups.

use fluidcloud_proto::ids::RelocationId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::lenient;
use super::servers::Id;
use super::tag;
use crate::error::Error;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Port {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub network_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub mac_address: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    #[serde(rename = "binding:vnic_type", default, deserialize_with = "lenient::or_default")]
    pub vnic_type: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub fixed_ips: Vec<FixedIp>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device_owner: String,
    /// Ids.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub security_groups: Vec<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub allowed_address_pairs: Vec<AddressPair>,
    /// Nothing where the cloud has no such thing.
    #[serde(default)]
    pub port_security_enabled: Option<bool>,
    /// Of a port that carries others, by VLAN.
    #[serde(default)]
    pub trunk_details: Option<Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct FixedIp {
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ip_address: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub subnet_id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct AddressPair {
    pub ip_address: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct FloatingIp {
    pub id: String,
    pub floating_ip_address: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub floating_network_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub port_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    /// Counts its changes, where the cloud does.
    #[serde(default)]
    pub revision_number: Option<u64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct SecurityGroup {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub project_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub security_group_rules: Vec<GroupRule>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct GroupRule {
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    pub direction: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ethertype: String,
    #[serde(default)]
    pub protocol: Option<String>,
    #[serde(default)]
    pub port_range_min: Option<u32>,
    #[serde(default)]
    pub port_range_max: Option<u32>,
    #[serde(default)]
    pub remote_ip_prefix: Option<String>,
    #[serde(default)]
    pub remote_group_id: Option<String>,
    #[serde(default)]
    pub remote_address_group_id: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Network {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub description: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub shared: bool,
    #[serde(rename = "router:external", default, deserialize_with = "lenient::or_default")]
    pub external: bool,
    #[serde(default)]
    pub mtu: Option<u32>,
}

impl Api {
    pub(super) async fn ports(&self) -> Result<Vec<Port>, Error> {
        self.list(Call::get(Service::Network, "/ports", "list ports"), "ports").await
    }

    pub(super) async fn ports_of(&self, relocation: RelocationId) -> Result<Vec<Port>, Error> {
        let mut ports = self.ports().await?;
        ports.retain(|port| tag::describes(&port.description, relocation));
        Ok(ports)
    }

    pub(super) async fn ports_of_server(&self, server: &str) -> Result<Vec<Port>, Error> {
        let call = Call::get(Service::Network, "/ports", format!("list the ports of server {server}"));
        self.list(call.query("device_id", server), "ports").await
    }

    pub(super) async fn ports_of_network(&self, network: &str) -> Result<Vec<Port>, Error> {
        let call = Call::get(Service::Network, "/ports", format!("list the ports of network {network}"));
        self.list(call.query("network_id", network), "ports").await
    }

    pub(super) async fn make_port(&self, what: &str, port: Value) -> Result<Port, Error> {
        self.one(Call::post(Service::Network, "/ports", what).json(json!({"port": port})), "port").await
    }

    pub(super) async fn delete_port(&self, id: &str) -> Result<(), Error> {
        self.remove(Call::delete(Service::Network, format!("/ports/{id}"), format!("delete port {id}"))).await
    }

    pub(super) async fn floating_ips(&self) -> Result<Vec<FloatingIp>, Error> {
        self.list(Call::get(Service::Network, "/floatingips", "list floating IPs"), "floatingips").await
    }

    pub(super) async fn floating_ips_of(&self, relocation: RelocationId) -> Result<Vec<FloatingIp>, Error> {
        let mut all = self.floating_ips().await?;
        all.retain(|floating| tag::describes(&floating.description, relocation));
        Ok(all)
    }

    pub(super) async fn make_floating_ip(
        &self,
        network: &str,
        port: Option<&str>,
        description: &str,
    ) -> Result<FloatingIp, Error> {
        let call = Call::post(Service::Network, "/floatingips", "allocate a floating IP");
        let body = json!({"floating_network_id": network, "port_id": port, "description": description});
        self.one(call.json(json!({"floatingip": body})), "floatingip").await
    }

    pub(super) async fn set_floating_ip(
        &self,
        id: &str,
        port: Option<&str>,
        description: &str,
    ) -> Result<(), Error> {
        let path = format!("/floatingips/{id}");
        let call = Call::put(Service::Network, path, format!("associate floating IP {id}"));
        let body = json!({"floatingip": {"port_id": port, "description": description}});
        self.call(call.json(body)).await.map(drop)
    }

    /// Says what it is for, and nothing else about it, unless it was changed since it was found. Answers it as it then is.
    pub(super) async fn describe_floating_ip(
        &self,
        found: &FloatingIp,
        description: &str,
    ) -> Result<FloatingIp, Error> {
        let path = format!("/floatingips/{}", found.id);
        let what = format!("describe floating IP {}", found.id);
        let mut call = Call::put(Service::Network, path.clone(), what)
            .json(json!({"floatingip": {"description": description}}));
        if let Some(revision) = found.revision_number {
            call = call.header("if-match", format!("revision_number={revision}"));
        }
        match self.call(call).await {
            // Changed by another, or by a request of ours whose answer was lost.
            Ok(_) | Err(Error::Refused { status: 412, .. }) => (),
            Err(error) => return Err(error),
        }
        let what = format!("look at floating IP {}", found.id);
        self.one(Call::get(Service::Network, path, what), "floatingip").await
    }

    pub(super) async fn delete_floating_ip(&self, id: &str) -> Result<(), Error> {
        let what = format!("release floating IP {id}");
        self.remove(Call::delete(Service::Network, format!("/floatingips/{id}"), what)).await
    }

    pub(super) async fn networks(&self) -> Result<Vec<Network>, Error> {
        self.list(Call::get(Service::Network, "/networks", "list networks"), "networks").await
    }

    /// By name or id; of two with the name the project's own is not told apart, so the id is asked for.
    pub(super) async fn network_named(&self, name: &str) -> Result<Network, Error> {
        let config = |what: String| Error::Config { provider: self.provider().to_owned(), what };
        let all = self.networks().await?;
        if let Some(network) = all.iter().find(|network| network.id == name) {
            return Ok(network.clone());
        }
        let mut named = all.into_iter().filter(|network| network.name == name);
        match (named.next(), named.next()) {
            (Some(network), None) => Ok(network),
            (Some(_), Some(_)) => {
                Err(config(format!("two networks are called `{name}`: give the id of the one that is meant")))
            }
            (None, _) => Err(config(format!("there is no network `{name}`: give one that the project sees"))),
        }
    }

    pub(super) async fn make_network(&self, name: &str, network: Value) -> Result<String, Error> {
        let call = Call::post(Service::Network, "/networks", format!("make network `{name}`"));
        Ok(self.one::<Id>(call.json(json!({"network": network})), "network").await?.id)
    }

    pub(super) async fn delete_network(&self, id: &str) -> Result<(), Error> {
        let what = format!("delete network {id}");
        self.remove(Call::delete(Service::Network, format!("/networks/{id}"), what)).await
    }

    /// It carries no relocation any more. `kind` and `path` are what Neutron calls such a thing.
    pub(super) async fn let_go(&self, kind: &str, path: &str, id: &str) -> Result<(), Error> {
        tracing::warn!(provider = self.provider(), kind, id, "others use it by now; it is left to them");
        let call = Call::put(Service::Network, format!("/{path}/{id}"), format!("let go of {kind} {id}"));
        super::api::absent(self.call(call.json(json!({kind: {"description": ""}}))).await).map(drop)
    }
}
