//! Nova's account as a fake one gives it: page by page, and of none.

use serde_json::json;

use super::super::api::fake_cloud::{FakeCloud, ok};
use super::provider;
use crate::provider::{Period, Provider};

#[tokio::test]
async fn all_pages_of_the_account_are_read() {
    let cloud = FakeCloud::start(|seen| {
        let row = |id: &str| {
            json!({"instance_id": id, "name": "app", "state": "active", "started_at": "2026-11-21T08:00:00.000000",
                "ended_at": null, "uptime": 7200, "hours": 1.5, "vcpus": 2, "memory_mb": 512, "local_gb": 3})
        };
        match (seen.path.as_str(), seen.query.contains("marker=a")) {
            ("/compute/v2.1/servers/detail", _) => ok(json!({"servers": [
                {"id": "a", "name": "app", "status": "ACTIVE", "created": "2026-11-21T07:59:00Z"}]})),
            ("/compute/v2.1/os-simple-tenant-usage/p", false) => ok(json!({
                "tenant_usage": {"server_usages": [row("a")]},
                "tenant_usage_links": [{"rel": "next", "href": "http://inside/x?marker=a&limit=500"}]})),
            ("/compute/v2.1/os-simple-tenant-usage/p", true) => ok(json!({"tenant_usage": {"server_usages": [row("b")]}})),
            other => panic!("{other:?}"),
        }
    })
    .await;
    let usage = provider(&cloud).usage(&[], Period::default()).await.unwrap();
    assert_eq!(usage.instances.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert!((usage.total.memory_gib_hours - 1.5).abs() < 1e-9, "{:?}", usage.total);
    let asked: Vec<String> =
        cloud.seen().into_iter().filter(|seen| seen.path.contains("usage")).map(|seen| seen.query).collect();
    assert!(asked.iter().all(|query| query.contains("start=2026-11-21T07%3A59%3A00")), "{asked:?}");

    let one = provider(&cloud).usage(&["app".parse().unwrap()], Period::default()).await.unwrap();
    assert_eq!(one.instances.len(), 1, "only the server that is asked for");
}

#[tokio::test]
async fn a_project_without_servers_has_used_nothing() {
    let cloud = FakeCloud::start(|seen| match seen.path.as_str() {
        "/compute/v2.1/servers/detail" => ok(json!({"servers": []})),
        _ => ok(json!({"tenant_usage": {}})),
    })
    .await;
    assert_eq!(provider(&cloud).usage(&[], Period::default()).await.unwrap().instances, []);
    let period = Period { from: Some(time::OffsetDateTime::UNIX_EPOCH), to: None };
    assert_eq!(provider(&cloud).usage(&[], period).await.unwrap().instances, []);
}
