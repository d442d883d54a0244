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
#[path = "openstack/proxy.rs"]
mod proxy;
#[path = "openstack/real.rs"]
mod real;
#[path = "openstack/usage.rs"]
mod usage;

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::{DiskRole, Power, Severity};
use fluidcloud_providers::conformance::{self, Fixture};
use fluidcloud_providers::openstack::api::{Call, Service};
use fluidcloud_providers::{Error, Made, Moment};
use real::Real;

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
