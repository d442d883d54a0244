//! What marks things as made for a relocation. It is given in the very request that makes a thing, so that nothing of ours
//! is ever without it.

use std::collections::BTreeMap;

use fluidcloud_proto::ids::{DiskId, RelocationId};
use serde_json::{Value, json};

/// Metadata of servers, volumes and snapshots; properties of images.
pub(super) const RELOCATION: &str = "fluidcloud_relocation";
pub(super) const ROLE: &str = "fluidcloud_role";
/// `component/disk`.
pub(super) const DISK: &str = "fluidcloud_disk";
/// The size that was ordered; a volume has whole GiB.
pub(super) const BYTES: &str = "fluidcloud_bytes";
/// The type that a promised disk's volume will have.
pub(super) const VOLUME_TYPE: &str = "fluidcloud_volume_type";
/// Under which its bytes come.
pub(super) const EPOCH: &str = "fluidcloud_epoch";
/// Of a volume that was made of an image: it holds what it should.
pub(super) const DIGEST: &str = "fluidcloud_digest";
/// The volume or server that a copy shows.
pub(super) const OF: &str = "fluidcloud_of";
/// In which state of it.
pub(super) const MOMENT: &str = "fluidcloud_moment";
/// A definition, on the volumes of an instance that no server was made of yet.
pub(super) const INSTANCE: &str = "fluidcloud_instance";
pub(super) const PLACE: &str = "fluidcloud_place";
pub(super) const FLAVOR: &str = "fluidcloud_flavor";
pub(super) const FIRMWARE: &str = "fluidcloud_firmware";
/// Nova has no such thing: kept for a host that has, should the instance move on.
pub(super) const AUTOSTART: &str = "fluidcloud_autostart";
/// Its value until the relocation has settled; then it is `true`.
pub(super) const LATER: &str = "later";
pub(super) const NOTE: &str = "fluidcloud_note";
pub(super) const KEYPAIR: &str = "fluidcloud_keypair";
pub(super) const SERVER_GROUP: &str = "fluidcloud_server_group";
/// Begins what was metadata at the source.
pub(super) const METADATA: &str = "fluidcloud_meta.";
/// On a source: the relocation that moves it.
pub(super) const KEPT: &str = "fluidcloud_kept";
/// Of what belongs to a component as a whole.
pub(super) const COMPONENT: &str = "fluidcloud_component";
pub(super) const HOST_KEY: &str = "fluidcloud_host_key";

/// Longest value of metadata, in bytes.
const VALUE_MAX: usize = 255;

pub(super) type Metadata = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Disk,
    Server,
    Helper,
    /// What shows a disk of a source: image, snapshot, volume.
    Copy,
    /// One that was moved for its own sake.
    Image,
    /// A record without bytes: a disk of a target is promised.
    Coming,
    /// An image with the bytes of a target's disk.
    Stage,
    /// A record without bytes: this relocation reads by way of images.
    ByImages,
    /// A snapshot or an image that stays of an instance that moved.
    Kept,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Server => "server",
            Self::Helper => "helper",
            Self::Copy => "copy",
            Self::Image => "image",
            Self::Coming => "coming",
            Self::Stage => "stage",
            Self::ByImages => "by-images",
            Self::Kept => "kept",
        }
    }
}

pub(super) fn metadata(relocation: RelocationId, role: Role, more: &[(&str, String)]) -> Value {
    let mut all = json!({RELOCATION: relocation.to_string(), ROLE: role.name()});
    for (key, value) in more {
        all[*key] = json!(short(value));
    }
    all
}

pub(super) fn has(metadata: &Metadata, relocation: RelocationId, role: Role) -> bool {
    is_of(metadata, relocation) && metadata.get(ROLE).is_some_and(|found| found == role.name())
}

pub(super) fn is_of(metadata: &Metadata, relocation: RelocationId) -> bool {
    metadata.get(RELOCATION).is_some_and(|found| *found == relocation.to_string())
}

pub(super) fn is_disk(metadata: &Metadata, relocation: RelocationId, disk: &DiskId) -> bool {
    has(metadata, relocation, Role::Disk)
        && metadata.get(DISK).is_some_and(|found| *found == disk.to_string())
}

/// As long as metadata may be.
pub(super) fn short(text: &str) -> String {
    let mut end = text.len().min(VALUE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Neutron's things carry it in their description: that is given at creation too, tags are not.
pub(super) fn description(relocation: RelocationId, rest: &str) -> String {
    format!("fluidcloud {relocation} {rest}")
}

pub(super) fn describes(description: &str, relocation: RelocationId) -> bool {
    description.starts_with(&self::description(relocation, ""))
}

/// The first letters of the id, for names that people read.
pub(super) fn label(relocation: RelocationId) -> String {
    relocation.to_string().chars().take(8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_relocation_and_role_has_it() {
        let (one, other) = (RelocationId::new(), RelocationId::new());
        let made: Metadata =
            serde_json::from_value(metadata(one, Role::Disk, &[(NOTE, "x".into())])).unwrap();
        assert!(
            has(&made, one, Role::Disk) && !has(&made, one, Role::Copy) && !has(&made, other, Role::Disk)
        );
        assert!(describes(&description(one, "port a 0"), one) && !describes(&description(one, "x"), other));
        assert!(!describes("", one));
    }

    #[test]
    fn a_note_is_cut_between_letters() {
        assert_eq!(short(&"ä".repeat(200)).chars().count(), 127);
        assert_eq!(short("kurz"), "kurz");
    }
}
