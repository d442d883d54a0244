//! What a real Nova accounts for.

use std::time::Duration;

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_providers::conformance::Fixture;
use fluidcloud_providers::{Error, Period};

use crate::real::Real;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_used_is_told_by_the_cloud() {
    let Some(real) = Real::start().await else { return };
    let provider = real.provider();
    let name: InstanceName = format!("used-{}", &RelocationId::new().to_string()[..8]).parse().unwrap();
    real.make_from_image(&name).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let usage = provider.usage(std::slice::from_ref(&name), Period::default()).await.unwrap();
    println!("{}", serde_json::to_string_pretty(&usage).unwrap());
    let [one] = &usage.instances[..] else { panic!("{usage:?}") };
    let inspected = provider.inspect(&name).await.unwrap();
    assert_eq!((one.instance.as_str(), one.state.as_str()), (name.as_str(), "active"));
    assert_eq!((one.vcpus, one.memory_mib), (inspected.vcpus, inspected.memory_bytes >> 20));
    assert!(one.uptime_seconds >= 5 && one.hours.hours > 0.001, "{one:?}");
    assert!((usage.total.vcpu_hours - one.hours.hours * f64::from(one.vcpus)).abs() < 1e-9);

    // Ended before it was made.
    let to = Some(one.started_at - Duration::from_secs(60));
    let from = Some(one.started_at - Duration::from_secs(3600));
    let before = provider.usage(std::slice::from_ref(&name), Period { from, to }).await.unwrap();
    assert_eq!(before.instances, []);
    let all = provider.usage(&[], Period::default()).await.unwrap();
    assert!(all.instances.iter().any(|other| other.id == one.id), "{all:?}");

    real.clear().await;
    let gone = provider.usage(std::slice::from_ref(&name), Period::default()).await.unwrap_err();
    assert!(matches!(gone, Error::UnknownInstance { .. }), "{gone:?}");
    let since = Period { from: Some(one.started_at), to: None };
    let all = provider.usage(&[], since).await.unwrap();
    let ended = all.instances.iter().find(|other| other.id == one.id).expect("it is still accounted for");
    assert!(ended.ended_at.is_some() && ended.state == "terminated", "{ended:?}");
}
