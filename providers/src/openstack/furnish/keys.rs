//! Key pairs and server groups. Neither has a description: a key pair carries the relocation in the comment of its public key,
//! a server group in its name.

use fluidcloud_proto::furniture::{Furniture, FurnitureKind};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::surroundings::{Keypair, ServerGroup};
use serde_json::json;

use super::super::keypairs::{Keypair as FoundKey, ServerGroup as FoundGroup};
use super::super::{OpenstackProvider, tag};
use super::{Here, Taken};
use crate::error::Error;
use crate::furnishing::Furnishing;

/// Longest name that Nova takes.
const NAME_MAX: usize = 255;

/// The last word of the public key.
pub(super) fn mark(relocation: RelocationId) -> String {
    format!("fluidcloud:{relocation}")
}

pub(super) fn is_marked(pair: &FoundKey, relocation: RelocationId) -> bool {
    pair.public_key.split_whitespace().next_back() == Some(mark(relocation).as_str())
}

/// Kind and key, without the comment.
fn key(public_key: &str) -> Option<(&str, &str)> {
    let mut words = public_key.split_whitespace();
    Some((words.next()?, words.next()?))
}

/// Whatever their comments.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    key(one) == key(other)
}

/// What stands for a key pair. Pure.
pub(super) fn taken_key(wanted: &Keypair, relocation: RelocationId, found: &[FoundKey]) -> Taken {
    let other = format!("{}-{}", wanted.name, tag::label(relocation));
    let mut name = wanted.name.clone();
    for candidate in [&wanted.name, &other] {
        let Some(pair) = found.iter().find(|pair| pair.name == *candidate) else {
            return Taken::Nothing { name };
        };
        if key(&pair.public_key) == key(&wanted.public_key) {
            let (id, name) = (pair.name.clone(), pair.name.clone());
            return match is_marked(pair, relocation) {
                true => Taken::Made { id, name },
                false => Taken::There { id, name },
            };
        }
        name.clone_from(&other);
    }
    Taken::Nothing { name: format!("{}-{relocation}", wanted.name) }
}

pub(super) fn group_name(relocation: RelocationId, name: &str) -> String {
    let end = group_mark(relocation);
    let mut cut = name.len().min(NAME_MAX - end.len());
    while !name.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{end}", &name[..cut])
}

fn group_mark(relocation: RelocationId) -> String {
    format!("{GROUP_MARK}{relocation}")
}

const GROUP_MARK: &str = ".fluidcloud-";

pub(super) fn is_group_of(group: &FoundGroup, relocation: RelocationId) -> bool {
    group.name.ends_with(&group_mark(relocation))
}

/// What stands for a server group; also one that another relocation made. Pure.
pub(super) fn taken_group(wanted: &ServerGroup, relocation: RelocationId, found: &[FoundGroup]) -> Taken {
    let ours = group_name(relocation, &wanted.name);
    if let Some(group) = found.iter().find(|group| group.name == ours) {
        return Taken::Made { id: group.id.clone(), name: ours };
    }
    let named = |group: &&FoundGroup| {
        let plain = group.name.split_once(GROUP_MARK).map_or(group.name.as_str(), |(name, _)| name);
        plain == wanted.name && group.policy() == wanted.policy
    };
    match found.iter().find(named) {
        Some(group) => Taken::There { id: group.id.clone(), name: group.name.clone() },
        None => Taken::Nothing { name: ours },
    }
}

impl OpenstackProvider {
    pub(super) async fn furnish_key(
        &self,
        order: &Furnishing,
        wanted: &Keypair,
        here: &Here,
    ) -> Result<Furniture, Error> {
        let mut notes = Vec::new();
        let (target, made) = match taken_key(wanted, order.relocation, &here.keypairs) {
            Taken::There { name, .. } => (name, false),
            Taken::Made { name, .. } => (name, true),
            Taken::Nothing { name } => {
                let made = self.import_key(order.relocation, &name, &wanted.public_key).await?;
                (name, made)
            }
        };
        if target != wanted.name {
            notes.push(format!("another key has the name {}", wanted.name));
        }
        let (source, id) = (wanted.name.clone(), target.clone());
        Ok(Furniture { kind: FurnitureKind::Keypair, source, target, id, made, notes, decided_for: None })
    }

    /// False when it was there at that moment and is not ours.
    pub(in super::super) async fn import_key(
        &self,
        relocation: RelocationId,
        name: &str,
        public_key: &str,
    ) -> Result<bool, Error> {
        let marked = format!("{} {}", public_key.trim(), mark(relocation));
        match self.api.import_keypair(json!({"name": name, "public_key": marked})).await {
            Ok(()) => Ok(true),
            Err(Error::Refused { status: 409, full: false, message, remedy, what, provider, .. }) => {
                let all = self.api.keypairs().await?;
                match all.iter().find(|pair| pair.name == name) {
                    Some(pair) if key(&pair.public_key) == key(public_key) => Ok(is_marked(pair, relocation)),
                    // Somebody made another one of the name just now: the next attempt takes another name.
                    _ => Err(Error::Refused {
                        status: 409,
                        full: false,
                        retryable: true,
                        message,
                        remedy,
                        what,
                        provider,
                    }),
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn furnish_server_group(
        &self,
        order: &Furnishing,
        wanted: &ServerGroup,
        here: &Here,
    ) -> Result<Furniture, Error> {
        let (id, target, made) = match taken_group(wanted, order.relocation, &here.server_groups) {
            Taken::There { id, name } => (id, name, false),
            Taken::Made { id, name } => (id, name, true),
            Taken::Nothing { name } => (self.new_server_group(&name, &wanted.policy).await?, name, true),
        };
        let source = wanted.name.clone();
        Ok(Furniture {
            kind: FurnitureKind::ServerGroup,
            source,
            target,
            id,
            made,
            notes: Vec::new(),
            decided_for: None,
        })
    }

    async fn new_server_group(&self, name: &str, policy: &str) -> Result<String, Error> {
        let group = json!({"name": name, "policies": [policy]});
        let made = self.api.make_server_group(name, group).await?;
        // Of two callers at once the first one's is it; Nova lists them as they were made.
        let all = self.api.server_groups().await?;
        match all.into_iter().find(|group| group.name == name) {
            Some(first) if first.id != made => {
                self.api.delete_server_group(&made).await?;
                Ok(first.id)
            }
            _ => Ok(made),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str, public_key: &str) -> FoundKey {
        serde_json::from_value(json!({"name": name, "public_key": public_key})).unwrap()
    }

    #[test]
    fn the_same_key_under_its_name_is_used_and_another_key_keeps_the_name() {
        let id = RelocationId::new();
        let wanted =
            Keypair { name: "ops".into(), fingerprint: "f".into(), public_key: "ssh-rsa AA me@host".into() };
        let (same, other) = ("ssh-rsa AA you@there", "ssh-rsa BB");
        let there = Taken::There { id: "ops".into(), name: "ops".into() };
        assert_eq!(taken_key(&wanted, id, &[pair("ops", same)]), there);
        let label = format!("ops-{}", tag::label(id));
        assert_eq!(taken_key(&wanted, id, &[pair("ops", other)]), Taken::Nothing { name: label.clone() });
        let ours = format!("ssh-rsa AA me@host {}", mark(id));
        let made = taken_key(&wanted, id, &[pair("ops", other), pair(&label, &ours)]);
        assert_eq!(made, Taken::Made { id: label.clone(), name: label });
        assert_eq!(taken_key(&wanted, id, &[]), Taken::Nothing { name: "ops".into() });
    }

    #[test]
    fn a_server_group_of_an_earlier_move_is_used_again() {
        let (one, other) = (RelocationId::new(), RelocationId::new());
        let wanted =
            ServerGroup { name: "apart".into(), policy: "anti-affinity".into(), members: Vec::new() };
        let group = |name: String, policy: &str| -> FoundGroup {
            serde_json::from_value(json!({"id": "g", "name": name, "policies": [policy]})).unwrap()
        };
        let made = group(group_name(one, "apart"), "anti-affinity");
        assert!(matches!(taken_group(&wanted, one, std::slice::from_ref(&made)), Taken::Made { .. }));
        assert!(matches!(taken_group(&wanted, other, &[made]), Taken::There { .. }));
        let affine = group("apart".into(), "affinity");
        assert_eq!(taken_group(&wanted, one, &[affine]), Taken::Nothing { name: group_name(one, "apart") });
        assert_eq!(group_name(one, &"ä".repeat(200)).len(), 254, "as long as Nova takes, between letters");
    }
}
