//! What instances of the simulated cloud stand in: nothing but names, each there once; and what was decided in place of it.

use std::collections::BTreeMap;

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::furniture::{Furnished, Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::FloatingIp;
use fluidcloud_proto::surroundings::Surroundings;

use super::cloud::Cloud;
use super::{MemoryProvider, lock};
use crate::error::Error;
use crate::furnishing::{Decision, Furnishing, KeyWanted};

/// The group that every project has.
const DEFAULT: &str = "default";

/// What a relocation adds to things that are there, and borrows.
#[derive(Debug, Default)]
pub(super) struct Lent {
    /// Rules of the group `default`, by relocation, as JSON.
    pub default_rules: BTreeMap<String, RelocationId>,
    /// Free addresses, by who holds them.
    pub addresses: BTreeMap<String, Option<RelocationId>>,
}

/// For tests.
impl MemoryProvider {
    pub fn seed_keypair(&self, name: &str) {
        lock(&self.cloud).furniture.insert((FurnitureKind::Keypair, name.to_owned()), None);
    }

    pub fn seed_address(&self, address: &str) {
        lock(&self.cloud).lent.addresses.insert(address.to_owned(), None);
    }

    pub fn default_rules(&self) -> usize {
        lock(&self.cloud).lent.default_rules.len()
    }

    pub fn free_addresses(&self) -> usize {
        lock(&self.cloud).lent.addresses.values().filter(|holder| holder.is_none()).count()
    }
}

impl Cloud {
    pub fn furnish(&mut self, provider: &str, order: &Furnishing) -> Result<Furnished, Error> {
        let mut all: Vec<Furniture> =
            names(&order.surroundings).map(|(kind, name)| self.stand(order, kind, name)).collect();
        // What is imported can be selected by others of the order.
        let selects = |decision: &&Decision| matches!(decision.key, Some(KeyWanted::Select(_)));
        let (last, first): (Vec<_>, Vec<_>) = order.decisions.iter().partition(|one| selects(one));
        for decision in first.into_iter().chain(last) {
            all.extend(self.decide(provider, order.relocation, decision)?);
        }
        Ok(Furnished(all))
    }

    fn stand(&mut self, order: &Furnishing, kind: FurnitureKind, name: String) -> Furniture {
        let owner = self.furniture.entry((kind, name.clone())).or_insert(Some(order.relocation));
        let made = *owner == Some(order.relocation);
        let (source, target, id) = (name.clone(), name.clone(), name);
        Furniture { kind, source, target, id, made, notes: Vec::new(), decided_for: None }
    }

    fn decide(
        &mut self,
        provider: &str,
        relocation: RelocationId,
        decision: &Decision,
    ) -> Result<Vec<Furniture>, Error> {
        let mut all = Vec::new();
        let mut add = |kind, name: &str, made| {
            let (source, target, id) = (String::new(), name.to_owned(), name.to_owned());
            let decided_for = Some(decision.component.clone());
            all.push(Furniture { kind, source, target, id, made, notes: Vec::new(), decided_for });
        };
        match &decision.key {
            Some(KeyWanted::Select(name)) => {
                let known = self.furniture.get(&(FurnitureKind::Keypair, name.clone()));
                let owner = known.ok_or_else(|| Error::NotThere {
                    provider: provider.to_owned(),
                    what: format!("key pair `{name}`"),
                    code: Code::UnknownKey,
                })?;
                add(FurnitureKind::Keypair, name, *owner == Some(relocation));
            }
            Some(KeyWanted::Import { name, .. }) => {
                self.made_new(provider, relocation, FurnitureKind::Keypair, name)?;
                add(FurnitureKind::Keypair, name, true);
            }
            None => (),
        }
        if let Some(group) = &decision.group {
            match &group.new {
                Some(name) => {
                    self.made_new(provider, relocation, FurnitureKind::SecurityGroup, name)?;
                    add(FurnitureKind::SecurityGroup, name, true);
                }
                None => {
                    for rule in group.like.iter().flat_map(|group| &group.rules) {
                        let rule = serde_json::to_string(rule).unwrap_or_default();
                        self.lent.default_rules.entry(rule).or_insert(relocation);
                    }
                    add(FurnitureKind::SecurityGroup, DEFAULT, false);
                }
            }
        }
        if let Some((address, made)) = self.address_for(provider, relocation, decision)? {
            add(FurnitureKind::FloatingIp, &address, made);
        }
        Ok(all)
    }

    fn made_new(
        &mut self,
        provider: &str,
        relocation: RelocationId,
        kind: FurnitureKind,
        name: &str,
    ) -> Result<(), Error> {
        let owner = self.furniture.entry((kind, name.to_owned())).or_insert(Some(relocation));
        if *owner == Some(relocation) {
            return Ok(());
        }
        Err(Error::NameTaken { provider: provider.to_owned(), name: format!("{kind} {name}") })
    }

    fn address_for(
        &mut self,
        provider: &str,
        relocation: RelocationId,
        decision: &Decision,
    ) -> Result<Option<(String, bool)>, Error> {
        let new = format!("new-{}", decision.instance);
        Ok(match decision.address {
            None | Some(FloatingIp::None) => None,
            Some(FloatingIp::New) => {
                self.made_new(provider, relocation, FurnitureKind::FloatingIp, &new)?;
                Some((new, true))
            }
            Some(FloatingIp::Free) => {
                let ours = |holder: &Option<RelocationId>| holder.is_none_or(|holder| holder == relocation);
                let held = self.lent.addresses.iter_mut().filter(|(_, holder)| ours(holder));
                let (address, holder) =
                    held.max_by_key(|(_, holder)| holder.is_some()).ok_or_else(|| Error::Unsupported {
                        provider: provider.to_owned(),
                        what: format!("give `{}` a free address: all are in use", decision.instance),
                        remedy: "release one, or ask for a new one with `floating_ip: new`".to_owned(),
                    })?;
                *holder = Some(relocation);
                Some((address.clone(), false))
            }
        })
    }

    pub fn unfurnish(&mut self, relocation: RelocationId) {
        self.furniture.retain(|_, owner| *owner != Some(relocation));
        self.lent.default_rules.retain(|_, by| *by != relocation);
        for holder in self.lent.addresses.values_mut() {
            holder.take_if(|holder| *holder == relocation);
        }
    }

    pub fn furniture_of(&self, relocation: RelocationId) -> impl Iterator<Item = String> {
        let ours = self.furniture.iter().filter(move |(_, owner)| **owner == Some(relocation));
        let rules = self.lent.default_rules.values().any(|by| *by == relocation);
        let lent = self.lent.addresses.iter().filter(move |(_, holder)| **holder == Some(relocation));
        ours.map(|((kind, name), _)| format!("{kind} {name}"))
            .chain(rules.then(|| "rules in security group default".to_owned()))
            .chain(lent.map(|(address, _)| format!("floating IP {address}")))
    }
}

fn names(all: &Surroundings) -> impl Iterator<Item = (FurnitureKind, String)> + use<> {
    let of = |kind: FurnitureKind, names: Vec<&String>| {
        names.into_iter().map(move |name| (kind, name.clone())).collect::<Vec<_>>()
    };
    let mut named = of(FurnitureKind::Network, all.networks.iter().map(|it| &it.name).collect());
    named.extend(of(FurnitureKind::Router, all.routers.iter().map(|it| &it.name).collect()));
    named.extend(of(FurnitureKind::SecurityGroup, all.security_groups.iter().map(|it| &it.name).collect()));
    named.extend(of(FurnitureKind::Keypair, all.keypairs.iter().map(|it| &it.name).collect()));
    named.extend(of(FurnitureKind::ServerGroup, all.server_groups.iter().map(|it| &it.name).collect()));
    named.into_iter()
}
