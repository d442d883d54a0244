//! Security groups: one that is there is used when it has the source's name and lets the same through; else one is made. What
//! a rule says of another group is held against what stands for that one.

use std::collections::{BTreeMap, BTreeSet};

use fluidcloud_proto::furniture::{Furniture, FurnitureKind};
use fluidcloud_proto::ids::{ProviderId, RelocationId};
use fluidcloud_proto::surroundings::{Direction, Remote, Rule, SecurityGroup};
use serde_json::{Value, json};

use super::super::networks::{GroupRule, SecurityGroup as Found};
use super::super::surroundings::rule;
use super::super::{OpenstackProvider, tag};
use super::{Here, Taken};
use crate::error::Error;
use crate::furnishing::Furnishing;

pub(super) const ROLE: &str = "group";
/// Every project has one, and its rules are for all that the project has.
pub(super) const DEFAULT: &str = "default";

pub(super) fn description(relocation: RelocationId, name: &str) -> String {
    tag::short(&tag::description(relocation, &format!("{ROLE} {name}")))
}

/// The name that a group of the source gets.
fn name_of(source: &ProviderId, group: &str) -> String {
    if group == DEFAULT { format!("{source}-{DEFAULT}") } else { group.to_owned() }
}

/// What stands for each group of the source, in their order. Pure.
pub(super) fn taken(
    wanted: &[SecurityGroup],
    source: &ProviderId,
    relocation: RelocationId,
    found: &[Found],
) -> Vec<Taken> {
    let mut sorted: Vec<&Found> = found.iter().collect();
    sorted.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
    let ours = |group: &SecurityGroup| {
        let ours = description(relocation, &group.name);
        sorted.iter().copied().find(|found| found.description == ours)
    };
    let named = |group: &SecurityGroup| {
        let name = name_of(source, &group.name);
        sorted.iter().copied().find(|found| found.name == name)
    };
    // Those that are there are right as long as those are of which their rules speak.
    let mut there: BTreeMap<&str, &Found> = wanted
        .iter()
        .filter(|group| ours(group).is_none())
        .filter_map(|group| Some((group.name.as_str(), named(group)?)))
        .collect();
    loop {
        let wrong = wanted.iter().find(|group| {
            there.get(group.name.as_str()).is_some_and(|found| rules_there(found) != rules_of(group, &there))
        });
        let Some(wrong) = wrong else { break };
        there.remove(wrong.name.as_str());
    }
    let taken = wanted.iter().map(|group| {
        if let Some(found) = ours(group) {
            return Taken::Made { id: found.id.clone(), name: found.name.clone() };
        }
        match (there.get(group.name.as_str()), named(group)) {
            (Some(found), _) => Taken::There { id: found.id.clone(), name: found.name.clone() },
            (None, None) => Taken::Nothing { name: name_of(source, &group.name) },
            (None, Some(_)) => {
                let name = format!("{}-{}", name_of(source, &group.name), tag::label(relocation));
                Taken::Nothing { name }
            }
        }
    });
    taken.collect()
}

/// With ids for groups.
fn rules_there(found: &Found) -> BTreeSet<Rule> {
    found.security_group_rules.iter().map(|it| rule(it, str::to_owned)).collect()
}

/// The same of a group of the source; a group for which nothing stands yet is no id.
fn rules_of(group: &SecurityGroup, there: &BTreeMap<&str, &Found>) -> BTreeSet<Rule> {
    let id =
        |name: &str| there.get(name).map_or_else(|| format!("no group {name}"), |found| found.id.clone());
    mapped(group, id)
}

fn mapped(group: &SecurityGroup, id: impl Fn(&str) -> String) -> BTreeSet<Rule> {
    let here = |rule: &Rule| match &rule.remote {
        Remote::Group(name) => Rule { remote: Remote::Group(id(name)), ..rule.clone() },
        _ => rule.clone(),
    };
    group.rules.iter().map(here).collect()
}

impl OpenstackProvider {
    /// First all groups, then their rules, which may speak of each other's groups.
    pub(super) async fn furnish_groups(
        &self,
        order: &Furnishing,
        here: &Here,
    ) -> Result<Vec<Furniture>, Error> {
        let wanted = &order.surroundings.security_groups;
        let mut all = Vec::new();
        for (group, taken) in wanted.iter().zip(taken(wanted, &order.source, order.relocation, &here.groups))
        {
            let (id, target, made) = match taken {
                Taken::There { id, name } => (id, name, false),
                Taken::Made { id, name } => (id, name, true),
                Taken::Nothing { name } => {
                    (self.new_group(order.relocation, group, &name).await?, name, true)
                }
            };
            let (kind, source) = (FurnitureKind::SecurityGroup, group.name.clone());
            all.push(Furniture { kind, source, target, id, made, notes: Vec::new(), decided_for: None });
        }
        let id = |name: &str| {
            let found = all.iter().find(|it| it.source == name);
            found.map_or_else(|| name.to_owned(), |it| it.id.clone())
        };
        for (group, furniture) in wanted.iter().zip(&all).filter(|(_, furniture)| furniture.made) {
            self.furnish_rules(&furniture.id, &mapped(group, id)).await?;
        }
        Ok(all)
    }

    async fn new_group(
        &self,
        relocation: RelocationId,
        wanted: &SecurityGroup,
        name: &str,
    ) -> Result<String, Error> {
        self.one_group(name, &description(relocation, &wanted.name)).await
    }

    pub(super) async fn one_group(&self, name: &str, description: &str) -> Result<String, Error> {
        let made = self.api.make_security_group(name, description).await?;
        // Of two callers at once the older one's is it.
        let mut all = self.api.security_groups().await?;
        all.retain(|group| group.description == description);
        all.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        match all.into_iter().next() {
            Some(first) if first.id != made => {
                self.api.delete_security_group(&made).await?;
                Ok(first.id)
            }
            _ => Ok(made),
        }
    }

    /// Neither more nor less: a new group lets everything out, which the source's may not.
    pub(super) async fn furnish_rules(&self, group: &str, wanted: &BTreeSet<Rule>) -> Result<(), Error> {
        let found = self.api.security_group(group).await?;
        let found: Vec<&GroupRule> = found.iter().flat_map(|group| &group.security_group_rules).collect();
        let there: BTreeSet<Rule> = found.iter().map(|it| rule(it, str::to_owned)).collect();
        for missing in wanted.difference(&there) {
            self.api.make_rule(body(group, missing)).await?;
        }
        for surplus in found.iter().filter(|it| !wanted.contains(&rule(it, str::to_owned))) {
            self.api.delete_rule(&surplus.id).await?;
        }
        Ok(())
    }
}

pub(super) fn body(group: &str, rule: &Rule) -> Value {
    let mut body = json!({
        "security_group_id": group,
        "direction": match rule.direction { Direction::Ingress => "ingress", Direction::Egress => "egress" },
        "ethertype": rule.ethertype,
        "protocol": rule.protocol,
        "port_range_min": rule.port_min,
        "port_range_max": rule.port_max,
    });
    match &rule.remote {
        Remote::Anywhere => (),
        Remote::Addresses(cidr) => body["remote_ip_prefix"] = json!(cidr),
        Remote::Group(id) => body["remote_group_id"] = json!(id),
    }
    body
}

/// Rules that are still to be made, at most.
pub(super) fn missing(wanted: &[SecurityGroup], taken: &[Taken]) -> usize {
    // A new group comes with two of its own.
    const OWN: usize = 2;
    let new = wanted.iter().zip(taken).filter(|(_, taken)| matches!(taken, Taken::Nothing { .. }));
    new.map(|(group, _)| group.rules.len() + OWN).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(name: &str, remote: &str) -> SecurityGroup {
        let rule = json!({"direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_min": 80, "port_max": 80, "remote": {"group": remote}});
        serde_json::from_value(json!({"name": name, "rules": [rule]})).unwrap()
    }

    fn found(id: &str, name: &str, remote: &str) -> Found {
        let rule = json!({"id": "r", "direction": "ingress", "ethertype": "IPv4", "protocol": "tcp", "port_range_min": 80, "port_range_max": 80, "remote_group_id": remote});
        let group = json!({"id": id, "name": name, "security_group_rules": [rule]});
        serde_json::from_value(group).unwrap()
    }

    fn kinds(wanted: &[SecurityGroup], found: &[Found]) -> Vec<String> {
        let id = RelocationId::new();
        let all =
            taken(wanted, &"cloud-a".parse().unwrap(), id, found).into_iter().map(|taken| match taken {
                Taken::There { id, .. } => id,
                Taken::Made { id, .. } => format!("ours {id}"),
                Taken::Nothing { name } => name.replace(&tag::label(id), "LABEL"),
            });
        all.collect()
    }

    #[test]
    fn groups_that_speak_of_each_other_are_there_together_or_not_at_all() {
        let wanted = [wanted("web", "db"), wanted("db", "web")];
        assert_eq!(kinds(&wanted, &[found("1", "web", "2"), found("2", "db", "1")]), ["1", "2"]);
        assert_eq!(
            kinds(&wanted, &[found("1", "web", "2"), found("2", "db", "2")]),
            ["web-LABEL", "db-LABEL"]
        );
        assert_eq!(kinds(&wanted, &[found("1", "web", "2")]), ["web-LABEL", "db"]);
        assert_eq!(kinds(&wanted, &[]), ["web", "db"]);
    }

    #[test]
    fn the_default_group_becomes_one_of_its_own() {
        let wanted = [wanted("default", "default")];
        assert_eq!(kinds(&wanted, &[found("1", "default", "1")]), ["cloud-a-default"]);
        assert_eq!(kinds(&wanted, &[found("2", "cloud-a-default", "2")]), ["2"], "moved before");
    }

    #[test]
    fn what_was_made_before_is_gone_on_with_whatever_its_rules() {
        let id = RelocationId::new();
        let mut half = found("1", "web", "1");
        (half.description, half.security_group_rules) = (description(id, "web"), Vec::new());
        let all = taken(&[wanted("web", "web")], &"cloud-a".parse().unwrap(), id, &[half]);
        assert_eq!(all, [Taken::Made { id: "1".into(), name: "web".into() }]);
    }
}
