//! What a request decides about an instance in place of what its source has: its key pair, its security group or rules in the
//! project's own, its address outside.

use std::collections::BTreeSet;

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::furniture::{Furnished, Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::FloatingIp;
use fluidcloud_proto::surroundings::{Remote, Rule};
use serde_json::json;

use super::super::networks::{GroupRule, SecurityGroup as Found};
use super::super::surroundings::rule;
use super::super::{OpenstackProvider, tag};
use super::groups::{DEFAULT, body};
use super::{Here, keys};
use crate::error::Error;
use crate::furnishing::{Decision, Furnishing, GroupWanted, KeyWanted};

/// Of a group that a request named.
pub(super) const ROLE: &str = "named-group";
/// In the description of a rule that was added to a group of somebody else.
const RULE: &str = "rule";

fn description(relocation: RelocationId, name: &str) -> String {
    tag::short(&tag::description(relocation, &format!("{ROLE} {name}")))
}

fn rule_description(relocation: RelocationId) -> String {
    tag::description(relocation, RULE)
}

pub(super) fn is_ours(rule: &GroupRule, relocation: RelocationId) -> bool {
    rule.description == rule_description(relocation)
}

/// Rules that are wanted of `group`, whose id is given: what its models say of themselves and each other is said of it. With
/// the names of groups for which nothing stands, whose rules are left out.
fn rules_of(wanted: &GroupWanted, group: &str, furnished: &Furnished) -> (BTreeSet<Rule>, BTreeSet<String>) {
    let (mut rules, mut left_out) = (BTreeSet::new(), BTreeSet::new());
    for model in wanted.like.iter().flat_map(|model| &model.rules) {
        let mut rule = model.clone();
        if let Remote::Group(name) = &model.remote {
            let own = wanted.like.iter().any(|like| like.name == *name);
            let stands = furnished.find(FurnitureKind::SecurityGroup, name).map(|it| it.id.clone());
            let Some(id) = own.then(|| group.to_owned()).or(stands) else {
                left_out.insert(name.clone());
                continue;
            };
            rule.remote = Remote::Group(id);
        }
        rules.insert(rule);
    }
    (rules, left_out)
}

fn rules_there(group: &Found) -> BTreeSet<Rule> {
    group.security_group_rules.iter().map(|it| rule(it, str::to_owned)).collect()
}

impl OpenstackProvider {
    /// After all that is as at the source. What is imported comes first, so that others of the order can select it.
    pub(super) async fn furnish_decided(
        &self,
        order: &Furnishing,
        furnished: &Furnished,
    ) -> Result<Vec<Furniture>, Error> {
        let mut all = Vec::new();
        let selects = |decision: &&Decision| matches!(decision.key, Some(KeyWanted::Select(_)));
        let (last, first): (Vec<_>, Vec<_>) = order.decisions.iter().partition(|one| selects(one));
        for decision in first.into_iter().chain(last) {
            let id = order.relocation;
            if let Some(key) = &decision.key {
                all.push(self.decided_key(id, decision, key).await?);
            }
            if let Some(group) = &decision.group {
                all.push(self.decided_group(id, decision, group, furnished).await?);
            }
            let Some(wanted) = decision.address else { continue };
            if let Some((held, made)) = self.hold_address(id, &decision.instance, wanted).await? {
                let furniture = Furniture {
                    id: held.id,
                    made,
                    ..thing(FurnitureKind::FloatingIp, decision, &held.address)
                };
                all.push(furniture);
            }
        }
        Ok(all)
    }

    async fn decided_key(
        &self,
        relocation: RelocationId,
        decision: &Decision,
        wanted: &KeyWanted,
    ) -> Result<Furniture, Error> {
        let all = self.api.keypairs().await?;
        let found = |name: &str| all.iter().find(|pair| pair.name == name);
        let (name, made) = match wanted {
            KeyWanted::Select(name) => {
                let pair = found(name).ok_or_else(|| Error::NotThere {
                    provider: self.id.to_string(),
                    what: format!("key pair `{name}` of the user that is logged in"),
                    code: Code::UnknownKey,
                })?;
                (name, keys::is_marked(pair, relocation))
            }
            KeyWanted::Import { name, public_key } => {
                let made = match found(name) {
                    Some(pair) if keys::is_same(&pair.public_key, public_key) => {
                        keys::is_marked(pair, relocation)
                    }
                    Some(_) => return Err(self.name_taken(format!("key pair {name}"))),
                    None => self.import_key(relocation, name, public_key).await?,
                };
                (name, made)
            }
        };
        Ok(Furniture { made, ..thing(FurnitureKind::Keypair, decision, name) })
    }

    fn name_taken(&self, name: String) -> Error {
        Error::NameTaken { provider: self.id.to_string(), name }
    }

    async fn decided_group(
        &self,
        relocation: RelocationId,
        decision: &Decision,
        wanted: &GroupWanted,
        furnished: &Furnished,
    ) -> Result<Furniture, Error> {
        let all = self.api.security_groups().await?;
        let furniture = match &wanted.new {
            Some(name) => {
                let id = self.named_group(relocation, name, &all).await?;
                let mut furniture = thing(FurnitureKind::SecurityGroup, decision, name);
                if wanted.like.is_empty() {
                    furniture.notes.push("the source tells of no rules: it lets nothing in".to_owned());
                } else {
                    let (rules, left_out) = rules_of(wanted, &id, furnished);
                    self.furnish_rules(&id, &rules).await?;
                    furniture.notes.extend(told(&left_out));
                }
                Furniture { id, made: true, ..furniture }
            }
            None => {
                let project = self.api.project().await?;
                let own = |group: &&Found| {
                    group.name == DEFAULT && (group.project_id.is_empty() || group.project_id == project)
                };
                let group = all.iter().find(own).ok_or_else(|| Error::NotThere {
                    provider: self.id.to_string(),
                    what: format!("security group `{DEFAULT}` of the project"),
                    code: Code::Provider,
                })?;
                let (rules, left_out) = rules_of(wanted, &group.id, furnished);
                for missing in rules.difference(&rules_there(group)) {
                    let mut body = body(&group.id, missing);
                    body["description"] = json!(rule_description(relocation));
                    self.api.make_rule(body).await?;
                }
                let now = self.api.security_group(&group.id).await?;
                let rules = now.iter().flat_map(|group| &group.security_group_rules);
                let added = rules.filter(|rule| is_ours(rule, relocation)).count();
                let mut furniture = thing(FurnitureKind::SecurityGroup, decision, DEFAULT);
                furniture.notes.push(format!("{added} rules of the source were added to it"));
                furniture.notes.extend(told(&left_out));
                Furniture { id: group.id.clone(), ..furniture }
            }
        };
        let source: Vec<&str> = wanted.like.iter().map(|like| like.name.as_str()).collect();
        Ok(Furniture { source: source.join(", "), ..furniture })
    }

    /// Made, or found as this relocation's. The name must not be anything else's: it would say that this is another group.
    async fn named_group(
        &self,
        relocation: RelocationId,
        name: &str,
        all: &[Found],
    ) -> Result<String, Error> {
        let description = description(relocation, name);
        if let Some(ours) = all.iter().find(|group| group.description == description) {
            return Ok(ours.id.clone());
        }
        if all.iter().any(|group| group.name == name) {
            return Err(self.name_taken(format!("security group {name}")));
        }
        self.one_group(name, &description).await
    }

    /// Neither a rule that was there before nor one that somebody else has added.
    pub(super) async fn take_rules_back(&self, relocation: RelocationId, here: &Here) -> Result<(), Error> {
        let rules = here.groups.iter().flat_map(|group| &group.security_group_rules);
        for rule in rules.filter(|rule| is_ours(rule, relocation)) {
            self.api.delete_rule(&rule.id).await?;
        }
        Ok(())
    }
}

/// What is to be made at most, of the kinds that quotas know: groups, rules, addresses.
pub(super) fn missing(order: &Furnishing) -> (usize, usize, usize) {
    // A new group comes with two of its own.
    const OWN: usize = 2;
    let groups = order.decisions.iter().filter_map(|decision| decision.group.as_ref());
    let (mut made, mut rules) = (0, 0);
    for group in groups {
        let own = if group.new.is_some() { OWN } else { 0 };
        made += usize::from(group.new.is_some());
        rules += own + group.like.iter().map(|like| like.rules.len()).sum::<usize>();
    }
    let new = |decision: &&Decision| decision.address == Some(FloatingIp::New);
    (made, rules, order.decisions.iter().filter(new).count())
}

fn told(left_out: &BTreeSet<String>) -> Option<String> {
    let names: Vec<&str> = left_out.iter().map(String::as_str).collect();
    let told = format!("rules about {} were left out, as nothing stands for it here", names.join(", "));
    (!names.is_empty()).then_some(told)
}

fn thing(kind: FurnitureKind, decision: &Decision, name: &str) -> Furniture {
    Furniture {
        kind,
        source: String::new(),
        target: name.to_owned(),
        id: name.to_owned(),
        made: false,
        notes: Vec::new(),
        decided_for: Some(decision.component.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> GroupWanted {
        let rule = |remote: serde_json::Value| json!({"direction": "ingress", "ethertype": "IPv4", "remote": remote});
        let like = json!([
            {"name": "web", "rules": [rule(json!({"group": "db"})), rule(json!({"group": "ops"}))]},
            {"name": "db", "rules": [rule(json!({"group": "web"})), rule(json!("anywhere"))]},
        ]);
        GroupWanted { new: Some("all".into()), like: serde_json::from_value(like).unwrap() }
    }

    #[test]
    fn what_groups_say_of_each_other_is_said_of_the_one_that_they_become() {
        let (rules, left_out) = rules_of(&wanted(), "id", &Furnished::default());
        let remotes: Vec<_> = rules.iter().map(|rule| rule.remote.clone()).collect();
        assert_eq!(remotes, [Remote::Anywhere, Remote::Group("id".into())]);
        assert!(told(&left_out).unwrap().contains("rules about ops were left out"));
        let stands =
            json!([{"kind": "security_group", "source": "ops", "target": "ops", "id": "9", "made": true}]);
        let (rules, left_out) = rules_of(&wanted(), "id", &serde_json::from_value(stands).unwrap());
        assert_eq!((rules.len(), told(&left_out)), (3, None));
    }
}
