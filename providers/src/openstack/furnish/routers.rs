//! Routers for subnets that were made: one of the same name that leads to the same place is used, else one is made.

use fluidcloud_proto::furniture::{Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::surroundings::{Route, Router};
use serde_json::json;

use super::super::networks::Port;
use super::super::subnets::{Router as Found, Subnet, is_router_port};
use super::super::{OpenstackProvider, tag};
use super::networks::is_same;
use super::{Here, Taken};
use crate::error::Error;
use crate::furnishing::Furnishing;

pub(super) const ROLE: &str = "router";
/// An interface that is not the gateway of its subnet.
pub(super) const PORT: &str = "router-port";

pub(super) fn description(relocation: RelocationId, name: &str) -> String {
    tag::short(&tag::description(relocation, &format!("{ROLE} {name}")))
}

/// What stands for a router of the source that leads to `outside` here. Pure.
pub(super) fn taken(
    wanted: &Router,
    outside: Option<&str>,
    relocation: RelocationId,
    found: &[Found],
) -> Taken {
    let ours = description(relocation, &wanted.name);
    let mut all: Vec<&Found> = found.iter().collect();
    all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    if let Some(found) = all.iter().find(|found| found.description == ours) {
        return Taken::Made { id: found.id.clone(), name: found.name.clone() };
    }
    let mut named = all.into_iter().filter(|found| found.name == wanted.name).peekable();
    let is_taken = named.peek().is_some();
    let leads = |found: &&Found| found.gateway.as_ref().map(|gateway| gateway.network_id.as_str()) == outside;
    match named.find(leads) {
        Some(found) => Taken::There { id: found.id.clone(), name: found.name.clone() },
        None if is_taken => Taken::Nothing { name: format!("{}-{}", wanted.name, tag::label(relocation)) },
        None => Taken::Nothing { name: wanted.name.clone() },
    }
}

impl OpenstackProvider {
    /// `subnets`: those that this relocation made, among which the router joins some.
    pub(super) async fn furnish_router(
        &self,
        order: &Furnishing,
        wanted: &Router,
        subnets: &[Subnet],
        here: &Here,
    ) -> Result<Option<Furniture>, Error> {
        let joined: Vec<&Subnet> = subnets
            .iter()
            .filter(|subnet| wanted.subnets.iter().any(|cidr| is_same(cidr, &subnet.cidr)))
            .collect();
        if joined.is_empty() {
            // Those that were there have their own.
            return Ok(None);
        }
        let outside = match &wanted.outside {
            Some(name) => Some(self.outside(Some(name), here)?),
            None => None,
        };
        let taken = taken(wanted, outside.as_deref(), order.relocation, &here.routers);
        let (id, name, made) = match taken {
            Taken::There { id, name } => (id, name, false),
            Taken::Made { id, name } => (id, name, true),
            Taken::Nothing { name } => {
                (self.new_router(order.relocation, wanted, &name, outside.as_deref()).await?, name, true)
            }
        };
        for subnet in joined {
            self.join(order.relocation, &id, subnet).await?;
        }
        let mut notes = Vec::new();
        if made && !wanted.routes.is_empty() && !self.set_routes(&id, &wanted.routes).await? {
            notes.push("its static routes were refused: set them by hand".to_owned());
        }
        let source = wanted.name.clone();
        Ok(Some(Furniture {
            kind: FurnitureKind::Router,
            source,
            target: name,
            id,
            made,
            notes,
            decided_for: None,
        }))
    }

    /// The network outside: configured, or mapped, or of the same name, or the only one.
    pub(in super::super) fn outside(&self, source: Option<&str>, here: &Here) -> Result<String, Error> {
        let config = &self.config;
        let mapped = source.and_then(|name| config.networks.get(name));
        let configured = config.external_network.as_ref().or(mapped).or(config.floating_network.as_ref());
        let named =
            |name: &str| here.networks.iter().find(|it| it.external && (it.id == name || it.name == name));
        if let Some(name) = configured {
            return named(name).map(|found| found.id.clone()).ok_or_else(|| Error::Config {
                provider: self.id.to_string(),
                what: format!("there is no external network `{name}`: give one that the project sees"),
            });
        }
        if let Some(found) = source.and_then(named) {
            return Ok(found.id.clone());
        }
        let mut all = here.networks.iter().filter(|network| network.external);
        match (all.next(), all.next()) {
            (Some(only), None) => Ok(only.id.clone()),
            _ => Err(Error::Config {
                provider: self.id.to_string(),
                what: "which external network routers and floating IPs are to use is not clear: name it as \
                       `external_network`"
                    .to_owned(),
            }),
        }
    }

    async fn new_router(
        &self,
        relocation: RelocationId,
        wanted: &Router,
        name: &str,
        outside: Option<&str>,
    ) -> Result<String, Error> {
        let description = description(relocation, &wanted.name);
        let mut router = json!({"name": name, "description": description});
        if let Some(outside) = outside {
            router["external_gateway_info"] = json!({"network_id": outside});
        }
        let made = self.api.make_router(name, router).await?;
        // Of two callers at once the older one's is it.
        let mut all = self.api.routers().await?;
        all.retain(|router| router.description == description);
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        match all.into_iter().next() {
            Some(first) if first.id != made => {
                self.api.delete_router(&made).await?;
                Ok(first.id)
            }
            _ => Ok(made),
        }
    }

    async fn join(&self, relocation: RelocationId, router: &str, subnet: &Subnet) -> Result<(), Error> {
        let is_joined = async || -> Result<bool, Error> {
            let ports = self.api.ports_of_network(&subnet.network_id).await?;
            Ok(ports.iter().any(|port| port.device_id == router && is_in(port, &subnet.id)))
        };
        if is_joined().await? {
            return Ok(());
        }
        if subnet.gateway_ip.is_some() {
            match self.api.join_router(router, json!({"subnet_id": subnet.id})).await {
                Ok(()) => return Ok(()),
                Err(Error::Refused { status: 400 | 409, full: false, .. }) if is_joined().await? => {
                    return Ok(());
                }
                // Another router has the gateway's address.
                Err(Error::Refused { status: 400 | 409, full: false, .. }) => (),
                Err(error) => return Err(error),
            }
        }
        let description = tag::description(relocation, &format!("{PORT} {}", subnet.cidr));
        let ports = self.api.ports_of_network(&subnet.network_id).await?;
        let port = match ports.into_iter().find(|port| port.description == description) {
            Some(port) => port,
            None => {
                let port = json!({
                    "network_id": subnet.network_id,
                    "description": description,
                    "fixed_ips": [{"subnet_id": subnet.id}],
                });
                self.api.make_port(&format!("make a port of the router on {}", subnet.cidr), port).await?
            }
        };
        self.api.join_router(router, json!({"port_id": port.id})).await
    }

    /// False where the cloud refuses them, such as for a next hop that is in no subnet of the router.
    async fn set_routes(&self, router: &str, routes: &[Route]) -> Result<bool, Error> {
        let hop = |route: &Route| json!({"destination": route.to, "nexthop": route.via});
        match self.api.set_routes(router, routes.iter().map(hop).collect()).await {
            Ok(()) => Ok(true),
            Err(Error::Refused { status: 400 | 409, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

pub(super) fn is_in(port: &Port, subnet: &str) -> bool {
    is_router_port(&port.device_owner) && port.fixed_ips.iter().any(|fixed| fixed.subnet_id == subnet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(id: &str, outside: Option<&str>, description: &str) -> Found {
        let gateway = outside.map(|network| json!({"network_id": network}));
        let router =
            json!({"id": id, "name": "out", "external_gateway_info": gateway, "description": description});
        serde_json::from_value(router).unwrap()
    }

    #[test]
    fn a_router_of_the_name_that_leads_elsewhere_is_another_one() {
        let wanted = serde_json::from_value(json!({"name": "out", "subnets": []})).unwrap();
        let id = RelocationId::new();
        let there = |number: &str| Taken::There { id: number.into(), name: "out".into() };
        let all = [router("1", None, ""), router("2", Some("public"), "")];
        assert_eq!(taken(&wanted, Some("public"), id, &all), there("2"));
        assert_eq!(taken(&wanted, None, id, &all), there("1"));
        let other = Taken::Nothing { name: format!("out-{}", tag::label(id)) };
        assert_eq!(taken(&wanted, Some("else"), id, &all), other);
        assert_eq!(taken(&wanted, Some("else"), id, &[]), Taken::Nothing { name: "out".into() });
        let ours = [router("3", None, &description(id, "out"))];
        assert_eq!(
            taken(&wanted, Some("public"), id, &ours),
            Taken::Made { id: "3".into(), name: "out".into() }
        );
    }
}
