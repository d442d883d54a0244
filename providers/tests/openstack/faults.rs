//! What an API does on a bad day, done by a proxy in front of a real cloud: each time the driver heals it by itself, or says
//! that it may be tried again and the next try heals it, or says that it cannot be; and undo leaves the project as it was.

use std::time::Duration;

use fluidcloud_proto::failure::Code;
use fluidcloud_providers::openstack::api::{Call, Opened, Service};
use fluidcloud_providers::{Error, Made};
use serde_json::json;

use crate::harmed::Harmed;
use crate::proxy::Fault;

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_fails_in_passing_is_asked_again_and_nothing_is_made_twice() {
    let Some(harmed) = Harmed::start().await else { return };
    let (proxy, provider, _) = harmed.behind_proxy().await;
    proxy.harm("GET", "volumev3", "/volumes/detail", 2, Fault::Answer(503, "busy"));
    proxy.harm("GET", "volumev3", "/limits", 1, Fault::Answer(500, "Unexpected API Error"));
    proxy.harm("GET", "compute", "/limits", 1, Fault::Cut(10));
    proxy.harm("GET", "volumev3", "/volumes/", 1, Fault::Delay(Duration::from_secs(2)));
    // Made, and its maker does not learn of it.
    proxy.harm("POST", "volumev3", "/volumes", 1, Fault::Lose(500));
    let order = harmed.disk("vda");
    let lost = provider.create_disk(&order).await.unwrap_err();
    assert!(lost.retryable(), "{lost}");
    let place = provider.create_disk(&order).await.unwrap();
    let made = provider.made_for(harmed.relocation).await.unwrap();
    assert_eq!(made, [Made::Disk { path: place.path }], "one, however often it was asked for");
    proxy.harm("DELETE", "volumev3", "/volumes/", 2, Fault::Answer(502, "bad gateway"));
    provider.delete_disk(harmed.relocation, &order.disk).await.unwrap();
    proxy.all_done();
    harmed.undone(&*provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_in_the_middle_of_it_is_renewed() {
    let Some(harmed) = Harmed::start().await else { return };
    let (proxy, provider, api) = harmed.behind_proxy().await;
    proxy.harm("GET", "volumev3", "/volumes/detail", 1, Fault::Answer(401, "expired"));
    proxy.harm("POST", "volumev3", "/volumes", 1, Fault::Answer(401, "expired"));
    provider.create_disk(&harmed.disk("vda")).await.unwrap();

    let name = format!("fluidcloud-{}-upload", &harmed.relocation.to_string()[..8]);
    let body = json!({"name": name, "disk_format": "raw", "container_format": "bare"});
    let made = api.call(Call::post(Service::Image, "/images", "make an image").json(body)).await.unwrap();
    let path = format!("/images/{}", made["id"].as_str().unwrap());
    let bytes: Vec<u8> = (0..3_u32 << 20).map(|n| (n % 251) as u8).collect();
    proxy.harm("PUT", "image", "/file", 1, Fault::AnswerAfter(401, 1 << 20));
    let source = bytes.clone();
    let open = move || Ok(Box::pin(std::io::Cursor::new(source.clone())) as Opened);
    api.upload(&Call::put(Service::Image, format!("{path}/file"), "upload an image"), &open).await.unwrap();
    // And the way back breaks off in the middle, and its token ends too.
    proxy.harm("GET", "image", "/file", 1, Fault::Cut(1 << 20));
    proxy.harm("GET", "image", "/file", 1, Fault::Answer(401, "expired"));
    let mut got = Vec::new();
    let file = Call::get(Service::Image, format!("{path}/file"), "download an image");
    api.download(&file, &mut got).await.unwrap();
    assert!(got == bytes, "{} of {} bytes came back", got.len(), bytes.len());
    api.call(Call::delete(Service::Image, path, "delete an image")).await.unwrap();
    proxy.all_done();
    harmed.undone(&*provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_told_at_once_and_undone() {
    let Some(harmed) = Harmed::start().await else { return };
    let (proxy, provider, api) = harmed.behind_proxy().await;
    let volumes =
        "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota.";
    proxy.harm("POST", "volumev3", "/volumes", 1, Fault::Answer(413, volumes));
    let full = provider.create_disk(&harmed.disk("vda")).await.unwrap_err();
    assert!(full.code() == Code::NoRoom && !full.retryable() && full.remedy().contains("quota"), "{full}");

    let order = harmed.define(&*provider).await;
    proxy.harm("POST", "compute", "/servers", 1, Fault::Answer(403, "Quota exceeded for instances"));
    let full = provider.start(&order.name).await.unwrap_err();
    assert!(full.code() == Code::NoRoom && !full.retryable(), "{full}");
    proxy.all_done();

    // Really: more than any project has.
    let mut huge = harmed.disk("vdb");
    (huge.size_bytes, huge.expected_bytes) = (1 << 60, 1 << 60);
    let full = provider.create_disk(&huge).await.unwrap_err();
    assert!(matches!(full, Error::NoRoom { .. }), "{full}");
    let body = json!({"volume": {"size": 1 << 20}});
    let call = Call::post(Service::Volume, "/volumes", "make a volume").json(body);
    let full = api.call(call).await.unwrap_err();
    assert!(matches!(full, Error::Refused { full: true, retryable: false, .. }), "{full:?}");
    harmed.undone(&*provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_is_refused_is_done_later() {
    let Some(harmed) = Harmed::start().await else { return };
    let (proxy, provider, _) = harmed.behind_proxy().await;
    let order = harmed.define(&*provider).await;
    provider.start(&order.name).await.unwrap();
    proxy.harm(
        "DELETE",
        "compute",
        "/servers/",
        1,
        Fault::Answer(409, "Cannot 'delete' instance while it is in task_state"),
    );
    proxy.harm("DELETE", "network", "/ports/", 1, Fault::Answer(409, "the port is in use"));
    for refused in ["its server", "its port"] {
        let told = provider.delete_instance(harmed.relocation, &order.name).await.unwrap_err();
        assert!(told.retryable(), "{refused}: {told}");
    }
    provider.delete_instance(harmed.relocation, &order.name).await.unwrap();
    // Cinder says so for a while after a volume was let go: waited for.
    proxy.harm("DELETE", "volumev3", "/volumes/", 1, Fault::Answer(409, "volume is in use"));
    provider.delete_disk(harmed.relocation, &harmed.disk_id("vda")).await.unwrap();
    proxy.all_done();
    harmed.undone(&*provider).await;
}
