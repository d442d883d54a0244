//! What Glance says of an image, what of it means something at another cloud, and what may hinder a copy. Pure.

use std::collections::BTreeMap;

use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::topology::{Concern, Severity};
use serde_json::Value;

use crate::openstack::orphans::text;

/// What instances made of it need, whatever cloud they are at.
const MEANT_EVERYWHERE: [&str; 2] = ["hw_", "os_"];
const ALSO: [&str; 5] = ["architecture", "vm_mode", "hypervisor_type", "img_config_drive", "description"];
/// Glance's own, although named like it.
const GLANCES: [&str; 3] = ["os_hash_", "os_hidden", "os_glance_"];
const TEXT_BYTES_MAX: usize = 255;

pub(in crate::openstack) fn described(image: &Value) -> StoredImage {
    let of = |key: &str| text(image.get(key)).unwrap_or_default();
    let number = |key: &str| image.get(key).and_then(Value::as_u64).unwrap_or(0);
    let mut digests = BTreeMap::new();
    for (algorithm, digest) in [("md5".to_owned(), of("checksum")), (of("os_hash_algo"), of("os_hash_value"))]
    {
        if !algorithm.is_empty() && !digest.is_empty() {
            digests.insert(algorithm.to_lowercase(), digest.to_lowercase());
        }
    }
    let name = text(image.get("name")).unwrap_or_else(|| of("id"));
    StoredImage {
        id: of("id"),
        size_bytes: number("size"),
        disk_format: of("disk_format"),
        container_format: of("container_format"),
        min_disk_gib: number("min_disk"),
        min_ram_mib: number("min_ram"),
        properties: properties(image),
        digests,
        concerns: concerns(&name, image),
        name,
    }
}

fn properties(image: &Value) -> BTreeMap<String, String> {
    let all = image.as_object().into_iter().flatten();
    let kept = all.filter(|(key, _)| {
        let meant =
            MEANT_EVERYWHERE.iter().any(|prefix| key.starts_with(prefix)) || ALSO.contains(&key.as_str());
        meant && !GLANCES.iter().any(|prefix| key.starts_with(prefix))
    });
    let kept = kept.filter_map(|(key, value)| Some((key.clone(), text(Some(value))?)));
    kept.filter(|(_, value)| value.len() <= TEXT_BYTES_MAX).collect()
}

fn concerns(name: &str, image: &Value) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |severity, message: String, remedy: &str| {
        found.push(Concern { severity, subject: name.to_owned(), message, remedy: remedy.to_owned() });
    };
    let has = |key: &str| image.get(key).is_some_and(|value| !value.is_null() && value != "");
    match image["status"].as_str().unwrap_or_default() {
        "active" => (),
        state => {
            let remedy = "wait until it is active, or reactivate it, then request it again";
            add(Severity::Critical, format!("the image is in state {state}, not active"), remedy);
        }
    }
    if has("block_device_mapping") && image["size"].as_u64().unwrap_or(0) == 0 {
        let message = "the image has no bytes: it only names snapshots of volumes".to_owned();
        add(Severity::Critical, message, "make volumes of the snapshots and move these");
    }
    if has("cinder_encryption_key_id") {
        let message = "the image is encrypted with a key that its cloud keeps".to_owned();
        add(Severity::Critical, message, "make an image of it that is not encrypted, and copy that one");
    }
    if has("kernel_id") || has("ramdisk_id") {
        let message = "it boots with a kernel that is an image of its own".to_owned();
        add(Severity::Warning, message, "copy the kernel's image too, and name it at the target");
    }
    if has("img_signature") {
        let message = "its signature is not copied: its certificate is at its own cloud".to_owned();
        add(Severity::Warning, message, "sign it at the target");
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn image() -> Value {
        json!({
            "id": "1", "name": "debian", "status": "active", "size": 7, "disk_format": "qcow2",
            "container_format": "bare", "min_disk": 2, "min_ram": 64, "checksum": "AB",
            "os_hash_algo": "sha512", "os_hash_value": "cd", "os_hidden": false, "os_distro": "debian",
            "hw_disk_bus": "virtio", "owner_specified.openstack.md5": "x", "stores": "file", "kernel_id": null,
        })
    }

    #[test]
    fn what_means_something_elsewhere_is_kept() {
        let told = described(&image());
        let properties: Vec<&str> = told.properties.keys().map(String::as_str).collect();
        assert_eq!(properties, ["hw_disk_bus", "os_distro"]);
        assert_eq!((told.size_bytes, told.min_disk_gib, told.min_ram_mib), (7, 2, 64));
        let digests = BTreeMap::from([("md5".into(), "ab".into()), ("sha512".into(), "cd".into())]);
        assert_eq!((told.digests, told.concerns), (digests, vec![]));
    }

    #[test]
    fn what_cannot_be_copied_is_critical_and_has_a_remedy() {
        for (key, value) in [("status", json!("deactivated")), ("cinder_encryption_key_id", json!("k"))] {
            let mut image = image();
            image[key] = value;
            let told = described(&image).concerns;
            assert_eq!(told.len(), 1, "{key}");
            assert!(told[0].severity == Severity::Critical && !told[0].remedy.is_empty());
        }
        let mut empty = image();
        empty["size"] = json!(0);
        empty["block_device_mapping"] = json!("[]");
        assert_eq!(described(&empty).concerns[0].severity, Severity::Critical);
    }
}
