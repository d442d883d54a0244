//! First starts that a fake Nova lets fail.

use std::sync::{Arc, Mutex, PoisonError};

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Power;
use serde_json::{Value, json};

use super::super::api::fake_cloud::{FakeCloud, Seen, Told, ok, refuse};
use super::super::tag;
use super::provider;
use crate::error::Error;
use crate::provider::{Made, Provider};

/// One volume with a definition on it, and whatever servers were made.
#[derive(Clone)]
struct Nova {
    volume: Value,
    servers: Arc<Mutex<Vec<Value>>>,
}

impl Nova {
    fn new(relocation: RelocationId, name: &InstanceName) -> Self {
        let disk = [
            (tag::DISK, "app/vda".to_owned()),
            (tag::INSTANCE, name.to_string()),
            (tag::PLACE, "0".to_owned()),
            (tag::FLAVOR, "f".to_owned()),
        ];
        let metadata = tag::metadata(relocation, tag::Role::Disk, &disk);
        let volume = json!({"id": "v", "status": "available", "size": 1, "metadata": metadata});
        Self { volume, servers: Arc::default() }
    }

    fn servers(&self) -> Vec<Value> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn answer(&self, seen: &Seen, becomes: &str) -> Told {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let id = seen.path.rsplit('/').next().unwrap_or_default();
        match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", "/volume/v3/volumes/detail") => ok(json!({"volumes": [self.volume]})),
            ("GET", "/volume/v3/snapshots/detail") => ok(json!({"snapshots": []})),
            ("GET", "/image/v2/images") => ok(json!({"images": []})),
            ("GET", "/network/v2.0/ports") => ok(json!({"ports": []})),
            ("GET", "/network/v2.0/floatingips") => ok(json!({"floatingips": []})),
            ("GET", "/network/v2.0/security-groups") => ok(json!({"security_groups": []})),
            ("GET", "/network/v2.0/networks") => ok(json!({"networks": []})),
            ("GET", "/network/v2.0/subnets") => ok(json!({"subnets": []})),
            ("GET", "/network/v2.0/routers") => ok(json!({"routers": []})),
            ("GET", "/compute/v2.1/os-keypairs") => ok(json!({"keypairs": []})),
            ("GET", "/compute/v2.1/os-server-groups") => ok(json!({"server_groups": []})),
            ("GET", "/compute/v2.1/servers/detail") => ok(json!({"servers": *servers})),
            ("POST", "/compute/v2.1/servers") => {
                let asked: Value = serde_json::from_slice(&seen.body).unwrap();
                let mut server = asked["server"].clone();
                (server["id"], server["status"]) = (json!("s"), json!(becomes));
                server["fault"] = json!({"message": "No valid host was found"});
                servers.push(server.clone());
                ok(json!({"server": server}))
            }
            ("GET", _) => match servers.iter().find(|server| server["id"] == id) {
                Some(server) => ok(json!({"server": server})),
                None => refuse(404, "no such server"),
            },
            ("DELETE", _) => {
                servers.retain(|server| server["id"] != id);
                (204, Vec::new(), Vec::new())
            }
            other => refuse(400, &format!("{other:?}")),
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_into_error_is_removed_and_its_reason_told() {
    let (relocation, name) = (RelocationId::new(), "shop".parse().unwrap());
    let nova = Nova::new(relocation, &name);
    let fake = nova.clone();
    let cloud = FakeCloud::start(move |seen| fake.answer(seen, "ERROR")).await;
    let provider = provider(&cloud);
    assert_eq!(provider.power(&name).await.unwrap(), Power::Stopped, "it is defined");
    let failure = provider.start(&name).await.unwrap_err().to_failure();
    assert!(failure.message.contains("No valid host was found") && failure.retryable(), "{failure}");
    assert_eq!(nova.servers(), [] as [Value; 0]);
    assert_eq!(provider.power(&name).await.unwrap(), Power::Stopped, "it is still defined");
}

#[tokio::test]
async fn what_a_killed_caller_left_in_error_does_not_stay_in_the_way() {
    let (relocation, name) = (RelocationId::new(), "shop".parse().unwrap());
    let nova = Nova::new(relocation, &name);
    let metadata = tag::metadata(relocation, tag::Role::Server, &[]);
    let left = json!({"id": "old", "name": "shop", "status": "ERROR", "metadata": metadata});
    nova.servers.lock().unwrap_or_else(PoisonError::into_inner).push(left);
    let fake = nova.clone();
    let cloud = FakeCloud::start(move |seen| fake.answer(seen, "ACTIVE")).await;
    let provider = provider(&cloud);
    provider.start(&name).await.unwrap();
    let ids: Vec<_> = nova.servers().iter().map(|server| server["id"].clone()).collect();
    assert_eq!(ids, ["s"]);
    let made = provider.made_for(relocation).await.unwrap();
    assert_eq!(made.iter().filter(|made| matches!(made, Made::Instance { .. })).count(), 1);
}

#[tokio::test]
async fn a_source_in_error_is_not_replaced() {
    let name: InstanceName = "shop".parse().unwrap();
    let nova = Nova::new(RelocationId::new(), &"other".parse().unwrap());
    let source =
        json!({"id": "old", "name": "shop", "status": "ERROR", "fault": {"message": "host is down"}});
    nova.servers.lock().unwrap_or_else(PoisonError::into_inner).push(source.clone());
    let fake = nova.clone();
    let cloud = FakeCloud::start(move |seen| fake.answer(seen, "ACTIVE")).await;
    let error = provider(&cloud).start(&name).await.unwrap_err();
    assert!(matches!(error, Error::Driver { .. }), "{error:?}");
    assert_eq!(nova.servers(), [source]);
}

#[tokio::test]
async fn of_two_servers_with_one_name_the_id_says_which() {
    let name: InstanceName = "shop".parse().unwrap();
    let nova = Nova::new(RelocationId::new(), &"other".parse().unwrap());
    for id in ["one", "two"] {
        let status = if id == "one" { "ACTIVE" } else { "SHUTOFF" };
        let server = json!({"id": id, "name": "shop", "status": status});
        nova.servers.lock().unwrap_or_else(PoisonError::into_inner).push(server);
    }
    let cloud = FakeCloud::start(move |seen| nova.answer(seen, "ACTIVE")).await;
    let provider = provider(&cloud);
    let error = provider.power(&name).await.unwrap_err();
    assert!(error.to_string().contains("name it by its id"), "{error}");
    assert_eq!(provider.power(&"two".parse().unwrap()).await.unwrap(), Power::Stopped);
    let listed: Vec<String> =
        provider.instances().await.unwrap().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(listed, ["one", "two", "other"]);
}
