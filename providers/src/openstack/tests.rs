//! What a real cloud does not do on demand, told by a fake one: things that go into error, quotas that are used up, callers
//! that come at the same time.

mod addresses;
mod byimages;
mod images;
mod objects;
mod starts;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::DiskFormat;
use serde_json::{Value, json};

use super::api::fake_cloud::{FakeCloud, Seen, Told, ok, refuse};
use super::config::{HelperConfig, OpenstackConfig};
use super::{OpenstackProvider, tag};
use crate::error::Error;
use crate::provider::{DiskOrder, Provider};

/// Volumes of a fake Cinder.
#[derive(Clone, Default)]
struct Volumes(Arc<Mutex<BTreeMap<String, Value>>>);

impl Volumes {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ids(&self) -> Vec<String> {
        self.with(|all| all.keys().cloned().collect())
    }

    /// `becomes` is the status of what is made.
    fn answer(&self, seen: &Seen, becomes: &str) -> Told {
        let id = seen.path.rsplit('/').next().unwrap_or_default().to_owned();
        self.with(|all| match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", "/volume/v3/volumes/detail") => ok(json!({"volumes": all.values().collect::<Vec<_>>()})),
            ("GET", "/volume/v3/limits") => {
                ok(json!({"limits": {"absolute": {"maxTotalVolumeGigabytes": 10, "totalGigabytesUsed": 4}}}))
            }
            ("GET", "/image/v2/images") => ok(json!({"images": []})),
            ("GET", "/compute/v2.1/limits") => ok(json!({"limits": {"absolute": {}}})),
            ("GET", "/compute/v2.1/servers/detail") => ok(json!({"servers": []})),
            ("POST", "/volume/v3/volumes") => {
                let asked: Value = serde_json::from_slice(&seen.body).unwrap();
                let mut volume = asked["volume"].clone();
                let id = format!("v{}", all.len() + 1);
                (volume["id"], volume["status"]) = (json!(id), json!(becomes));
                volume["created_at"] = json!(id);
                all.insert(id, volume.clone());
                ok(json!({"volume": volume}))
            }
            ("GET", _) => match all.get(&id) {
                Some(volume) => ok(json!({"volume": volume})),
                None => refuse(404, "no such volume"),
            },
            ("DELETE", _) => {
                all.remove(&id);
                (202, Vec::new(), Vec::new())
            }
            other => refuse(400, &format!("{other:?}")),
        })
    }
}

fn provider(cloud: &FakeCloud) -> OpenstackProvider {
    let helper = HelperConfig {
        image: "i".into(),
        flavor: "f".into(),
        network: "n".into(),
        floating_network: None,
        user: "root".into(),
        key: "/k".into(),
        guest_tools: false,
        dir: "/site".into(),
    };
    let config = OpenstackConfig {
        cloud: "fake".into(),
        clouds_file: None,
        region: None,
        network: Some("n".into()),
        networks: BTreeMap::new(),
        external_network: None,
        security_groups: Vec::new(),
        floating_network: None,
        volume_type: None,
        volume_types: BTreeMap::new(),
        flavors: BTreeMap::new(),
        availability_zone: None,
        helper: Some(helper),
        dir: "/site".into(),
    };
    let (disk_bus, nic) = ("virtio".into(), "virtio".into());
    OpenstackProvider {
        id: "cloud-x".parse().unwrap(),
        shape: Hardware { machine: "pc".into(), disk_bus, nic, format: DiskFormat::Raw },
        config: Arc::new(config),
        api: cloud.api(),
        helpers: Arc::default(),
    }
}

fn order(gib: u64) -> DiskOrder {
    let disk = DiskId { component: "app".parse().unwrap(), disk: "vda".parse().unwrap() };
    let (relocation, size_bytes) = (RelocationId::new(), gib << 30);
    DiskOrder { relocation, disk, size_bytes, expected_bytes: 0, staging: false, volume_type: None }
}

#[tokio::test]
async fn a_volume_that_goes_into_error_is_removed_and_made_again() {
    let volumes = Volumes::default();
    let (fake, mut first) = (volumes.clone(), true);
    let cloud = FakeCloud::start(move |seen| {
        let becomes = if first { "error" } else { "available" };
        first &= seen.method != "POST";
        fake.answer(seen, becomes)
    })
    .await;
    let (provider, order) = (provider(&cloud), order(1));
    let error = provider.create_disk(&order).await.unwrap_err();
    assert!(error.retryable(), "{error:?}");
    assert_eq!(volumes.ids(), [] as [&str; 0]);
    provider.create_disk(&order).await.unwrap();
    assert_eq!(provider.create_disk(&order).await.unwrap().path, "/site/disks/v1");
    assert_eq!(volumes.ids(), ["v1"], "it is made once");
}

#[tokio::test]
async fn a_disk_that_the_quota_does_not_hold_is_not_even_asked_for() {
    let volumes = Volumes::default();
    let fake = volumes.clone();
    let cloud = FakeCloud::start(move |seen| fake.answer(seen, "available")).await;
    let error = provider(&cloud).create_disk(&order(7)).await.unwrap_err();
    assert!(matches!(error, Error::NoRoom { free, .. } if free == 6 << 30), "{error:?}");
    assert!(!error.retryable());
    assert_eq!(volumes.ids(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_quota_that_is_used_up_meanwhile_is_no_room() {
    let volumes = Volumes::default();
    let cloud = FakeCloud::start(move |seen| match seen.method.as_str() {
        "POST" => refuse(413, "VolumeSizeExceedsAvailableQuota: exceeds allowed gigabytes quota"),
        _ => volumes.answer(seen, "available"),
    })
    .await;
    let error = provider(&cloud).create_disk(&order(1)).await.unwrap_err();
    assert_eq!(error.code(), fluidcloud_proto::failure::Code::NoRoom);
    assert!(!error.retryable());
}

#[tokio::test]
async fn of_two_that_were_made_at_once_the_older_stays() {
    let volumes = Volumes::default();
    let fake = volumes.clone();
    let order = order(1);
    let more = [(tag::DISK, order.disk.to_string()), (tag::BYTES, order.size_bytes.to_string())];
    let others = tag::metadata(order.relocation, tag::Role::Disk, &more);
    let cloud = FakeCloud::start(move |seen| {
        let told = fake.answer(seen, "available");
        if seen.method == "POST" {
            // Another caller's came a moment before, and was not there yet at our first look.
            let older =
                json!({"id": "a", "status": "available", "size": 1, "created_at": "a", "metadata": others});
            fake.with(|all| all.insert("a".into(), older));
        }
        told
    })
    .await;
    let place = provider(&cloud).create_disk(&order).await.unwrap();
    assert_eq!(place.path, "/site/disks/a");
    assert_eq!(volumes.ids(), ["a"]);
}

#[tokio::test]
async fn what_nobody_deletes_is_an_error_that_names_it() {
    let volumes = Volumes::default();
    let (fake, order) = (volumes.clone(), order(1));
    let cloud = FakeCloud::start(move |seen| match seen.method.as_str() {
        "DELETE" => refuse(400, "Invalid volume: Volume still has dependent snapshots"),
        _ => fake.answer(seen, "available"),
    })
    .await;
    let provider = provider(&cloud);
    provider.create_disk(&order).await.unwrap();
    let error = provider.delete_disk(order.relocation, &order.disk).await.unwrap_err();
    let failure = error.to_failure();
    assert!(
        failure.message.contains("delete volume v1") && failure.message.contains("dependent"),
        "{failure}"
    );
    assert_eq!(volumes.ids(), ["v1"]);
}
