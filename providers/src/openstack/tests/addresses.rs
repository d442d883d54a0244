//! A free address that somebody else wants in the same moment.

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::request::FloatingIp;

use super::*;
use crate::openstack::addresses::is_address;

/// Floating IPs of a fake Neutron that counts their changes.
#[derive(Clone)]
struct Addresses(Arc<Mutex<BTreeMap<String, Value>>>);

impl Addresses {
    fn free(ids: &[&str]) -> Self {
        let floating = |id: &&str| {
            let address = format!("192.0.2.{id}");
            let it = json!({"id": id, "floating_ip_address": address, "floating_network_id": "out",
                "port_id": null, "description": "", "revision_number": 1});
            ((*id).to_owned(), it)
        };
        Self(Arc::new(Mutex::new(ids.iter().map(floating).collect())))
    }

    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn of(&self, id: &str, key: &str) -> Value {
        self.with(|all| all[id][key].clone())
    }

    fn change(&self, id: &str, changes: &Value) {
        self.with(|all| {
            let it = all.get_mut(id).unwrap();
            for (key, value) in changes.as_object().unwrap() {
                it[key.as_str()] = value.clone();
            }
            it["revision_number"] = json!(it["revision_number"].as_u64().unwrap() + 1);
        });
    }

    fn answer(&self, seen: &Seen) -> Told {
        let id = seen.path.rsplit('/').next().unwrap_or_default().to_owned();
        match (seen.method.as_str(), seen.path.as_str()) {
            ("GET", "/network/v2.0/networks") => {
                ok(json!({"networks": [{"id": "out", "name": "out", "router:external": true}]}))
            }
            ("GET", "/network/v2.0/floatingips") => {
                ok(json!({"floatingips": self.with(|all| all.values().cloned().collect::<Vec<_>>())}))
            }
            ("GET", _) => ok(json!({"floatingip": self.with(|all| all[&id].clone())})),
            ("PUT", _) => {
                let seen_at = format!("revision_number={}", self.of(&id, "revision_number"));
                if seen.headers.get("if-match").is_some_and(|wanted| *wanted != seen_at) {
                    return refuse(412, "it was changed");
                }
                let body: Value = serde_json::from_slice(&seen.body).unwrap();
                self.change(&id, &body["floatingip"]);
                ok(json!({"floatingip": self.with(|all| all[&id].clone())}))
            }
            other => refuse(400, &format!("{other:?}")),
        }
    }
}

/// `grab` is what another does just before a change of ours.
async fn cloud_with(
    addresses: &Addresses,
    grab: impl Fn(&Addresses, &Seen) + Send + 'static,
) -> (FakeCloud, OpenstackProvider) {
    let fake = addresses.clone();
    let cloud = FakeCloud::start(move |seen| {
        if seen.method == "PUT" {
            grab(&fake, seen);
        }
        fake.answer(seen)
    })
    .await;
    let with = provider(&cloud);
    let config = OpenstackConfig { floating_network: Some("out".into()), ..(*with.config).clone() };
    let provider = OpenstackProvider { config: Arc::new(config), ..with };
    (cloud, provider)
}

fn names() -> (RelocationId, InstanceName) {
    (RelocationId::new(), "shop".parse().unwrap())
}

#[tokio::test]
async fn an_address_that_somebody_was_quicker_with_is_left_to_him() {
    let addresses = Addresses::free(&["1", "2"]);
    let grab = |all: &Addresses, seen: &Seen| {
        if seen.path.ends_with("/1") && all.of("1", "port_id").is_null() {
            all.change("1", &json!({"port_id": "theirs"}));
        }
    };
    let (_cloud, provider) = cloud_with(&addresses, grab).await;
    let (id, name) = names();
    let (held, new) = provider.hold_address(id, &name, FloatingIp::Free).await.unwrap().unwrap();
    assert_eq!((held.id.as_str(), new), ("2", false));
    assert_eq!(
        (addresses.of("1", "port_id"), addresses.of("1", "description")),
        (json!("theirs"), json!(""))
    );
    let again = provider.hold_address(id, &name, FloatingIp::Free).await.unwrap().unwrap();
    assert_eq!(again.0.id, "2", "it is held once");
    provider.give_up_addresses(id).await.unwrap();
    assert_eq!(addresses.of("2", "description"), "");
}

/// Clouds that count no changes let both through; the port tells.
#[tokio::test]
async fn one_that_is_in_use_by_now_is_not_held_either_where_changes_are_not_counted() {
    let addresses = Addresses::free(&["1"]);
    let grab = |all: &Addresses, _: &Seen| {
        all.change("1", &json!({"port_id": "theirs"}));
    };
    let (_cloud, provider) = cloud_with(&addresses, grab).await;
    let all = provider.api.floating_ips().await.unwrap();
    let uncounted = super::super::networks::FloatingIp { revision_number: None, ..all[0].clone() };
    let (id, name) = names();
    let description = tag::description(id, &format!("lent-address {name}"));
    assert!(is_address(&description, id, &name));
    assert!(provider.lend(&[uncounted], "out", &description).await.unwrap().is_none());
    assert_eq!(
        (addresses.of("1", "port_id"), addresses.of("1", "description")),
        (json!("theirs"), json!(""))
    );
}
