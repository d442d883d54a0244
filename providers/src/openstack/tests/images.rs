//! Uploads that break, and what becomes of their records.

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::alone::StoredImage;
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::request::Visibility;
use futures::StreamExt;

use super::*;
use crate::bytes::{ByteStream, Source};
use crate::image_store::{ImageOrder, ImageStore};
use crate::provider::Made;

const BYTES: &[u8] = b"all the bytes of an image";

/// Images of a fake Glance.
#[derive(Clone, Default)]
struct Images(Arc<Mutex<BTreeMap<String, Value>>>);

impl Images {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn states(&self) -> Vec<(String, String)> {
        let text = |image: &Value| image["status"].as_str().unwrap_or_default().to_owned();
        self.with(|all| all.iter().map(|(id, image)| (id.clone(), text(image))).collect())
    }

    /// `upload` says what becomes of the record, and what is answered.
    fn answer(&self, seen: &Seen, upload: &mut impl FnMut(&Seen) -> (&'static str, Told)) -> Told {
        let parts: Vec<&str> = seen.path.trim_start_matches("/image/v2/images").split('/').collect();
        let id = parts.get(1).copied().unwrap_or_default().to_owned();
        self.with(|all| match (seen.method.as_str(), id.as_str()) {
            ("GET", "") => ok(json!({"images": all.values().collect::<Vec<_>>()})),
            ("POST", "") => {
                let mut image: Value = serde_json::from_slice(&seen.body).unwrap();
                let id = format!("i{}", seen_ids(all));
                (image["id"], image["status"]) = (json!(id), json!("queued"));
                all.insert(id, image.clone());
                (201, Vec::new(), image.to_string().into_bytes())
            }
            ("GET", id) => {
                all.get(id).map_or_else(|| refuse(404, "no such image"), |image| ok(image.clone()))
            }
            ("DELETE", id) => {
                all.remove(id);
                (204, Vec::new(), Vec::new())
            }
            ("PUT", id) => {
                let (status, told) = upload(seen);
                if let Some(image) = all.get_mut(id) {
                    image["status"] = json!(status);
                    image["size"] = json!(seen.body.len());
                }
                told
            }
            other => refuse(400, &format!("{other:?}")),
        })
    }
}

/// Ids are used once, also of what is gone.
fn seen_ids(all: &mut BTreeMap<String, Value>) -> usize {
    all.keys().filter_map(|id| id.trim_start_matches('i').parse::<usize>().ok()).max().unwrap_or(0) + 1
}

struct Bits;

#[async_trait]
impl Source for Bits {
    async fn open(&self) -> Result<ByteStream, Error> {
        let pieces = BYTES.chunks(7).map(|piece| Ok(Bytes::from_static(piece)));
        Ok(futures::stream::iter(pieces.collect::<Vec<_>>()).boxed())
    }
}

fn order(relocation: RelocationId, epoch: u64) -> ImageOrder {
    ImageOrder {
        relocation,
        component: "base".parse().unwrap(),
        epoch: Epoch(epoch),
        name: "debian".into(),
        visibility: Visibility::Private,
        like: StoredImage {
            id: "elsewhere".into(),
            name: "debian".into(),
            size_bytes: BYTES.len() as u64,
            disk_format: "raw".into(),
            container_format: "bare".into(),
            min_disk_gib: 1,
            min_ram_mib: 0,
            properties: BTreeMap::from([("hw_disk_bus".into(), "virtio".into())]),
            digests: BTreeMap::new(),
            concerns: Vec::new(),
        },
    }
}

async fn glance(
    images: &Images,
    mut upload: impl FnMut(&Seen) -> (&'static str, Told) + Send + 'static,
) -> FakeCloud {
    let fake = images.clone();
    FakeCloud::start(move |seen| fake.answer(seen, &mut upload)).await
}

fn stored() -> (&'static str, Told) {
    ("active", (204, Vec::new(), Vec::new()))
}

#[tokio::test]
async fn an_upload_is_marked_whole_and_made_once() {
    let images = Images::default();
    let cloud = glance(&images, |_| stored()).await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    let made = provider.put_image(&order(relocation, 1), &Bits).await.unwrap();
    assert_eq!((made.id.as_str(), made.size_bytes), ("i1", BYTES.len() as u64));
    assert_eq!(provider.put_image(&order(relocation, 2), &Bits).await.unwrap(), made);
    let uploads: Vec<Seen> = cloud.seen().into_iter().filter(|seen| seen.method == "PUT").collect();
    assert_eq!(uploads.len(), 1);
    assert_eq!(uploads[0].headers["content-length"], BYTES.len().to_string());
    assert_eq!(&uploads[0].body[..], BYTES);
    let record: Value = images.with(|all| all["i1"].clone());
    assert_eq!((&record["visibility"], &record["hw_disk_bus"]), (&json!("private"), &json!("virtio")));
    assert_eq!(record[tag::RELOCATION], json!(relocation.to_string()));
    provider.delete_image(relocation, &"base".parse().unwrap()).await.unwrap();
    assert_eq!(images.states(), []);
}

#[tokio::test]
async fn an_upload_that_ends_in_a_401_is_made_again_on_a_record_without_bytes() {
    for left in ["queued", "saving", "killed"] {
        let images = Images::default();
        let cloud = glance(&images, move |seen| match seen.token.as_str() {
            "t1" => (left, refuse(401, "expired")),
            _ => stored(),
        })
        .await;
        let made = provider(&cloud).put_image(&order(RelocationId::new(), 1), &Bits).await.unwrap();
        assert_eq!(
            images.states(),
            [(made.id, "active".to_owned())],
            "{left}: of a broken one nothing is left"
        );
        let records = cloud.seen().iter().filter(|seen| seen.method == "POST").count();
        assert_eq!(records, if left == "queued" { 1 } else { 2 }, "{left}");
        assert_eq!(cloud.logins(), 2, "{left}");
    }
}

#[tokio::test]
async fn what_an_attempt_that_died_has_left_is_not_trusted() {
    let images = Images::default();
    let cloud = glance(&images, |_| stored()).await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    for status in ["saving", "queued", "error"] {
        let id = format!("i{}", images.states().len() + 7);
        let left = json!({"id": id, "status": status, "fluidcloud_relocation": relocation.to_string(),
            "fluidcloud_role": "image", "fluidcloud_component": "base", "fluidcloud_epoch": "1"});
        images.with(|all| all.insert(id, left));
    }
    let made = provider.put_image(&order(relocation, 2), &Bits).await.unwrap();
    assert_eq!(images.states(), [(made.id, "active".to_owned())]);
    let late = provider.put_image(&order(relocation, 1), &Bits).await.unwrap_err();
    assert!(matches!(late, Error::Fenced { newer: 2, .. }), "{late:?}");
}

#[tokio::test]
async fn a_quota_ends_it_at_once() {
    let images = Images::default();
    let cloud = glance(&images, |_| ("queued", refuse(413, "The quota of images is exceeded"))).await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    let error = provider.put_image(&order(relocation, 1), &Bits).await.unwrap_err();
    assert!(!error.retryable() && error.code() == fluidcloud_proto::Code::NoRoom, "{error:?}");
    assert_eq!(cloud.seen().iter().filter(|seen| seen.method == "PUT").count(), 1);
    provider.delete_image(relocation, &"base".parse().unwrap()).await.unwrap();
    assert_eq!(images.states(), []);
}

#[tokio::test]
async fn a_source_that_fails_is_told_and_not_the_upload() {
    struct Broken;
    #[async_trait]
    impl Source for Broken {
        async fn open(&self) -> Result<ByteStream, Error> {
            let error = || Error::Refused {
                provider: "source".into(),
                what: "read".into(),
                status: 403,
                message: "no".into(),
                remedy: "r".into(),
                full: false,
                retryable: false,
            };
            let pieces = vec![Ok(Bytes::from_static(b"some")), Err(error())];
            Ok(futures::stream::iter(pieces).boxed())
        }
    }
    let images = Images::default();
    let cloud = glance(&images, |_| ("saving", refuse(500, "the client went away"))).await;
    let error = provider(&cloud).put_image(&order(RelocationId::new(), 1), &Broken).await.unwrap_err();
    assert!(matches!(&error, Error::Refused { provider, .. } if provider == "source"), "{error:?}");
}

#[tokio::test]
async fn a_moved_image_is_no_scrap_that_settling_removes() {
    let images = Images::default();
    let fake = images.clone();
    let cloud = FakeCloud::start(move |seen| match seen.path.as_str() {
        path if path.starts_with("/image") => fake.answer(seen, &mut |_| stored()),
        "/compute/v2.1/servers/detail" => ok(json!({"servers": []})),
        "/volume/v3/volumes/detail" => ok(json!({"volumes": []})),
        "/volume/v3/snapshots/detail" => ok(json!({"snapshots": []})),
        "/network/v2.0/ports" => ok(json!({"ports": []})),
        "/network/v2.0/floatingips" => ok(json!({"floatingips": []})),
        "/network/v2.0/security-groups" => ok(json!({"security_groups": []})),
        "/network/v2.0/networks" => ok(json!({"networks": []})),
        "/network/v2.0/subnets" => ok(json!({"subnets": []})),
        "/network/v2.0/routers" => ok(json!({"routers": []})),
        "/compute/v2.1/os-keypairs" => ok(json!({"keypairs": []})),
        "/compute/v2.1/os-server-groups" => ok(json!({"server_groups": []})),
        other => refuse(404, other),
    })
    .await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    provider.put_image(&order(relocation, 1), &Bits).await.unwrap();
    provider.settle(relocation).await.unwrap();
    assert_eq!(provider.made_for(relocation).await.unwrap(), [Made::Image { name: "debian".into() }]);
}
