//! The HTTP side against a fake cloud that fails as it is told.

use serde_json::{Value, json};

use super::fake_cloud::{CUT, FakeCloud, ok, refuse};
use super::stream::Opened;
use super::{Call, Service};
use crate::error::Error;

fn get(path: &str) -> Call {
    Call::get(Service::Compute, path, "list servers")
}

fn post() -> Call {
    Call::post(Service::Compute, "/servers", "make server `a`").json(json!({"server": {}}))
}

#[tokio::test]
async fn many_calls_at_once_log_in_once() {
    let cloud = FakeCloud::start(|_| ok(json!({"servers": []}))).await;
    let api = cloud.api();
    let calls = (0..8).map(|_| api.list::<Value>(get("/servers/detail"), "servers"));
    for done in futures::future::join_all(calls).await {
        assert_eq!(done.unwrap(), [] as [Value; 0]);
    }
    assert_eq!(cloud.logins(), 1);
    assert_eq!(cloud.seen()[0].path, "/compute/v2.1/servers/detail");
}

#[tokio::test]
async fn a_token_that_is_refused_is_renewed_once() {
    let cloud = FakeCloud::start(|seen| match seen.token.as_str() {
        "t1" => refuse(401, "expired"),
        _ => ok(json!({"server": 1})),
    })
    .await;
    assert_eq!(cloud.api().call(post()).await.unwrap(), json!({"server": 1}));
    assert_eq!((cloud.logins(), cloud.seen().len()), (2, 2));

    let closed = FakeCloud::start(|_| refuse(401, "no")).await;
    let error = closed.api().call(get("/servers")).await.unwrap_err();
    assert!(matches!(error, Error::Refused { status: 401, retryable: false, .. }), "{error:?}");
    assert_eq!(closed.logins(), 2);
}

#[tokio::test]
async fn what_fails_in_passing_is_asked_again_but_nothing_is_made_twice() {
    let mut failures = 2;
    let cloud = FakeCloud::start(move |_| {
        failures -= 1;
        if failures >= 0 { refuse(503, "busy") } else { ok(json!({"servers": [1]})) }
    })
    .await;
    assert_eq!(cloud.api().list::<u32>(get("/servers"), "servers").await.unwrap(), [1]);
    assert_eq!(cloud.seen().len(), 3);

    let down = FakeCloud::start(|_| refuse(500, "Unexpected API Error")).await;
    let error = down.api().call(post()).await.unwrap_err();
    assert_eq!(down.seen().len(), 1);
    assert!(error.retryable());
    let failure = error.to_failure();
    assert_eq!(
        failure.message,
        "provider `cloud-x` refused to make server `a` (500: Unexpected API Error [req-1])"
    );
    assert_eq!(failure.remedy, "see the log of that service at the cloud");
}

#[tokio::test]
async fn a_quota_is_no_room_and_is_not_tried_again() {
    let cloud = FakeCloud::start(|_| refuse(403, "Quota exceeded for instances")).await;
    let error = cloud.api().call(post()).await.unwrap_err();
    assert_eq!(error.code(), fluidcloud_proto::failure::Code::NoRoom);
    assert!(!error.retryable() && error.remedy().contains("quota"), "{error}");
}

#[tokio::test]
async fn a_service_that_asks_for_patience_gets_it() {
    let mut first = true;
    let cloud = FakeCloud::start(move |_| {
        if std::mem::take(&mut first) {
            (429, vec![("retry-after", "1".into())], b"slow down".to_vec())
        } else {
            ok(json!({"server": 1}))
        }
    })
    .await;
    let began = std::time::Instant::now();
    cloud.api().call(post()).await.unwrap();
    assert!(began.elapsed() >= std::time::Duration::from_secs(1));
}

#[tokio::test]
async fn pages_are_followed_with_the_filters() {
    let cloud = FakeCloud::start(|seen| {
        let page = |from: u32, next: Option<&str>| {
            let links: Vec<_> = next.into_iter().map(|href| json!({"rel": "next", "href": href})).collect();
            ok(json!({"servers": [from, from + 1], "servers_links": links}))
        };
        if seen.query.contains("marker=b") {
            page(3, None)
        } else {
            page(1, Some("http://inside:1/servers?marker=b"))
        }
    })
    .await;
    let call = get("/servers").query("name", "a");
    assert_eq!(cloud.api().list::<u32>(call, "servers").await.unwrap(), [1, 2, 3, 4]);
    assert!(cloud.seen()[1].query.contains("name=a"), "{:?}", cloud.seen()[1].query);
}

#[tokio::test]
async fn a_service_that_gives_the_same_page_for_ever_is_left() {
    let next = json!([{"rel": "next", "href": "http://x/servers?marker=a"}]);
    let cloud = FakeCloud::start(move |_| ok(json!({"servers": [1], "servers_links": next}))).await;
    assert_eq!(cloud.api().list::<u32>(get("/servers"), "servers").await.unwrap().len(), 2);
}

#[tokio::test]
async fn neither_token_nor_password_is_in_what_is_shown() {
    let cloud = FakeCloud::start(|_| refuse(500, "x")).await;
    let api = cloud.api();
    let error = api.call(post()).await.unwrap_err();
    let shown = format!("{api:?} {error:?} {error}");
    assert!(!shown.contains("pa55") && !shown.contains("\"t1\""), "{shown}");
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let api = FakeCloud::api_at("http://127.0.0.1:1");
    let error = tokio::time::timeout(std::time::Duration::from_secs(60), api.call(get("/servers")));
    assert!(matches!(error.await.unwrap(), Err(Error::Unreachable { .. })));
}

fn source(bytes: &'static [u8]) -> Opened {
    Box::pin(bytes)
}

#[tokio::test]
async fn an_upload_whose_token_ends_in_the_middle_is_sent_again_whole() {
    let cloud = FakeCloud::start(|seen| match seen.token.as_str() {
        "t1" => refuse(401, "expired"),
        _ => (204, Vec::new(), Vec::new()),
    })
    .await;
    let call = Call::put(Service::Image, "/images/1/file", "upload image 1");
    cloud.api().upload(&call, &|| Ok(source(b"all of it"))).await.unwrap();
    let seen = cloud.seen();
    assert_eq!(seen.iter().map(|seen| &seen.body[..]).collect::<Vec<_>>(), [b"all of it"; 2]);
    assert_eq!(seen[1].path, "/image/v2/images/1/file");
}

#[tokio::test]
async fn a_download_that_breaks_goes_on_where_it_was() {
    let cloud = FakeCloud::start(|seen| match seen.range.as_deref() {
        None => (200, vec![(CUT, String::new())], b"0123".to_vec()),
        Some("bytes=4-") => (206, Vec::new(), b"456789".to_vec()),
        Some(other) => refuse(416, other),
    })
    .await;
    let mut got = Vec::new();
    let call = Call::get(Service::Image, "/images/1/file", "download image 1");
    let bytes = cloud.api().download(&call, &mut got).await.unwrap();
    assert_eq!((bytes, got.as_slice()), (10, &b"0123456789"[..]));
    assert_eq!(cloud.seen().len(), 2);
}

#[tokio::test]
async fn a_part_that_breaks_goes_on_where_it_was_and_no_byte_beside_it_is_asked_for() {
    let cloud = FakeCloud::start(|seen| match (seen.token.as_str(), seen.range.as_deref()) {
        ("t1", _) => refuse(401, "expired"),
        (_, Some("bytes=3-8")) => (206, vec![(CUT, String::new())], b"34".to_vec()),
        (_, Some("bytes=5-8")) => (206, Vec::new(), b"5678".to_vec()),
        (_, other) => refuse(416, &format!("{other:?}")),
    })
    .await;
    let call = Call::get(Service::Image, "/images/1/file", "download image 1");
    let part = cloud.api().part(call, 3..9).await.unwrap();
    assert_eq!(&part[..], b"345678");
    assert_eq!(cloud.logins(), 2);
}

#[tokio::test]
async fn a_service_that_gives_no_parts_is_not_read_whole() {
    let cloud = FakeCloud::start(|_| (200, Vec::new(), vec![7; 1 << 20])).await;
    let call = Call::get(Service::Image, "/images/1/file", "download image 1");
    let error = cloud.api().part(call, 0..10).await.unwrap_err();
    assert!(error.to_string().contains("in parts") && !error.retryable(), "{error}");
}

#[tokio::test]
async fn a_part_that_is_shorter_than_asked_for_is_none() {
    let cloud = FakeCloud::start(|_| (206, Vec::new(), b"12".to_vec())).await;
    let call = Call::get(Service::Image, "/images/1/file", "download image 1");
    let error = cloud.api().part(call, 0..4).await.unwrap_err();
    assert!(error.retryable(), "{error}");
}
