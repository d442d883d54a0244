//! Sees and writes what is on volumes: through a server of the tests' own, so that what the driver does is looked at from
//! outside. It is a helper of a relocation that never happens.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_providers::conformance::Content;
use fluidcloud_providers::openstack::OpenstackProvider;
use fluidcloud_providers::openstack::api::{Api, Call, Service};
use fluidcloud_providers::{Command, Moment, Provider, Site};
use serde_json::{Value, json};
use tokio::sync::Mutex;

const LOOK: Duration = Duration::from_millis(500);
const DONE_MAX: u32 = 600;
const SECS: u64 = 300;

/// `$1` is the beginning of the volume's id; prints the device.
const DEVICE: &str = r#"for turn in $(seq 100); do for s in /sys/block/*/serial; do
    [ "$(cat "$s" 2>/dev/null)" = "$1" ] && d=${s%/serial} && echo "/dev/${d##*/}" && exit 0; done; sleep 0.2; done; exit 1"#;
/// Size, digest, the digest that zeros would have, and the first sector. Of a volume the beginning and the end are enough: an
/// emulated processor takes minutes for all of it, and the tests write nowhere else.
const READ: &str = r#"size=$(blockdev --getsize64 "$1") || exit 1
part() { dd if="$1" bs=1M count=96 2>/dev/null; dd if="$1" bs=1M skip="$2" count=1 2>/dev/null; }
echo "$size"
part "$1" $((size / 1048576 - 1)) | md5sum | cut -d' ' -f1
part /dev/zero 0 | md5sum | cut -d' ' -f1
dd if="$1" bs=512 count=1 2>/dev/null | od -An -v -tx1 | tr -d ' \n'"#;
const WRITE: &str = r#"dd of="$1" conv=notrunc,fsync bs=512 2>/dev/null"#;

pub struct Eye {
    id: RelocationId,
    server: String,
    site: Arc<dyn Site>,
    /// One volume at a time.
    turn: Mutex<()>,
}

impl Eye {
    pub async fn open(provider: &OpenstackProvider) -> Self {
        let id = RelocationId::new();
        let site = provider.open(id, &[], Moment::Stopped).await.unwrap();
        let name = format!("fluidcloud-helper-{}", &id.to_string()[..8]);
        let call = Call::get(Service::Compute, "/servers", "find the eye").query("name", name);
        let found = provider.api().call(call).await.unwrap();
        let server = found["servers"][0]["id"].as_str().unwrap().to_owned();
        Self { id, server, site, turn: Mutex::default() }
    }

    pub async fn close(&self, provider: &OpenstackProvider) {
        provider.settle(self.id).await.unwrap();
    }

    /// A thing of its own.
    pub fn has(&self, described: &str) -> bool {
        let id = self.id.to_string();
        [id.as_str(), &id[..8], self.server.as_str()].iter().any(|mark| described.contains(mark))
    }

    /// Of a volume in use, through a snapshot.
    pub async fn read(&self, api: &Api, volume: &str) -> Content {
        let _turn = self.turn.lock().await;
        if status(api, volume).await == "available" {
            return self.look(api, volume).await;
        }
        let body = json!({"snapshot": {"volume_id": volume, "force": true, "name": "eye"}});
        let call = Call::post(Service::Volume, "/snapshots", "take a snapshot").json(body);
        let snapshot = api.call(call).await.unwrap()["snapshot"]["id"].as_str().unwrap().to_owned();
        let path = format!("/snapshots/{snapshot}");
        until(|| async {
            let call = Call::get(Service::Volume, path.clone(), "look at a snapshot");
            api.call(call).await.unwrap()["snapshot"]["status"] == "available"
        })
        .await;
        let copy = self.make_volume(api, json!({"snapshot_id": snapshot})).await;
        let content = self.look(api, &copy).await;
        self.delete_volume(api, &copy).await;
        api.call(Call::delete(Service::Volume, path.clone(), "delete a snapshot")).await.unwrap();
        until(|| async { api.call(Call::get(Service::Volume, path.clone(), "look")).await.is_err() }).await;
        content
    }

    pub async fn write(&self, api: &Api, volume: &str, bytes: &[u8]) {
        let _turn = self.turn.lock().await;
        let device = self.attach(api, volume).await;
        let mut sectors = bytes.to_vec();
        sectors.resize(bytes.len().next_multiple_of(512), 0);
        let write =
            Command::new("sh").args(["-c", WRITE, "write", &device]).stdin(sectors).timeout_secs(SECS);
        self.site.run(&write).await.unwrap();
        self.detach(api, volume).await;
    }

    async fn look(&self, api: &Api, volume: &str) -> Content {
        let device = self.attach(api, volume).await;
        let read = Command::new("sh").args(["-c", READ, "read", &device]).timeout_secs(SECS);
        let told = self.site.run(&read).await.unwrap().text();
        self.detach(api, volume).await;
        let lines: Vec<&str> = told.lines().collect();
        let [size, digest, zeros, start] = lines[..] else { panic!("{told}") };
        let start = (0..start.len()).step_by(2).map(|at| u8::from_str_radix(&start[at..at + 2], 16).unwrap());
        Content {
            size_bytes: size.parse().unwrap(),
            is_zeros: digest == zeros,
            start: start.collect(),
            digest: digest.to_owned(),
        }
    }

    async fn attach(&self, api: &Api, volume: &str) -> String {
        let path = format!("/servers/{}/os-volume_attachments", self.server);
        let call = Call::post(Service::Compute, path, "attach")
            .json(json!({"volumeAttachment": {"volumeId": volume}}));
        api.call(call).await.unwrap();
        until(|| async { status(api, volume).await == "in-use" }).await;
        let find = Command::new("sh").args(["-c", DEVICE, "device", &volume[..20]]).timeout_secs(SECS);
        self.site.run(&find).await.unwrap().text().trim().to_owned()
    }

    async fn detach(&self, api: &Api, volume: &str) {
        let path = format!("/servers/{}/os-volume_attachments/{volume}", self.server);
        api.call(Call::delete(Service::Compute, path, "detach")).await.unwrap();
        until(|| async { status(api, volume).await == "available" }).await;
    }

    pub async fn make_volume(&self, api: &Api, volume: Value) -> String {
        let call = Call::post(Service::Volume, "/volumes", "make a volume").json(json!({"volume": volume}));
        let id = api.call(call).await.unwrap()["volume"]["id"].as_str().unwrap().to_owned();
        until(|| async { status(api, &id).await == "available" }).await;
        id
    }

    pub async fn delete_volume(&self, api: &Api, volume: &str) {
        until(|| async { status(api, volume).await != "in-use" }).await;
        let path = format!("/volumes/{volume}");
        let _ = api.call(Call::delete(Service::Volume, path.clone(), "delete a volume")).await;
        until(|| async { api.call(Call::get(Service::Volume, path.clone(), "look")).await.is_err() }).await;
    }
}

async fn status(api: &Api, volume: &str) -> String {
    let call = Call::get(Service::Volume, format!("/volumes/{volume}"), "look at a volume");
    match api.call(call).await {
        Ok(found) => found["volume"]["status"].as_str().unwrap_or_default().to_owned(),
        Err(_) => "gone".to_owned(),
    }
}

async fn until<F: Future<Output = bool>>(mut done: impl FnMut() -> F) {
    for _ in 0..DONE_MAX {
        if done().await {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("it took too long");
}
