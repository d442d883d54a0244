//! Containers: what they tell, how they are tagged, and how those with our tag go, with all that is in them.

use std::collections::BTreeMap;
use std::time::Duration;

use fluidcloud_proto::alone::StoredContainer;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::{Concern, Severity};
use futures::stream::TryStreamExt;

use super::path;
use crate::error::Error;
use crate::object_store::{ContainerOrder, ObjectStore, Page};
use crate::openstack::OpenstackProvider;
use crate::openstack::api::{Answered, Call, Service, absent};

const METADATA: &str = "x-container-meta-";
const TAG: &str = "x-container-meta-fluidcloud-relocation";
const EPOCH: &str = "x-container-meta-fluidcloud-epoch";
/// On a container that was copied: the names of those made for its segments, numbered.
const SEGMENTS: &str = "x-container-meta-fluidcloud-segments-";
const SEGMENTS_MAX: usize = 16;
/// Ours, and what lets people in.
const NOT_COPIED: [&str; 3] = ["fluidcloud-", "temp-url-key", "full-listing-"];
const DELETED_AT_ONCE: usize = 8;
/// A listing may lag behind what was deleted.
const ROUNDS_MAX: u32 = 20;
const ROUND: Duration = Duration::from_secs(1);

impl OpenstackProvider {
    pub(super) async fn look_at_container(&self, name: &str) -> Result<StoredContainer, Error> {
        let answered = self.head_of_container(name).await?.ok_or_else(|| Error::NotThere {
            provider: self.id.to_string(),
            what: format!("container `{name}`"),
            code: Code::UnknownContainer,
        })?;
        let number = |key: &str| answered.get(key).and_then(|told| told.parse().ok()).unwrap_or(0);
        Ok(StoredContainer {
            name: name.to_owned(),
            objects: number("x-container-object-count"),
            bytes: number("x-container-bytes-used"),
            metadata: metadata(&answered),
            concerns: concerns(name, &answered),
        })
    }

    async fn head_of_container(&self, name: &str) -> Result<Option<Answered>, Error> {
        let what = format!("look at container `{name}`");
        let call = Call::head(Service::ObjectStore, path::container(name)?, what);
        absent(self.api.headers(&call).await)
    }

    pub(super) async fn is_free_or_of(&self, relocation: RelocationId, name: &str) -> Result<(), Error> {
        match self.head_of_container(name).await? {
            Some(found) if !is_of(&found, relocation) => Err(self.container_taken(name)),
            _ => Ok(()),
        }
    }

    pub(super) async fn make_tagged_container(&self, order: &ContainerOrder) -> Result<(), Error> {
        let name = &order.name;
        if let Some(found) = self.head_of_container(name).await? {
            if !is_of(&found, order.relocation) {
                return Err(self.container_taken(name));
            }
            let epoch = found.get(EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
            if epoch > order.epoch.0 {
                return Err(Error::Fenced { provider: self.id.to_string(), newer: epoch });
            }
            self.note_segments_of(order).await?;
            return self.set(name, &[(EPOCH, order.epoch.to_string())]).await.map(drop);
        }
        // First the note that it is made: whoever removes the container finds the one of its segments by it.
        self.note_segments_of(order).await?;
        let mut call =
            Call::put(Service::ObjectStore, path::container(name)?, format!("make container `{name}`"))
                .header(TAG, order.relocation.to_string())
                .header(EPOCH, order.epoch.to_string());
        for (key, value) in &order.metadata {
            call = call.header(format!("{METADATA}{key}"), value);
        }
        // Sent a second time it could not tell whether it made the container.
        if self.api.headers(&call.once()).await?.status == 201 {
            return Ok(());
        }
        // Somebody was quicker by a moment, and our tag is on a container that is not ours.
        let what = format!("take the tag off container `{name}`");
        let mut call = Call::post(Service::ObjectStore, path::container(name)?, what).safe();
        for key in [TAG, EPOCH] {
            call = call.header(key, "");
        }
        self.api.headers(&call).await?;
        Err(self.container_taken(name))
    }

    async fn note_segments_of(&self, order: &ContainerOrder) -> Result<(), Error> {
        let Some(main) = &order.segments_of else { return Ok(()) };
        let found = self.head_of_container(main).await?;
        let found = found.filter(|found| is_of(found, order.relocation));
        let found = found.ok_or_else(|| self.api.lost(format!("container `{main}`")))?;
        let known = segment_containers(&found);
        if known.contains(&order.name) {
            return Ok(());
        }
        if known.len() >= SEGMENTS_MAX {
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!(
                    "copy container `{main}`: its objects have segments in more than {SEGMENTS_MAX} others"
                ),
                remedy: "upload its large objects with one container for segments".to_owned(),
            });
        }
        let key = format!("{SEGMENTS}{}", known.len());
        self.set(main, &[(&key, path::encoded(&order.name))]).await.map(drop)
    }

    async fn set(&self, name: &str, metadata: &[(&str, String)]) -> Result<Answered, Error> {
        let what = format!("mark container `{name}`");
        let mut call = Call::post(Service::ObjectStore, path::container(name)?, what).safe();
        for (key, value) in metadata {
            call = call.header(*key, value);
        }
        self.api.headers(&call).await
    }

    pub(super) async fn remove_tagged_container(
        &self,
        relocation: RelocationId,
        name: &str,
    ) -> Result<(), Error> {
        let ours = |found: &Answered| is_of(found, relocation);
        let Some(found) = self.head_of_container(name).await?.filter(ours) else { return Ok(()) };
        for segments in segment_containers(&found) {
            if self.head_of_container(&segments).await?.is_some_and(|found| ours(&found)) {
                self.empty_and_delete(&segments).await?;
            }
        }
        // Last, as it knows the others.
        self.empty_and_delete(name).await
    }

    async fn empty_and_delete(&self, name: &str) -> Result<(), Error> {
        let mut round = 0;
        loop {
            let left = match absent(self.list(name, &Page::default()).await)? {
                None => return Ok(()),
                Some(left) => left,
            };
            if !left.is_empty() {
                futures::stream::iter(left.iter().map(Ok))
                    .try_for_each_concurrent(DELETED_AT_ONCE, |object| self.delete_object(name, &object.name))
                    .await?;
            }
            let what = format!("delete container `{name}`");
            match self.api.remove(Call::delete(Service::ObjectStore, path::container(name)?, what)).await {
                // Something is still in it.
                Err(Error::Refused { status: 409, .. }) if round < ROUNDS_MAX => (),
                done => return done,
            }
            // One that has more than a page goes on at once.
            if left.is_empty() {
                round += 1;
                tokio::time::sleep(ROUND).await;
            }
        }
    }

    fn container_taken(&self, name: &str) -> Error {
        Error::NameTaken { provider: self.id.to_string(), name: name.to_owned() }
    }
}

fn is_of(container: &Answered, relocation: RelocationId) -> bool {
    container.get(TAG).is_some_and(|found| *found == relocation.to_string())
}

fn segment_containers(container: &Answered) -> Vec<String> {
    let all = container.headers.iter().filter(|(key, _)| key.starts_with(SEGMENTS));
    all.filter_map(|(_, name)| path::decoded(name)).collect()
}

fn metadata(container: &Answered) -> BTreeMap<String, String> {
    let all =
        container.headers.iter().filter_map(|(name, value)| Some((name.strip_prefix(METADATA)?, value)));
    let kept = all.filter(|(name, _)| !NOT_COPIED.iter().any(|prefix| name.starts_with(prefix)));
    kept.map(|(name, value)| (name.to_owned(), value.clone())).collect()
}

fn concerns(name: &str, container: &Answered) -> Vec<Concern> {
    let mut found = Vec::new();
    let mut add = |severity, message: &str, remedy: &str| {
        let (message, remedy) = (message.to_owned(), remedy.to_owned());
        found.push(Concern { severity, subject: name.to_owned(), message, remedy });
    };
    let has = |keys: &[&str]| keys.iter().any(|key| container.get(key).is_some_and(|told| !told.is_empty()));
    if has(&["x-container-read", "x-container-write"]) {
        add(Severity::Warning, "who else may use it is not copied", "set its ACLs at the target");
    }
    if container.headers.keys().any(|key| key.starts_with("x-container-meta-temp-url-key")) {
        let remedy =
            "set a key at the target; temporary URLs are made anew anyway, as the address is another";
        add(Severity::Warning, "its key for temporary URLs is a secret and is not copied", remedy);
    }
    if has(&["x-versions-location", "x-history-location", "x-versions-enabled"]) {
        let remedy = "copy the container of older versions too, and turn versioning on at the target";
        add(Severity::Warning, "only the newest version of each object is copied", remedy);
    }
    if has(&["x-container-sync-to"]) {
        add(
            Severity::Warning,
            "that it is kept in step with another one is not copied",
            "set it up at the target",
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(headers: &[(&str, &str)]) -> Answered {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Answered { status: 204, headers: headers.collect() }
    }

    #[test]
    fn neither_secrets_nor_our_own_notes_are_copied() {
        let found = container(&[
            ("x-container-meta-color", "blue"),
            ("x-container-meta-temp-url-key", "secret"),
            ("x-container-meta-temp-url-key-2", "secret"),
            (TAG, "7"),
            ("x-container-read", ".r:*"),
        ]);
        assert_eq!(metadata(&found), BTreeMap::from([("color".to_owned(), "blue".to_owned())]));
        let told = concerns("c", &found);
        assert_eq!(told.len(), 2);
        assert!(!format!("{told:?}").contains(": \"secret"), "{told:?}");
    }

    #[test]
    fn containers_of_segments_are_found_by_the_note() {
        let found = container(&[(&format!("{SEGMENTS}0"), "a%20b"), (&format!("{SEGMENTS}1"), "c")]);
        assert_eq!(segment_containers(&found), ["a b", "c"]);
    }
}
