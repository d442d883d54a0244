//! Takes back what was made after the source's. What somebody else has begun to use meanwhile is let go: it stays, and is
//! nobody's any more.

use std::collections::BTreeSet;
use std::time::Duration;

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::RelocationId;
use serde_json::json;

use super::super::networks::Port;
use super::super::subnets::is_router_port;
use super::super::wait::until;
use super::super::{OpenstackProvider, tag};
use super::{Here, decided, is_furniture, keys, networks, routers};
use crate::error::Error;
use crate::provider::Made;

/// Ports that Nova has just given up are still there for a while.
const FREE_MAX: Duration = Duration::from_secs(90);

impl OpenstackProvider {
    pub(in super::super) async fn unfurnish_all(&self, relocation: RelocationId) -> Result<(), Error> {
        let here = self.here().await?;
        let ours = |description: &str, role: &str| {
            description.starts_with(&tag::description(relocation, &format!("{role} ")))
        };
        let own: Vec<_> =
            here.networks.iter().filter(|network| ours(&network.description, networks::ROLE)).collect();
        for network in &own {
            for port in self.api.ports_of_network(&network.id).await? {
                if is_router_port(&port.device_owner) {
                    self.api.leave_router(&port.device_id, json!({"port_id": port.id})).await?;
                } else if ours(&port.description, routers::PORT) {
                    self.api.delete_port(&port.id).await?;
                }
            }
        }
        for router in here.routers.iter().filter(|router| ours(&router.description, routers::ROLE)) {
            if self.gone(FurnitureKind::Router, &router.id, relocation).await? {
                continue;
            }
            self.api.let_go("router", "routers", &router.id).await?;
        }
        for network in own {
            if !self.gone(FurnitureKind::Network, &network.id, relocation).await? {
                self.api.let_go("network", "networks", &network.id).await?;
            }
        }
        self.take_rules_back(relocation, &here).await?;
        self.give_up_addresses(relocation).await?;
        for group in here.groups.iter().filter(|group| is_furniture(group, relocation)) {
            if !self.gone(FurnitureKind::SecurityGroup, &group.id, relocation).await? {
                self.api.let_go("security_group", "security-groups", &group.id).await?;
            }
        }
        for group in here.server_groups.iter().filter(|group| keys::is_group_of(group, relocation)) {
            // One with members is of use to somebody; its name cannot be changed.
            if group.members.is_empty() {
                self.api.delete_server_group(&group.id).await?;
            }
        }
        for pair in here.keypairs.iter().filter(|pair| keys::is_marked(pair, relocation)) {
            self.api.delete_keypair(&pair.name).await?;
        }
        Ok(())
    }

    /// False when others use it. Refused as long as something of this relocation's own still does.
    async fn gone(&self, kind: FurnitureKind, id: &str, relocation: RelocationId) -> Result<bool, Error> {
        let what = || format!("the deletion of {kind} {id}, which is still in use");
        until(what, FREE_MAX, || async {
            let refused = match kind {
                FurnitureKind::Router => self.api.delete_router(id).await,
                FurnitureKind::Network => self.api.delete_network(id).await,
                _ => self.api.delete_security_group(id).await,
            };
            match refused {
                Ok(()) => Ok(Some(true)),
                Err(Error::Refused { status: 409, .. }) => {
                    let users = self.users(kind, id).await?;
                    let foreign =
                        |port: &Port| !tag::describes(&port.description, relocation) && is_of_a_user(port);
                    Ok(users.iter().any(foreign).then_some(false))
                }
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn users(&self, kind: FurnitureKind, id: &str) -> Result<Vec<Port>, Error> {
        let mut ports = self.api.ports().await?;
        ports.retain(|port| match kind {
            FurnitureKind::Router => port.device_id == id,
            FurnitureKind::Network => port.network_id == id,
            _ => port.security_groups.iter().any(|group| group == id),
        });
        Ok(ports)
    }

    pub(in super::super) async fn furniture_of(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        let here = self.here().await?;
        Ok(here.made_for(relocation))
    }
}

/// Not one that the cloud itself has, for DHCP and the like.
fn is_of_a_user(port: &Port) -> bool {
    is_router_port(&port.device_owner) || !port.device_owner.starts_with("network:")
}

impl Here {
    fn made_for(&self, relocation: RelocationId) -> Vec<Made> {
        let ours = |description: &str, role: &str| {
            description.starts_with(&tag::description(relocation, &format!("{role} ")))
        };
        let mut made = BTreeSet::new();
        let mut add = |kind: FurnitureKind, name: &str| made.insert(format!("{kind} {name}"));
        for network in self.networks.iter().filter(|it| ours(&it.description, networks::ROLE)) {
            add(FurnitureKind::Network, &network.name);
        }
        for router in self.routers.iter().filter(|it| ours(&it.description, routers::ROLE)) {
            add(FurnitureKind::Router, &router.name);
        }
        for group in self.groups.iter().filter(|group| is_furniture(group, relocation)) {
            add(FurnitureKind::SecurityGroup, &group.name);
        }
        for group in &self.groups {
            if group.security_group_rules.iter().any(|rule| decided::is_ours(rule, relocation)) {
                add(FurnitureKind::SecurityGroup, &format!("{}, rules in it", group.name));
            }
        }
        for group in self.server_groups.iter().filter(|group| {
            // One with members is let go by undo.
            keys::is_group_of(group, relocation) && group.members.is_empty()
        }) {
            add(FurnitureKind::ServerGroup, &group.name);
        }
        for pair in self.keypairs.iter().filter(|pair| keys::is_marked(pair, relocation)) {
            add(FurnitureKind::Keypair, &pair.name);
        }
        made.into_iter().map(|what| Made::Furniture { what }).collect()
    }
}
