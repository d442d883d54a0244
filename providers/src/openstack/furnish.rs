//! What a source's instances stood in, made at this cloud: only what is not there already, counted against the quotas before
//! the first of it is made. Each thing carries the relocation from the request that makes it, so a second call goes on where
//! the first one was, and undo removes what was made and nothing else.

mod decided;
mod groups;
mod keys;
mod networks;
mod routers;
mod undo;

use std::collections::BTreeSet;

use fluidcloud_proto::furniture::{Furnished, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;

use super::keypairs::{Keypair, ServerGroup};
use super::networks::{Network, SecurityGroup};
use super::subnets::{Router, Subnet};
use super::{OpenstackProvider, tag};
use crate::error::Error;
use crate::furnishing::Furnishing;

/// What the project has now.
#[derive(Debug, Default)]
pub(super) struct Here {
    pub networks: Vec<Network>,
    pub subnets: Vec<Subnet>,
    pub routers: Vec<Router>,
    pub groups: Vec<SecurityGroup>,
    pub keypairs: Vec<Keypair>,
    pub server_groups: Vec<ServerGroup>,
}

/// What stands for a thing of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Made by this relocation, maybe not to its end.
    Made { id: String, name: String },
    /// It was there.
    There { id: String, name: String },
    /// To be made under this name.
    Nothing { name: String },
}

/// And not a helper's.
pub(super) fn is_furniture(group: &SecurityGroup, relocation: RelocationId) -> bool {
    let of = |role: &str| group.description.starts_with(&tag::description(relocation, &format!("{role} ")));
    of(groups::ROLE) || of(decided::ROLE)
}

impl OpenstackProvider {
    pub(super) async fn here(&self) -> Result<Here, Error> {
        let api = &self.api;
        let neutron = futures::future::try_join4(
            api.networks(),
            api.all_subnets(),
            api.routers(),
            api.security_groups(),
        );
        let (networks, subnets, routers, groups) = Box::pin(neutron).await?;
        let (keypairs, server_groups) =
            Box::pin(futures::future::try_join(api.keypairs(), api.server_groups())).await?;
        Ok(Here { networks, subnets, routers, groups, keypairs, server_groups })
    }

    pub(super) async fn furnish_all(&self, order: &Furnishing) -> Result<Furnished, Error> {
        let order = &self.left_to_us(order);
        let here = self.here().await?;
        self.count(order, &here).await?;
        let wanted = &order.surroundings;
        let mut all = Vec::new();
        for network in &wanted.networks {
            all.push(self.furnish_network(order, network, &here).await?);
        }
        let own: BTreeSet<&str> =
            all.iter().filter(|network| network.made).map(|network| network.id.as_str()).collect();
        let mut subnets = self.api.all_subnets().await?;
        subnets.retain(|subnet| own.contains(subnet.network_id.as_str()));
        for router in &wanted.routers {
            all.extend(self.furnish_router(order, router, &subnets, &here).await?);
        }
        all.extend(self.furnish_groups(order, &here).await?);
        for pair in &wanted.keypairs {
            all.push(self.furnish_key(order, pair, &here).await?);
        }
        for group in &wanted.server_groups {
            all.push(self.furnish_server_group(order, group, &here).await?);
        }
        let decided = self.furnish_decided(order, &Furnished(all.clone())).await?;
        for furniture in &mut all {
            if furniture.target != furniture.source && furniture.kind != FurnitureKind::ServerGroup {
                furniture.notes.push(format!("it is called {} here", furniture.target));
            }
        }
        all.extend(decided);
        Ok(Furnished(all))
    }

    /// Without what the configuration has decided.
    fn left_to_us(&self, order: &Furnishing) -> Furnishing {
        let mut order = order.clone();
        let wanted = &mut order.surroundings;
        if self.config.network.is_some() {
            wanted.networks.clear();
            wanted.routers.clear();
        }
        wanted.networks.retain(|network| !self.config.networks.contains_key(&network.name));
        if !self.config.security_groups.is_empty() {
            wanted.security_groups.clear();
        }
        order
    }

    /// A quota that is used up half-way would only be undone again.
    async fn count(&self, order: &Furnishing, here: &Here) -> Result<(), Error> {
        let wanted = &order.surroundings;
        let (mut networks, mut subnets, mut ports) = (0, 0, 0);
        for network in &wanted.networks {
            match networks::taken(network, order.relocation, here) {
                Taken::There { .. } => (),
                Taken::Made { id, .. } => subnets += networks::missing(network, Some(&id), here),
                Taken::Nothing { .. } => {
                    self.may_be_made(network)?;
                    networks += 1;
                    subnets += networks::missing(network, None, here);
                    // For DHCP and the router.
                    ports += 1 + network.subnets.len();
                }
            }
        }
        let mut routers = 0;
        for router in wanted.routers.iter().filter(|_| networks > 0) {
            let outside = match &router.outside {
                Some(name) => Some(self.outside(Some(name), here)?),
                None => None,
            };
            let taken = routers::taken(router, outside.as_deref(), order.relocation, &here.routers);
            routers += usize::from(matches!(taken, Taken::Nothing { .. }));
        }
        let taken = groups::taken(&wanted.security_groups, &order.source, order.relocation, &here.groups);
        let groups = taken.iter().filter(|taken| matches!(taken, Taken::Nothing { .. })).count();
        let nothing = |group| {
            matches!(keys::taken_group(group, order.relocation, &here.server_groups), Taken::Nothing { .. })
        };
        let server_groups = wanted.server_groups.iter().filter(|group| nothing(group)).count();
        let (named_groups, their_rules, mut addresses) = decided::missing(order);
        if addresses > 0 {
            addresses = addresses.saturating_sub(self.api.floating_ips_of(order.relocation).await?.len());
        }
        let wanted = [
            ("floating IPs", addresses),
            ("networks", networks),
            ("subnets", subnets),
            ("routers", routers),
            ("ports", ports),
            ("security groups", groups + named_groups),
            ("security group rules", groups::missing(&wanted.security_groups, &taken) + their_rules),
            ("server groups", server_groups),
        ];
        if wanted.iter().all(|(_, count)| *count == 0) {
            return Ok(());
        }
        self.allows(&self.left().await?, &wanted)
    }
}
