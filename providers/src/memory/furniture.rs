//! What instances of the simulated cloud stand in: nothing but names, each there once.

use fluidcloud_proto::furniture::{Furnished, Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::surroundings::Surroundings;

use super::cloud::Cloud;
use crate::furnishing::Furnishing;

impl Cloud {
    pub fn furnish(&mut self, order: &Furnishing) -> Furnished {
        let things = names(&order.surroundings).map(|(kind, name)| {
            let owner = self.furniture.entry((kind, name.clone())).or_insert(Some(order.relocation));
            let made = *owner == Some(order.relocation);
            Furniture { kind, source: name.clone(), target: name.clone(), id: name, made, notes: Vec::new() }
        });
        Furnished(things.collect())
    }

    pub fn unfurnish(&mut self, relocation: RelocationId) {
        self.furniture.retain(|_, owner| *owner != Some(relocation));
    }

    pub fn furniture_of(&self, relocation: RelocationId) -> impl Iterator<Item = String> {
        let ours = self.furniture.iter().filter(move |(_, owner)| **owner == Some(relocation));
        ours.map(|((kind, name), _)| format!("{kind} {name}"))
    }
}

fn names(all: &Surroundings) -> impl Iterator<Item = (FurnitureKind, String)> {
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
