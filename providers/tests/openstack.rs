//! The openstack driver against a real cloud: the one that `OS_CLOUD` names in clouds.yaml.

#[path = "openstack/broken.rs"]
mod broken;
#[path = "openstack/eye.rs"]
mod eye;
#[path = "openstack/faults.rs"]
mod faults;
#[path = "openstack/harmed.rs"]
mod harmed;
#[path = "openstack/held.rs"]
mod held;
// One proxy for these and for the stories of whole relocations, which ask it for more.
#[allow(dead_code)]
#[path = "../../tests/src/openstack/proxy.rs"]
mod proxy;
#[path = "openstack/real.rs"]
mod real;
#[path = "openstack/stand.rs"]
mod stand;
#[path = "openstack/usage.rs"]
mod usage;

use std::collections::BTreeSet;

use fluidcloud_proto::furniture::FurnitureKind;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::{DiskRole, Power, Severity};
use fluidcloud_providers::conformance::{self, Fixture};
use fluidcloud_providers::openstack::api::{Call, Service};
use fluidcloud_providers::{Error, Furnishing, Made, Moment, Provider};
use real::Real;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms() {
    let Some(real) = Real::start().await else { return };
    let before = real.listing().await;
    conformance::all(&real).await;
    real.clear().await;
    assert_eq!(real.listing().await, before, "the project is as it was found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_described_and_its_disks_are_copied_without_touching_it() {
    let Some(real) = Real::start().await else { return };
    let before = real.listing().await;
    let (provider, relocation) = (real.provider(), RelocationId::new());
    let name: InstanceName = format!("source-{}", &relocation.to_string()[..8]).parse().unwrap();
    real.make_from_image(&name).await;

    let found = provider.inspect(&name).await.unwrap();
    assert_eq!((found.power, found.disks.len(), found.nics.len()), (Power::Running, 1, 1));
    assert_eq!(found.disks[0].role, DiskRole::Root);
    assert!(
        found.concerns.iter().all(|concern| concern.severity < Severity::Critical),
        "{:?}",
        found.concerns
    );
    assert!(!provider.addresses(&name).await.unwrap().is_empty());

    let places = [found.disks[0].place.clone()];
    let early = provider.open(relocation, &places, Moment::Stopped).await.unwrap_err();
    assert!(matches!(early, Error::Unsupported { .. }), "one that runs is not copied as stopped: {early:?}");
    provider.stop(&name, std::time::Duration::from_secs(30)).await.unwrap();
    let stamp = provider.disks_stamp(&name).await.unwrap();
    let site = provider.open(relocation, &places, Moment::Stopped).await.unwrap();
    let look = fluidcloud_providers::Command::new("sh").args([
        "-c",
        "head -c 512 \"$1\" | tail -c 2 | od -An -tx1",
        "look",
    ]);
    let told = site.run(&look.arg(&places[0].path)).await.unwrap().text();
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["55", "aa"], "a disk that boots");
    assert_eq!(provider.disks_stamp(&name).await.unwrap(), stamp, "copying is no writing");
    assert_eq!(provider.inspect(&name).await.unwrap().disks, found.disks, "its disks are where they were");

    provider.settle(relocation).await.unwrap();
    assert_eq!(provider.made_for(relocation).await.unwrap(), []);
    provider.start(&name).await.unwrap();
    assert_ne!(provider.disks_stamp(&name).await.unwrap(), stamp, "it may have written since");
    real.clear().await;
    assert_eq!(real.listing().await, before, "the project is as it was found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_is_one_however_many_ask_for_it() {
    let Some(real) = Real::start().await else { return };
    let relocation = RelocationId::new();
    let (one, other) = (real.provider(), real.another());
    let (first, second) = futures::join!(
        one.open(relocation, &[], Moment::Stopped),
        other.open(relocation, &[], Moment::Stopped)
    );
    assert_eq!(first.unwrap().address(), second.unwrap().address());
    let made = one.made_for(relocation).await.unwrap();
    let servers =
        made.iter().filter(|made| matches!(made, Made::Scrap { path } if path.starts_with("server")));
    assert_eq!(servers.count(), 1, "{made:?}");
    for _ in 0..2 {
        other.settle(relocation).await.unwrap();
    }
    assert_eq!(one.made_for(relocation).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_cloud_refuses_is_told_in_its_words() {
    let Some(real) = Real::start().await else { return };
    let call = Call::get(Service::Compute, "/servers/none", "look at server `none`");
    let error = real.api().call(call).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { status: 404, message, .. } if message.contains("none")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_stood_in_is_made_once_as_it_was_and_removed_again() {
    let _timed = real::Timed::start();
    let Some((provider, outside)) = real::furnishing() else { return };
    let api = provider.api();
    let label = format!("stand-{}", &RelocationId::new().to_string()[..8]);
    let wanted = stand::surroundings(&label, &outside);
    let order = |relocation| Furnishing {
        relocation,
        source: label.parse().unwrap(),
        surroundings: wanted.clone(),
        decisions: Vec::new(),
    };
    let (first, second) = (RelocationId::new(), RelocationId::new());
    let ours = |listing: &BTreeSet<String>| -> Vec<String> {
        listing.iter().filter(|thing| thing.contains(&label)).cloned().collect()
    };
    let made = provider.furnish(&order(first)).await.unwrap();
    assert!(made.0.iter().all(|it| it.made && it.notes.len() <= 1), "{made:?}");
    let listed = ours(&stand::listing(api).await);
    // Network, two subnets, router, three groups, key pair, server group.
    assert_eq!(listed.len(), 9, "{listed:?}");

    let network = &made.find(FurnitureKind::Network, &format!("{label}-net")).unwrap().id;
    let found = get(api, "/networks", network, "network").await;
    assert_eq!(
        (&found["mtu"], found["description"].as_str().unwrap().contains(&first.to_string())),
        (&json!(1400), true)
    );
    let subnets =
        api.call(Call::get(Service::Network, "/subnets", "list").query("network_id", network)).await.unwrap();
    let v4 = subnets["subnets"].as_array().unwrap().iter().find(|it| it["ip_version"] == 4).unwrap().clone();
    assert_eq!((&v4["gateway_ip"], &v4["dns_nameservers"]), (&json!("10.91.7.1"), &json!(["10.91.7.2"])));
    assert_eq!(v4["allocation_pools"], json!([{"start": "10.91.7.20", "end": "10.91.7.90"}]));
    assert_eq!(v4["host_routes"], json!([{"destination": "10.92.0.0/16", "nexthop": "10.91.7.3"}]));
    let group = &made.find(FurnitureKind::SecurityGroup, &format!("{label}-db")).unwrap().id;
    let web = &made.find(FurnitureKind::SecurityGroup, &format!("{label}-web")).unwrap().id;
    let rules = get(api, "/security-groups", group, "security_group").await["security_group_rules"].clone();
    assert_eq!(rules.as_array().unwrap().len(), 1, "neither more nor less than at the source: {rules}");
    assert_eq!((&rules[0]["remote_group_id"], &rules[0]["direction"]), (&json!(web), &json!("ingress")));

    let used = provider.furnish(&order(second)).await.unwrap();
    assert!(used.0.iter().all(|it| !it.made), "it is there: {used:?}");
    provider.unfurnish(second).await.unwrap();
    assert_eq!(ours(&stand::listing(api).await), listed, "and is not the second one's to remove");
    for _ in 0..2 {
        provider.unfurnish(first).await.unwrap();
        assert_eq!(provider.made_for(first).await.unwrap(), []);
    }
    assert_eq!(ours(&stand::listing(api).await), [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_use_by_now_is_left_to_them() {
    let _timed = real::Timed::start();
    let Some((provider, outside)) = real::furnishing() else { return };
    let api = provider.api();
    let label = format!("stand-{}", &RelocationId::new().to_string()[..8]);
    let mut wanted = stand::surroundings(&label, &outside);
    wanted.routers.clear();
    let relocation = RelocationId::new();
    let order = Furnishing {
        relocation,
        source: label.parse().unwrap(),
        surroundings: wanted,
        decisions: Vec::new(),
    };
    let made = provider.furnish(&order).await.unwrap();
    let network = made.find(FurnitureKind::Network, &format!("{label}-net")).unwrap().id.clone();
    let web = made.find(FurnitureKind::SecurityGroup, &format!("{label}-web")).unwrap().id.clone();
    let port = json!({"port": {"network_id": network, "security_groups": [web], "name": label}});
    let port = api.call(Call::post(Service::Network, "/ports", "make a port").json(port)).await.unwrap();
    provider.unfurnish(relocation).await.unwrap();
    assert_eq!(provider.made_for(relocation).await.unwrap(), [], "nothing is this relocation's any more");
    let left: Vec<String> =
        stand::listing(api).await.into_iter().filter(|thing| thing.contains(&label)).collect();
    assert!(
        left.iter().any(|thing| thing.contains(&network)) && left.iter().any(|thing| thing.contains(&web)),
        "{left:?}"
    );
    for (path, id) in [
        ("/ports", port["port"]["id"].as_str().unwrap()),
        ("/networks", &network),
        ("/security-groups", &web),
    ] {
        api.call(Call::delete(Service::Network, format!("{path}/{id}"), "clear")).await.unwrap();
    }
    let left: Vec<String> =
        stand::listing(api).await.into_iter().filter(|thing| thing.contains(&label)).collect();
    assert_eq!(left, [] as [&str; 0]);
}

async fn get(api: &fluidcloud_providers::openstack::api::Api, path: &str, id: &str, key: &str) -> Value {
    api.call(Call::get(Service::Network, format!("{path}/{id}"), "look")).await.unwrap()[key].clone()
}
