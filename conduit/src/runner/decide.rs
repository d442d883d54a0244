//! From what a request decides to what the target is asked for in place of the source's: nothing is made after a thing of the
//! source that no instance will use.

use std::collections::BTreeSet;

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::request::{InstanceComponent, KeypairChoice};
use fluidcloud_proto::surroundings::{Remote, SecurityGroup, Surroundings};
use fluidcloud_providers::{Decision, GroupWanted, KeyWanted, Launched};

use super::Scene;

impl Scene<'_> {
    /// A key that is created is kept before the target hears of it.
    pub(super) fn decisions(&self, around: &Surroundings) -> Result<Vec<Decision>, Failure> {
        let mut all = Vec::new();
        for (component, wanted) in self.relocation.moving() {
            let launch = &wanted.launch;
            if launch.is_default() {
                continue;
            }
            let key = launch.keypair.as_ref().map(|choice| self.key(component, choice)).transpose()?;
            let group = launch.security_group.as_ref().map(|choice| {
                let like = self.groups_of(component);
                let like = around.security_groups.iter().filter(|group| like.contains(group.name.as_str()));
                GroupWanted { new: choice.new.clone(), like: like.cloned().collect() }
            });
            all.push(Decision {
                component: component.clone(),
                instance: crate::relocation::target_name(wanted).clone(),
                key: key.flatten(),
                group,
                address: launch.floating_ip,
            });
        }
        Ok(all)
    }

    fn key(&self, component: &ComponentName, choice: &KeypairChoice) -> Result<Option<KeyWanted>, Failure> {
        if let Some(name) = &choice.create {
            let kept = self.keys.public_key(self.relocation.id, component, name);
            let public_key = kept.map_err(|error| error.to_failure())?;
            return Ok(Some(KeyWanted::Import { name: name.clone(), public_key }));
        }
        if let Some(import) = &choice.import {
            let (name, public_key) = (import.name.clone(), import.public_key.trim().to_owned());
            return Ok(Some(KeyWanted::Import { name, public_key }));
        }
        Ok(choice.select.clone().map(KeyWanted::Select))
    }

    fn groups_of(&self, component: &ComponentName) -> BTreeSet<&str> {
        let placed = self.relocation.topology.as_ref().and_then(|topology| topology.placed(component));
        let nics = placed.into_iter().flat_map(|placed| &placed.instance.nics);
        nics.flat_map(|nic| &nic.security_groups).map(String::as_str).collect()
    }

    /// Without the key pairs and groups that only those instances had for which others are decided.
    pub(super) fn undecided(&self, around: &Surroundings) -> Surroundings {
        let mut left = around.clone();
        let mut keys = BTreeSet::new();
        let (mut needed, mut own) = (BTreeSet::new(), BTreeSet::new());
        for (component, wanted) in self.relocation.moving() {
            if wanted.launch.keypair.is_none() {
                keys.extend(self.keypair_of(component));
            }
            match wanted.launch.security_group {
                None => needed.extend(self.groups_of(component)),
                Some(_) => own.extend(self.groups_of(component)),
            }
        }
        if self.relocation.moving().any(|(_, wanted)| wanted.launch.keypair.is_some()) {
            left.keypairs.retain(|pair| keys.contains(&pair.name));
        }
        if self.relocation.moving().any(|(_, wanted)| wanted.launch.security_group.is_some()) {
            let needed = with_remotes(&around.security_groups, needed, &own);
            left.security_groups.retain(|group| needed.contains(group.name.as_str()));
        }
        left
    }

    fn keypair_of(&self, component: &ComponentName) -> Option<String> {
        let placed = self.relocation.topology.as_ref()?.placed(component)?;
        placed.instance.settings.as_ref()?.keypair.clone()
    }

    /// With what the target has made of the decisions.
    pub(super) fn launched(&self, component: &ComponentName, wanted: &InstanceComponent) -> Launched {
        let furnished = self.relocation.furnished();
        let id = |kind| furnished?.decided(kind, component).map(|it| it.id.clone());
        Launched {
            keypair: id(FurnitureKind::Keypair),
            security_group: id(FurnitureKind::SecurityGroup),
            address: wanted.launch.floating_ip,
        }
    }
}

/// Those that are needed, and of which rules speak: theirs, and of groups whose rules are copied, but for what these say of
/// each other.
fn with_remotes<'a>(
    all: &'a [SecurityGroup],
    mut needed: BTreeSet<&'a str>,
    copied: &BTreeSet<&'a str>,
) -> BTreeSet<&'a str> {
    let speaks_of = |group: &'a SecurityGroup| {
        group.rules.iter().filter_map(|rule| match &rule.remote {
            Remote::Group(name) => Some(name.as_str()),
            _ => None,
        })
    };
    let copies = all.iter().filter(|group| copied.contains(group.name.as_str()));
    needed.extend(copies.flat_map(speaks_of).filter(|name| !copied.contains(name)));
    loop {
        let known = all.iter().filter(|group| needed.contains(group.name.as_str()));
        let more: Vec<&str> = known.flat_map(speaks_of).filter(|name| !needed.contains(name)).collect();
        if more.is_empty() {
            return needed;
        }
        needed.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_are_made_that_somebody_will_be_in_or_that_rules_speak_of() {
        let group = |name: &str, remotes: &[&str]| {
            let rules: Vec<_> = remotes
                .iter()
                .map(|remote| json!({"direction": "ingress", "ethertype": "IPv4", "remote": {"group": remote}}))
                .collect();
            json!({"name": name, "rules": rules})
        };
        let all = json!([
            group("web", &["web", "lb"]),
            group("lb", &["ops"]),
            group("ops", &[]),
            group("db", &["web"]),
        ]);
        let all: Vec<SecurityGroup> = serde_json::from_value(all).unwrap();
        let made = |needed: &[&'static str], copied: &[&'static str]| -> Vec<String> {
            let (needed, copied) = (needed.iter().copied().collect(), copied.iter().copied().collect());
            with_remotes(&all, needed, &copied).into_iter().map(str::to_owned).collect()
        };
        assert_eq!(made(&[], &["web"]), ["lb", "ops"], "what the copied rules speak of");
        assert_eq!(made(&[], &["web", "lb", "ops"]), [] as [&str; 0]);
        assert_eq!(made(&["db"], &["web"]), ["db", "lb", "ops", "web"], "others are still in it");
    }
}
