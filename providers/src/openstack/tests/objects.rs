//! Containers that are somebody else's, and objects whose connection breaks.

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::ids::Epoch;
use futures::StreamExt;

use super::*;
use crate::bytes::{ByteStream, Source};
use crate::memory::md5_of;
use crate::object_store::{ContainerOrder, Object, ObjectKind, ObjectStore};
use crate::openstack::api::fake_cloud::CUT;

const BYTES: &[u8] = b"0123456789";

struct Bits;

#[async_trait]
impl Source for Bits {
    async fn open(&self) -> Result<ByteStream, Error> {
        Ok(futures::stream::iter([Ok(Bytes::from_static(BYTES))]).boxed())
    }
}

fn object(name: &str) -> Object {
    Object {
        name: name.into(),
        bytes: BYTES.len() as u64,
        digest: md5_of(BYTES),
        kind: ObjectKind::Plain,
        headers: BTreeMap::from([("x-object-meta-of".into(), "größe".into())]),
    }
}

fn order(relocation: RelocationId) -> ContainerOrder {
    ContainerOrder {
        relocation,
        epoch: Epoch(3),
        name: "photos".into(),
        metadata: BTreeMap::from([("color".into(), "blue".into())]),
        segments_of: None,
    }
}

fn nothing(status: u16) -> Told {
    (status, Vec::new(), Vec::new())
}

#[tokio::test]
async fn a_container_is_made_with_its_tag_in_the_same_request() {
    let cloud = FakeCloud::start(|seen| nothing(if seen.method == "HEAD" { 404 } else { 201 })).await;
    let relocation = RelocationId::new();
    provider(&cloud).make_container(&order(relocation)).await.unwrap();
    let seen = cloud.seen();
    assert_eq!((seen.len(), seen[1].path.as_str()), (2, "/object/photos"));
    assert_eq!(seen[1].headers["x-container-meta-fluidcloud-relocation"], relocation.to_string());
    assert_eq!(seen[1].headers["x-container-meta-color"], "blue");
}

#[tokio::test]
async fn one_that_somebody_made_in_the_same_moment_gets_its_peace_back() {
    let cloud = FakeCloud::start(|seen| nothing(if seen.method == "HEAD" { 404 } else { 202 })).await;
    let error = provider(&cloud).make_container(&order(RelocationId::new())).await.unwrap_err();
    assert!(matches!(error, Error::NameTaken { .. }), "{error:?}");
    let last = cloud.seen().pop().unwrap();
    assert_eq!((last.method.as_str(), last.path.as_str()), ("POST", "/object/photos"));
    assert_eq!(last.headers["x-container-meta-fluidcloud-relocation"], "", "the tag is taken off");
}

#[tokio::test]
async fn a_container_without_our_tag_is_neither_written_nor_removed() {
    let other = RelocationId::new().to_string();
    let cloud = FakeCloud::start(move |_| {
        (204, vec![("x-container-meta-fluidcloud-relocation", other.clone())], Vec::new())
    })
    .await;
    let (provider, relocation) = (provider(&cloud), RelocationId::new());
    let taken = provider.make_container(&order(relocation)).await.unwrap_err();
    assert!(matches!(taken, Error::NameTaken { .. }), "{taken:?}");
    assert!(provider.is_name_free(relocation, "photos").await.is_err());
    provider.remove_container(relocation, "photos").await.unwrap();
    assert!(cloud.seen().iter().all(|seen| seen.method == "HEAD"), "it was only looked at");
}

#[tokio::test]
async fn an_older_epoch_does_not_write_any_more() {
    let relocation = RelocationId::new();
    let cloud = FakeCloud::start(move |_| {
        let tags = vec![
            ("x-container-meta-fluidcloud-relocation", relocation.to_string()),
            ("x-container-meta-fluidcloud-epoch", "4".to_owned()),
        ];
        (204, tags, Vec::new())
    })
    .await;
    let error = provider(&cloud).make_container(&order(relocation)).await.unwrap_err();
    assert!(matches!(error, Error::Fenced { newer: 4, .. }), "{error:?}");
}

#[tokio::test]
async fn an_object_goes_with_its_digest_and_metadata_and_again_after_a_401_or_a_fault() {
    let mut faults = vec![nothing(503), nothing(401)];
    let cloud = FakeCloud::start(move |seen| match faults.pop() {
        Some(fault) => fault,
        None => (201, vec![("etag", md5_of(&seen.body))], Vec::new()),
    })
    .await;
    provider(&cloud).write_object("photos", &object("a b/c?"), &Bits).await.unwrap();
    let seen = cloud.seen();
    assert_eq!((seen.len(), cloud.logins()), (3, 2));
    assert!(seen.iter().all(|seen| seen.body == BYTES && seen.path == "/object/photos/a%20b/c%3F"));
    assert_eq!(seen[2].headers["etag"], md5_of(BYTES));
    assert_eq!(seen[2].headers["x-object-meta-of"], "größe");
}

#[tokio::test]
async fn what_is_stored_with_another_digest_is_an_error() {
    let cloud = FakeCloud::start(|_| (201, vec![("etag", "other".into())], Vec::new())).await;
    let error = provider(&cloud).write_object("photos", &object("a"), &Bits).await.unwrap_err();
    assert!(error.to_failure().message.contains("`other`"), "{error}");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_and_outlives_its_token() {
    let cloud = FakeCloud::start(|seen| match (seen.range.as_deref(), seen.token.as_str()) {
        (None, _) => (200, vec![(CUT, String::new())], b"0123".to_vec()),
        (Some("bytes=4-"), "t1") => nothing(401),
        (Some("bytes=4-"), _) => (206, Vec::new(), b"456789".to_vec()),
        (Some(other), _) => refuse(416, other),
    })
    .await;
    let mut stream = provider(&cloud).read_object("photos", &object("a")).await.unwrap();
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(all, BYTES);
    assert_eq!(cloud.seen().len(), 3);
}

#[tokio::test]
async fn a_manifest_is_looked_at_itself_and_a_large_object_as_what_it_stands_for() {
    let cloud = FakeCloud::start(|seen| {
        let is_static = ("x-static-large-object", "True".to_owned());
        match seen.query.as_str() {
            "" => (
                200,
                vec![is_static, ("etag", "\"whole\"".into()), ("content-type", "video/mp4".into())],
                vec![],
            ),
            _ => (
                200,
                vec![is_static, ("etag", "manifest".into()), ("content-type", "application/json".into())],
                vec![],
            ),
        }
    })
    .await;
    let found = provider(&cloud).object("photos", "big").await.unwrap().unwrap();
    assert_eq!((found.kind, found.digest.as_str()), (ObjectKind::Static, "whole"));
    assert_eq!(found.headers["content-type"], "video/mp4");
}
