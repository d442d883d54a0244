//! Things of a real cloud that are broken: volumes and servers in error, a helper that cannot be reached. A retry heals it, or
//! undo leaves the project as it was.

use std::time::Duration;

use fluidcloud_proto::topology::Power;
use fluidcloud_providers::conformance::Fixture;
use fluidcloud_providers::openstack::api::{Api, Call, Service};
use fluidcloud_providers::{Error, Moment};

use crate::harmed::{Harmed, into_error, put};

fn volume_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap()
}

async fn id_of_server(api: &Api, begins: &str) -> String {
    let call = Call::get(Service::Compute, "/servers", "list servers").query("name", begins);
    api.call(call).await.unwrap()["servers"][0]["id"].as_str().expect("a server").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_in_error_is_replaced_by_the_next_try_and_goes_in_undo() {
    let Some(harmed) = Harmed::start().await else { return };
    let Some(admin) = harmed.admin() else { return };
    let provider = harmed.real.provider();
    let order = harmed.disk("vda");
    let first = provider.create_disk(&order).await.unwrap();
    let action = |path: &str| format!("/volumes/{}/action", volume_of(path));
    put(admin.api(), Service::Volume, action(&first.path), into_error(Service::Volume)).await;
    let told = provider.create_disk(&order).await.unwrap_err();
    assert!(told.retryable() && told.to_failure().message.contains("into state error"), "{told:?}");
    let second = provider.create_disk(&order).await.unwrap();
    assert_ne!(second, first, "another one");

    // Once more, with nobody who tries again: and it is on the helper.
    provider.open(harmed.relocation, std::slice::from_ref(&second), Moment::Stopped).await.unwrap();
    put(admin.api(), Service::Volume, action(&second.path), into_error(Service::Volume)).await;
    harmed.undone(&*provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_error_is_told_stopped_and_removed() {
    let Some(harmed) = Harmed::start().await else { return };
    let Some(admin) = harmed.admin() else { return };
    let provider = harmed.real.provider();
    let order = harmed.define(&*provider).await;
    provider.start(&order.name).await.unwrap();
    let id = id_of_server(harmed.real.api(), order.name.as_str()).await;
    put(admin.api(), Service::Compute, format!("/servers/{id}/action"), into_error(Service::Compute)).await;
    assert_eq!(provider.power(&order.name).await.unwrap(), Power::Other);
    let found = provider.inspect(&order.name).await.unwrap();
    assert!(found.concerns.iter().any(|concern| concern.message.contains("ERROR")), "{:?}", found.concerns);
    provider.stop(&order.name, Duration::from_secs(1)).await.unwrap();
    assert_eq!(provider.power(&order.name).await.unwrap(), Power::Stopped);
    put(admin.api(), Service::Compute, format!("/servers/{id}/action"), into_error(Service::Compute)).await;
    harmed.undone(&*provider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_in_error_is_replaced_by_the_next_try() {
    let Some(harmed) = Harmed::start().await else { return };
    let Some(admin) = harmed.admin() else { return };
    let (provider, relocation) = (harmed.real.provider(), harmed.relocation);
    let place = [provider.create_disk(&harmed.disk("vda")).await.unwrap()];
    provider.open(relocation, &place, Moment::Stopped).await.unwrap();
    let id = id_of_server(harmed.real.api(), &helper_name(&harmed)).await;
    put(admin.api(), Service::Compute, format!("/servers/{id}/action"), into_error(Service::Compute)).await;
    // As a worker that was started again: it knows of no helper.
    let other = harmed.real.another();
    let told = other.open(relocation, &place, Moment::Stopped).await.unwrap_err();
    assert!(told.retryable(), "{told}");
    other.open(relocation, &place, Moment::Stopped).await.unwrap();
    assert_ne!(id_of_server(harmed.real.api(), &helper_name(&harmed)).await, id);
    harmed.undone(&*other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_cannot_be_reached_is_mended_for_the_next_try_or_goes_in_undo() {
    let Some(harmed) = Harmed::start().await else { return };
    let (provider, relocation) = (harmed.real.provider(), harmed.relocation);
    let place = [provider.create_disk(&harmed.disk("vda")).await.unwrap()];
    provider.open(relocation, &place, Moment::Stopped).await.unwrap();
    close(&harmed).await;
    let told = provider.open(relocation, &place, Moment::Stopped).await.unwrap_err();
    assert!(told.retryable(), "{told}");
    assert!(matches!(told, Error::Unreachable { .. } | Error::TimedOut { .. }), "{told:?}");
    // The rules are there again, after one more look that finds it closed at most.
    let mut opened = false;
    for _ in 0..2 {
        opened |= provider.open(relocation, &place, Moment::Stopped).await.is_ok();
    }
    assert!(opened, "the rules of its security group were not mended");
    close(&harmed).await;
    harmed.undone(&*provider).await;
}

fn helper_name(harmed: &Harmed) -> String {
    format!("fluidcloud-helper-{}", &harmed.relocation.to_string()[..8])
}

/// All rules of its security group go.
async fn close(harmed: &Harmed) {
    let api = harmed.real.api();
    let call = Call::get(Service::Network, "/security-groups", "list").query("name", helper_name(harmed));
    let groups = api.call(call).await.unwrap();
    for rule in groups["security_groups"][0]["security_group_rules"].as_array().expect("the helper's group") {
        let path = format!("/security-group-rules/{}", rule["id"].as_str().unwrap());
        api.call(Call::delete(Service::Network, path, "delete a rule")).await.unwrap();
    }
}
