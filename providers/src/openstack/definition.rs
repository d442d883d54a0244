//! An instance before its first start. Nova cannot make a server without starting it, so until then the instance is what
//! the metadata of its volumes says, and its ports.

use std::collections::BTreeMap;

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Firmware;

use super::tag;
use super::volumes::Volume;
use crate::provider::InstanceOrder;

#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub relocation: RelocationId,
    pub name: InstanceName,
    pub flavor: String,
    pub firmware: Firmware,
    /// As the metadata has it.
    pub autostart: String,
    pub note: String,
    pub keypair: Option<String>,
    /// Its id.
    pub server_group: Option<String>,
    /// As the source had it.
    pub metadata: BTreeMap<String, String>,
    /// Root first.
    pub volumes: Vec<Volume>,
}

/// What is written last, to the root's volume: without it the instance is not there.
pub(super) const LAST: &str = tag::FLAVOR;

const KEYS: [&str; 8] = [
    tag::FLAVOR,
    tag::INSTANCE,
    tag::PLACE,
    tag::FIRMWARE,
    tag::AUTOSTART,
    tag::NOTE,
    tag::KEYPAIR,
    tag::SERVER_GROUP,
];
/// Longest key of metadata, in bytes.
const KEY_MAX: usize = 255;

pub(super) fn is_key(key: &str) -> bool {
    KEYS.contains(&key) || key.starts_with(tag::METADATA)
}

/// What the first start tells the cloud beside disks and ports.
pub(super) fn launch(order: &InstanceOrder) -> Vec<(String, String)> {
    let mut launch = Vec::new();
    let decided = order.launched.keypair.clone();
    let Some(settings) = &order.settings else {
        launch.extend(decided.map(|key| (tag::KEYPAIR.to_owned(), key)));
        return launch;
    };
    let stands = |kind, name: &Option<String>| {
        name.as_ref().and_then(|name| order.furnished.find(kind, name)).map(|it| it.id.clone())
    };
    let keypair = decided.or_else(|| stands(FurnitureKind::Keypair, &settings.keypair));
    launch.extend(keypair.map(|key| (tag::KEYPAIR.to_owned(), key)));
    let group = stands(FurnitureKind::ServerGroup, &settings.server_group);
    launch.extend(group.map(|group| (tag::SERVER_GROUP.to_owned(), group)));
    let metadata =
        settings.metadata.iter().map(|(key, value)| (format!("{}{key}", tag::METADATA), value.clone()));
    launch.extend(metadata.filter(|(key, _)| key.len() <= KEY_MAX));
    launch
}

/// All that are whole.
pub(super) fn among(volumes: &[Volume]) -> Vec<Definition> {
    let mut parts: BTreeMap<(&str, &str), Vec<&Volume>> = BTreeMap::new();
    for volume in volumes {
        let of = |key: &str| volume.metadata.get(key).map(String::as_str);
        if let (Some(relocation), Some(name)) = (of(tag::RELOCATION), of(tag::INSTANCE)) {
            parts.entry((relocation, name)).or_default().push(volume);
        }
    }
    parts.into_iter().filter_map(|((relocation, name), volumes)| whole(relocation, name, volumes)).collect()
}

fn whole(relocation: &str, name: &str, mut volumes: Vec<&Volume>) -> Option<Definition> {
    let place = |volume: &Volume| volume.metadata.get(tag::PLACE).and_then(|at| at.parse::<u32>().ok());
    volumes.sort_by_key(|volume| place(volume).unwrap_or(u32::MAX));
    let root = volumes.first().filter(|root| place(root) == Some(0))?;
    let of = |key: &str| root.metadata.get(key).cloned();
    Some(Definition {
        relocation: relocation.parse().ok()?,
        name: name.parse().ok()?,
        flavor: of(LAST)?,
        firmware: if of(tag::FIRMWARE).as_deref() == Some("uefi") { Firmware::Uefi } else { Firmware::Bios },
        autostart: of(tag::AUTOSTART).unwrap_or_default(),
        note: of(tag::NOTE).unwrap_or_default(),
        keypair: of(tag::KEYPAIR),
        server_group: of(tag::SERVER_GROUP),
        metadata: root
            .metadata
            .iter()
            .filter_map(|(key, value)| Some((key.strip_prefix(tag::METADATA)?.to_owned(), value.clone())))
            .collect(),
        volumes: volumes.into_iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(relocation: RelocationId, place: &str, more: &[(&str, &str)]) -> Volume {
        let mut metadata = json!({
            tag::RELOCATION: relocation.to_string(), tag::INSTANCE: "shop", tag::PLACE: place});
        for (key, value) in more {
            metadata[*key] = json!(value);
        }
        let volume = json!({"id": place, "status": "available", "size": 1, "metadata": metadata});
        serde_json::from_value(volume).unwrap()
    }

    #[test]
    fn it_is_there_when_its_last_part_is() {
        let one = RelocationId::new();
        let data = volume(one, "1", &[]);
        assert_eq!(among(&[data.clone(), volume(one, "0", &[])]).len(), 0);
        let root = volume(one, "0", &[(LAST, "f"), (tag::FIRMWARE, "uefi"), (tag::AUTOSTART, "later")]);
        let found = among(&[data, root.clone(), volume(RelocationId::new(), "0", &[])]);
        assert_eq!(found.len(), 1);
        let ids: Vec<_> = found[0].volumes.iter().map(|volume| volume.id.as_str()).collect();
        assert_eq!(
            (ids, found[0].flavor.as_str(), found[0].autostart.as_str()),
            (vec!["0", "1"], "f", "later")
        );
        assert_eq!(among(&[root]).len(), 1, "one disk is enough");
    }
}
