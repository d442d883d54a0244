//! Cinder's volumes and snapshots, and Glance's images: what they look like and what can be asked of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::lenient;
use super::servers::{Id, numbers};
use super::tag::{self, Metadata};
use super::wait::until;
use crate::error::Error;

/// Some back ends copy every byte of a snapshot or image into a volume.
pub(super) const MADE_MAX: Duration = Duration::from_secs(840);
/// The same where every byte surely is copied: at no less than 32 MiB a second.
pub(super) fn copied_max(gib: u64) -> Duration {
    MADE_MAX + Duration::from_secs(gib.saturating_mul(32))
}

/// Looks after which a refusal to delete is believed.
const REFUSALS_MAX: u32 = 3;
const SETTLED_MAX: Duration = Duration::from_secs(180);
pub(super) const GIB: u64 = 1 << 30;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Volume {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: Option<String>,
    pub status: String,
    /// GiB.
    pub size: u64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub attachments: Vec<Attached>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub multiattach: bool,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub encrypted: bool,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub volume_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub updated_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub volume_image_metadata: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Attached {
    pub server_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub device: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Snapshot {
    pub id: String,
    pub status: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    /// GiB.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub size: u64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub metadata: Metadata,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Image {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: Option<String>,
    pub status: String,
    /// GiB.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub min_disk: u64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub virtual_size: Option<u64>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub size: Option<u64>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub disk_format: Option<String>,
    #[serde(flatten)]
    pub properties: BTreeMap<String, Value>,
}

impl Volume {
    pub fn is_attached_to(&self, server: &str) -> bool {
        self.attachments.iter().any(|attached| attached.server_id == server)
    }
}

impl Image {
    pub fn has(&self, key: &str, value: &str) -> bool {
        self.properties.get(key).and_then(Value::as_str) == Some(value)
    }
}

fn path(volume: &str) -> String {
    format!("/volumes/{volume}")
}

impl Api {
    pub(super) async fn volumes(&self) -> Result<Vec<Volume>, Error> {
        self.list(Call::get(Service::Volume, "/volumes/detail", "list volumes"), "volumes").await
    }

    /// Oldest first, so that everybody agrees which of two is the one.
    pub(super) async fn volumes_of(&self, relocation: RelocationId) -> Result<Vec<Volume>, Error> {
        // Some services do not know the filter and give all.
        let filter = format!("{{'{}': '{relocation}'}}", tag::RELOCATION);
        let call = Call::get(Service::Volume, "/volumes/detail", "list volumes").query("metadata", filter);
        let mut volumes: Vec<Volume> = self.list(call, "volumes").await?;
        volumes.retain(|volume| tag::is_of(&volume.metadata, relocation));
        volumes.sort_by(|a, b| (&a.created_at, &a.id).cmp(&(&b.created_at, &b.id)));
        Ok(volumes)
    }

    pub(super) async fn volume(&self, id: &str) -> Result<Option<Volume>, Error> {
        self.find(Call::get(Service::Volume, path(id), format!("look at volume {id}")), "volume").await
    }

    pub(super) async fn make_volume(&self, what: &str, volume: Value) -> Result<String, Error> {
        let call = Call::post(Service::Volume, "/volumes", what).json(json!({"volume": volume}));
        Ok(self.one::<Id>(call, "volume").await?.id)
    }

    /// Returns when nothing uses it and nothing is under way on it.
    pub(super) async fn volume_is_free(&self, id: &str, within: Duration) -> Result<Volume, Error> {
        self.volume_has(id, "available", within).await
    }

    pub(super) async fn volume_has(&self, id: &str, status: &str, within: Duration) -> Result<Volume, Error> {
        until(
            || format!("volume {id} to be {status}"),
            within,
            || async {
                let volume = self.volume(id).await?.ok_or_else(|| self.lost(format!("volume {id}")))?;
                match volume.status.as_str() {
                    found if found == status => Ok(Some(volume)),
                    "error" | "error_deleting" | "error_restoring" | "error_extending" => Err(self.broken(
                        format!("volume {id}"),
                        &volume.status,
                        "see the log of cinder-volume",
                    )),
                    _ => Ok(None),
                }
            },
        )
        .await
    }

    pub(super) async fn volume_action(&self, id: &str, what: &str, action: Value) -> Result<(), Error> {
        let call = Call::post(Service::Volume, format!("{}/action", path(id)), format!("{what} volume {id}"));
        self.call(call.safe().json(action)).await.map(drop)
    }

    pub(super) async fn tag_volume(&self, id: &str, set: &[(&str, String)]) -> Result<(), Error> {
        let metadata: Metadata = set.iter().map(|(k, v)| ((*k).to_owned(), tag::short(v))).collect();
        let call = Call::post(Service::Volume, format!("{}/metadata", path(id)), format!("mark volume {id}"));
        self.call(call.safe().json(json!({"metadata": metadata}))).await.map(drop)
    }

    pub(super) async fn untag_volume(&self, id: &str, key: &str) -> Result<(), Error> {
        let path = format!("{}/metadata/{key}", path(id));
        self.remove(Call::delete(Service::Volume, path, format!("unmark volume {id}"))).await
    }

    /// A raw image of it, with the volume's own image properties; answers its id. Nothing is whole yet.
    pub(super) async fn start_image_of(&self, id: &str, name: &str) -> Result<String, Error> {
        let action = json!({"image_name": name, "disk_format": "raw", "container_format": "bare"});
        let what = format!("make an image of volume {id}");
        let call = Call::post(Service::Volume, format!("{}/action", path(id)), what);
        let told: Value =
            self.one(call.json(json!({"os-volume_upload_image": action})), "os-volume_upload_image").await?;
        let image = told["image_id"].as_str().ok_or_else(|| self.lost("the image".into()))?;
        Ok(image.to_owned())
    }

    /// Returns when it is gone. It must not be attached.
    pub(super) async fn delete_volume(&self, id: &str) -> Result<(), Error> {
        let refusals = AtomicU32::new(0);
        until(
            || format!("the deletion of volume {id}"),
            SETTLED_MAX,
            || async {
                let Some(volume) = self.volume(id).await? else { return Ok(Some(())) };
                match volume.status.as_str() {
                    "deleting" => Ok(None),
                    "error_deleting" => {
                        Err(self.broken(format!("volume {id}"), &volume.status, "ask the cloud to remove it"))
                    }
                    // Detached a moment ago.
                    "detaching" | "attaching" | "creating" | "downloading" | "in-use" => Ok(None),
                    _ => {
                        let call = Call::delete(Service::Volume, path(id), format!("delete volume {id}"));
                        match self.remove(call).await {
                            // Somebody else may have been quicker; another reason stays.
                            Err(Error::Refused { status: 400 | 409, .. })
                                if refusals.fetch_add(1, Ordering::Relaxed) < REFUSALS_MAX =>
                            {
                                Ok(None)
                            }
                            done => done.map(|()| None),
                        }
                    }
                }
            },
        )
        .await
    }

    pub(super) async fn snapshots_of(&self, relocation: RelocationId) -> Result<Vec<Snapshot>, Error> {
        let call = Call::get(Service::Volume, "/snapshots/detail", "list snapshots");
        let mut snapshots: Vec<Snapshot> = self.list(call, "snapshots").await?;
        snapshots.retain(|snapshot| tag::is_of(&snapshot.metadata, relocation));
        Ok(snapshots)
    }

    /// Also of a volume in use: as it is at this moment.
    pub(super) async fn make_snapshot(&self, volume: &str, name: &str, tags: Value) -> Result<String, Error> {
        let call = Call::post(Service::Volume, "/snapshots", format!("take a snapshot of volume {volume}"));
        let body = json!({"volume_id": volume, "name": name, "force": true, "metadata": tags});
        Ok(self.one::<Id>(call.json(json!({"snapshot": body})), "snapshot").await?.id)
    }

    pub(super) async fn snapshot_is_whole(&self, id: &str) -> Result<(), Error> {
        until(
            || format!("snapshot {id} to be whole"),
            MADE_MAX,
            || async {
                let call =
                    Call::get(Service::Volume, format!("/snapshots/{id}"), format!("look at snapshot {id}"));
                let snapshot: Snapshot = self.one(call, "snapshot").await?;
                match snapshot.status.as_str() {
                    "available" => Ok(Some(())),
                    "error" => {
                        Err(self.broken(format!("snapshot {id}"), "error", "see the log of cinder-volume"))
                    }
                    _ => Ok(None),
                }
            },
        )
        .await
    }

    pub(super) async fn delete_snapshot(&self, id: &str) -> Result<(), Error> {
        let path = format!("/snapshots/{id}");
        until(
            || format!("the deletion of snapshot {id}"),
            SETTLED_MAX,
            || async {
                let call = Call::get(Service::Volume, path.clone(), format!("look at snapshot {id}"));
                let Some(snapshot) = self.find::<Snapshot>(call, "snapshot").await? else {
                    return Ok(Some(()));
                };
                match snapshot.status.as_str() {
                    "deleting" | "creating" => Ok(None),
                    "error_deleting" => Err(self.broken(
                        format!("snapshot {id}"),
                        "error_deleting",
                        "ask the cloud to remove it",
                    )),
                    _ => {
                        let call =
                            Call::delete(Service::Volume, path.clone(), format!("delete snapshot {id}"));
                        self.remove(call).await?;
                        Ok(None)
                    }
                }
            },
        )
        .await
    }

    pub(super) async fn volume_limits(&self) -> Result<BTreeMap<String, i64>, Error> {
        let call = Call::get(Service::Volume, "/limits", "see the limits of the project");
        let limits: Value = self.one(call, "limits").await?;
        Ok(numbers(&limits["absolute"]))
    }

    pub(super) async fn images_of(&self, relocation: RelocationId) -> Result<Vec<Image>, Error> {
        let call = Call::get(Service::Image, "/images", "list images")
            .query(tag::RELOCATION, relocation.to_string());
        let mut images: Vec<Image> = self.list(call, "images").await?;
        images.retain(|image| image.has(tag::RELOCATION, &relocation.to_string()));
        Ok(images)
    }

    pub(super) async fn image(&self, id: &str) -> Result<Option<Image>, Error> {
        let call = Call::get(Service::Image, format!("/images/{id}"), format!("look at image {id}"));
        let found = super::api::absent(self.call(call).await)?;
        Ok(found.and_then(|image| serde_json::from_value(image).ok()))
    }

    /// By name or id.
    pub(super) async fn image_named(&self, name: &str) -> Result<Option<Image>, Error> {
        let call = Call::get(Service::Image, "/images", "list images").query("name", name);
        let images: Vec<Image> = self.list(call, "images").await?;
        match images.into_iter().find(|image| image.status == "active") {
            Some(image) => Ok(Some(image)),
            None => self.image(name).await,
        }
    }

    pub(super) async fn image_is_whole(&self, id: &str) -> Result<Image, Error> {
        self.image_is_whole_within(id, MADE_MAX).await
    }

    pub(super) async fn image_is_whole_within(&self, id: &str, within: Duration) -> Result<Image, Error> {
        until(
            || format!("image {id} to be whole"),
            within,
            || async {
                let image = self.image(id).await?.ok_or_else(|| self.lost(format!("image {id}")))?;
                match image.status.as_str() {
                    "active" => Ok(Some(image)),
                    "killed" | "deleted" => {
                        Err(self.broken(format!("image {id}"), &image.status, "see the log of nova-compute"))
                    }
                    _ => Ok(None),
                }
            },
        )
        .await
    }

    pub(super) async fn delete_image(&self, id: &str) -> Result<(), Error> {
        let call = Call::delete(Service::Image, format!("/images/{id}"), format!("delete image {id}"));
        self.remove(call).await
    }

    /// In a state that nothing leads out of.
    pub(super) fn broken(&self, thing: String, state: &str, remedy: &str) -> Error {
        let cause = format!("{thing} went into state {state}; {remedy}").into();
        Error::Driver { provider: self.provider().to_owned(), what: format!("have {thing} ready"), cause }
    }

    pub(super) fn lost(&self, thing: String) -> Error {
        let cause = format!("{thing} was removed meanwhile").into();
        Error::Driver { provider: self.provider().to_owned(), what: format!("have {thing} ready"), cause }
    }
}
