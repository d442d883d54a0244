//! Disks that go by way of images: what is made when, what is never used, and what becomes of the rest.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::ids::Epoch;
use futures::StreamExt;

use super::*;
use crate::bytes::{ByteStream, Source};
use crate::disk_images::{Arrival, Inlet};
use crate::provider::{Made, Moment};

const BYTES: &[u8] = b"the first bytes of a disk";

/// Glance and Cinder together, as far as they hand things to each other.
#[derive(Clone, Default)]
struct Clouds(Arc<Mutex<Things>>);

#[derive(Default)]
struct Things {
    images: BTreeMap<String, Value>,
    volumes: BTreeMap<String, Value>,
    made: usize,
}

impl Clouds {
    fn with<T>(&self, work: impl FnOnce(&mut Things) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Ids of images and volumes with what they are.
    fn roles(&self) -> Vec<String> {
        let role = |thing: &Value| {
            let of = |key: &str| thing[key].as_str().map(str::to_owned);
            of(tag::ROLE)
                .or_else(|| Some(thing["metadata"][tag::ROLE].as_str()?.to_owned()))
                .unwrap_or_default()
        };
        self.with(|things| {
            let all = things.images.iter().chain(&things.volumes);
            all.map(|(id, thing)| format!("{id} {}", role(thing))).collect()
        })
    }

    fn answer(&self, seen: &Seen) -> Told {
        let parts: Vec<&str> = seen.path.trim_start_matches('/').split('/').skip(2).collect();
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        self.with(|things| match (seen.method.as_str(), &parts[..]) {
            ("GET", ["servers", "detail"]) => ok(json!({"servers": []})),
            ("GET", ["limits"]) => ok(json!({"limits": {"absolute": {}}})),
            ("GET", ["flavors", ..]) => ok(json!({"flavors": []})),
            ("GET", ["images"]) => ok(json!({"images": things.images.values().collect::<Vec<_>>()})),
            ("GET", ["images", id]) => found(things.images.get(*id).cloned()),
            ("POST", ["images"]) => {
                things.made += 1;
                let (mut image, id) = (body, format!("i{}", things.made));
                (image["id"], image["status"]) = (json!(id), json!("queued"));
                things.images.insert(id, image.clone());
                ok(image)
            }
            ("PUT", ["images", id, "file"]) => {
                let Some(image) = things.images.get_mut(*id) else { return refuse(404, "no such image") };
                (image["status"], image["size"]) = (json!("active"), json!(seen.body.len()));
                (204, Vec::new(), Vec::new())
            }
            ("DELETE", ["images", id]) => {
                things.images.remove(*id);
                (204, Vec::new(), Vec::new())
            }
            ("GET", ["volumes", "detail"]) => {
                ok(json!({"volumes": things.volumes.values().collect::<Vec<_>>()}))
            }
            ("GET", ["volumes", id]) => found(things.volumes.get(*id).map(|it| json!({"volume": it}))),
            ("POST", ["volumes"]) => {
                things.made += 1;
                let (mut volume, id) = (body["volume"].clone(), format!("v{}", things.made));
                (volume["id"], volume["status"]) = (json!(id), json!("available"));
                let image = volume["imageRef"].as_str().and_then(|id| things.images.get(id));
                volume["volume_image_metadata"] = image.cloned().unwrap_or_default();
                things.volumes.insert(id, volume.clone());
                ok(json!({"volume": volume}))
            }
            ("POST", ["volumes", id, "metadata"]) => {
                let Some(volume) = things.volumes.get_mut(*id) else { return refuse(404, "no such volume") };
                for (key, value) in body["metadata"].as_object().unwrap() {
                    volume["metadata"][key.as_str()] = value.clone();
                }
                ok(json!({}))
            }
            ("POST", ["volumes", id, "action"]) if body.get("os-volume_upload_image").is_some() => {
                things.made += 1;
                let image = format!("i{}", things.made);
                let mut record = things.volumes[*id]["volume_image_metadata"].clone();
                (record["id"], record["status"], record["disk_format"]) =
                    (json!(image), json!("active"), json!("raw"));
                record["size"] = json!(things.volumes[*id]["size"].as_u64().unwrap() << 30);
                record["checksum"] = json!("told");
                things.images.insert(image.clone(), record);
                ok(json!({"os-volume_upload_image": {"image_id": image}}))
            }
            ("POST", ["volumes", id, "action"]) => {
                let key = body["os-unset_image_metadata"]["key"].as_str().unwrap().to_owned();
                let metadata = &mut things.volumes.get_mut(*id).unwrap()["volume_image_metadata"];
                metadata.as_object_mut().unwrap().remove(&key);
                ok(json!({}))
            }
            ("DELETE", ["volumes", id]) => {
                things.volumes.remove(*id);
                (202, Vec::new(), Vec::new())
            }
            ("GET", ["os-keypairs"]) => ok(json!({"keypairs": []})),
            ("GET", ["os-server-groups"]) => ok(json!({"server_groups": []})),
            _ if seen.method == "GET" => {
                let named = parts.iter().rev().find(|part| **part != "detail" && !part.ends_with(".json"));
                let kind = named.copied().unwrap_or_default().replace('-', "_");
                ok(json!({kind: []}))
            }
            other => refuse(400, &format!("{other:?}")),
        })
    }
}

fn found(thing: Option<Value>) -> Told {
    thing.map_or_else(|| refuse(404, "no such thing"), ok)
}

struct Bits;

#[async_trait]
impl Source for Bits {
    async fn open(&self) -> Result<ByteStream, Error> {
        Ok(futures::stream::iter([Ok(Bytes::from_static(BYTES))]).boxed())
    }
}

fn without_helper(cloud: &FakeCloud) -> OpenstackProvider {
    let with = provider(cloud);
    let config = OpenstackConfig { helper: None, ..(*with.config).clone() };
    OpenstackProvider { config: Arc::new(config), ..with }
}

async fn start() -> (Clouds, FakeCloud) {
    let clouds = Clouds::default();
    let fake = clouds.clone();
    (clouds, FakeCloud::start(move |seen| fake.answer(seen)).await)
}

fn ordered() -> DiskOrder {
    DiskOrder { size_bytes: BYTES.len() as u64, ..order(1) }
}

fn arrival(order: &DiskOrder, epoch: u64) -> Arrival {
    Arrival {
        relocation: order.relocation,
        disk: order.disk.clone(),
        epoch: Epoch(epoch),
        size_bytes: order.size_bytes,
    }
}

#[tokio::test]
async fn a_disk_is_promised_once_and_sealed_when_its_bytes_are_there() {
    let (clouds, cloud) = start().await;
    let (provider, order) = (without_helper(&cloud), ordered());
    let place = provider.create_disk(&order).await.unwrap();
    assert_eq!(place.path, "/site/disks/coming-app:vda");
    assert_eq!(provider.create_disk(&order).await.unwrap(), place);
    assert_eq!(clouds.roles(), ["i1 coming"]);
    assert_eq!(provider.made_for(order.relocation).await.unwrap(), [Made::Disk { path: place.path.clone() }]);

    let arrival = arrival(&order, 1);
    assert_eq!(provider.sealed(order.relocation, &order.disk).await.unwrap(), None);
    let stored = provider.upload(&arrival, &Bits).await.unwrap();
    assert_eq!(stored.size_bytes, BYTES.len() as u64);
    let back = provider.land(&arrival, &stored.id).await.unwrap();
    assert_eq!((back.size_bytes, back.digests["md5"].as_str()), (1 << 30, "told"));
    assert_eq!(clouds.roles(), ["i1 coming", "i2 stage", "v3 disk"], "what was read back is gone");
    provider.seal(&arrival, "blake3:d").await.unwrap();
    assert_eq!(clouds.roles(), ["v3 disk"]);
    let left = clouds.with(|things| things.volumes["v3"]["volume_image_metadata"].clone());
    assert!(!left.to_string().contains("fluidcloud_"), "{left}");
    assert_eq!(provider.sealed(order.relocation, &order.disk).await.unwrap().as_deref(), Some("blake3:d"));
    provider.seal(&arrival, "blake3:d").await.unwrap();
    assert_eq!(provider.create_disk(&order).await.unwrap(), place, "it is not promised again");
    provider.delete_disk(order.relocation, &order.disk).await.unwrap();
    assert_eq!(clouds.roles(), [] as [&str; 0]);
}

#[tokio::test]
async fn what_an_attempt_has_left_is_removed_and_a_late_one_is_fenced() {
    let (clouds, cloud) = start().await;
    let (provider, order) = (without_helper(&cloud), ordered());
    provider.create_disk(&order).await.unwrap();
    let (early, late) = (arrival(&order, 1), arrival(&order, 2));
    let stored = provider.upload(&early, &Bits).await.unwrap();
    provider.land(&early, &stored.id).await.unwrap();
    // It died here: nothing is sealed.
    let stored = provider.upload(&late, &Bits).await.unwrap();
    assert_eq!(clouds.roles(), ["i1 coming", "i5 stage"]);
    let fenced = |error: Error| assert!(matches!(error, Error::Fenced { newer: 2, .. }), "{error:?}");
    fenced(provider.upload(&early, &Bits).await.unwrap_err());
    fenced(provider.land(&early, &stored.id).await.unwrap_err());
    assert_eq!(clouds.roles(), ["i1 coming", "i5 stage"], "its volume is gone again");
    provider.discard(&late).await.unwrap();
    assert_eq!(clouds.roles(), ["i1 coming"]);
    provider.settle(order.relocation).await.unwrap();
    assert_eq!(clouds.roles(), [] as [&str; 0]);
}

#[tokio::test]
async fn an_attempt_that_hung_while_all_was_taken_back_makes_nothing_any_more() {
    let (clouds, cloud) = start().await;
    let (provider, order) = (without_helper(&cloud), ordered());
    provider.create_disk(&order).await.unwrap();
    let late = arrival(&order, 1);
    let stored = provider.upload(&late, &Bits).await.unwrap();
    provider.delete_disk(order.relocation, &order.disk).await.unwrap();
    let lost = |error: Error| assert!(error.to_string().contains("promise"), "{error:?}");
    lost(provider.upload(&late, &Bits).await.unwrap_err());
    lost(provider.land(&late, &stored.id).await.unwrap_err());
    assert_eq!(clouds.roles(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_disk_that_comes_as_an_image_is_never_opened() {
    let (_, cloud) = start().await;
    let (provider, order) = (without_helper(&cloud), ordered());
    let place = provider.create_disk(&order).await.unwrap();
    let opened = provider.open(order.relocation, &[place], Moment::Stopped).await;
    let error = opened.map(drop).unwrap_err();
    assert!(error.remedy().contains("helper") && !error.retryable(), "{error}");
}

#[tokio::test]
async fn whether_a_source_is_read_by_images_is_decided_once() {
    let (clouds, cloud) = start().await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    // There is no image `i` for a helper.
    assert!(provider.outlet(relocation).await.unwrap().is_some());
    assert_eq!(clouds.roles(), ["i1 by-images"]);
    clouds.with(|things| {
        things.images.insert("i".into(), json!({"id": "i", "name": "i", "status": "active"}));
    });
    assert!(provider.outlet(relocation).await.unwrap().is_some(), "also when one could be made by now");
    provider.settle(relocation).await.unwrap();
    assert_eq!(clouds.roles(), ["i "]);
    assert!(without_helper(&cloud).outlet(relocation).await.unwrap().is_some());
}
