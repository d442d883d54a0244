//! The simulated cloud keeps the contract, and its witness sees what must not happen.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::{DiskPlace, Power};
use serde_json::json;

use super::{Guest, MemoryProvider, Op, Witness};
use crate::conformance::{self, Content, Fixture, disk_order, instance_order};
use crate::error::Error;
use crate::provider::{Period, Provider};

const MAC: &str = "52:54:00:01:02:03";

struct Simulated(MemoryProvider);

#[async_trait]
impl Fixture for Simulated {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.0.clone())
    }

    fn another(&self) -> Arc<dyn Provider> {
        Arc::new(self.0.clone())
    }

    async fn make_foreign(&self, name: &InstanceName, autostart: bool) {
        let guest = Guest::new(name.as_str()).disk("vda", vec![7; 4096]).nic(MAC);
        self.0.seed(if autostart { guest.autostart() } else { guest });
    }

    fn surroundings(&self, label: &str) -> Option<Surroundings> {
        let named = |what: &str| format!("{label}-{what}");
        let network = json!({"name": named("net"), "subnets": []});
        let group = json!({"name": named("web"), "rules": []});
        let keypair = json!({"name": named("ops"), "fingerprint": "f", "public_key": "k"});
        let all = json!({"networks": [network], "security_groups": [group], "keypairs": [keypair]});
        Some(serde_json::from_value(all).unwrap())
    }

    async fn starts_by_itself(&self, name: &InstanceName) -> bool {
        self.0.starts_by_itself(name)
    }

    async fn read(&self, place: &DiskPlace) -> Content {
        Content::of(&self.0.disk_bytes(place).expect("the disk is there"))
    }

    async fn write(&self, place: &DiskPlace, bytes: &[u8]) {
        self.0.write_disk(place, 0, bytes);
    }

    async fn leave_scraps(&self, relocation: RelocationId, beside: &DiskPlace) {
        for suffix in [".viaduct", ".work", ".lock"] {
            self.0.add_scrap(relocation, &format!("{}{suffix}", beside.path));
        }
    }
}

fn instance(name: &str) -> InstanceName {
    name.parse().unwrap()
}

#[tokio::test]
async fn it_conforms() {
    let provider = MemoryProvider::builder("cloud").build();
    conformance::all(&Simulated(provider.clone())).await;
    assert_eq!(provider.witness().illegal_acts(), [] as [&str; 0]);
}

#[tokio::test]
async fn the_same_identity_running_twice_is_seen() {
    let witness = Witness::default();
    let a =
        MemoryProvider::builder("a").witness(&witness).guest(Guest::new("shop").nic(MAC).running()).build();
    let b = MemoryProvider::builder("b").witness(&witness).guest(Guest::new("shop").nic(MAC)).build();
    assert_eq!(witness.illegal_acts(), [] as [&str; 0]);
    b.start(&instance("shop")).await.unwrap();
    assert!(witness.illegal_acts()[0].contains(MAC));
    a.stop(&instance("shop"), Duration::ZERO).await.unwrap();
    assert_eq!(witness.running_with(MAC), [(b.id().clone(), instance("shop"))]);
}

#[tokio::test]
async fn a_change_to_the_source_is_seen() {
    let provider =
        MemoryProvider::builder("a").guest(Guest::new("shop").disk("vda", vec![1; 8]).running()).build();
    let place = provider.inspect(&instance("shop")).await.unwrap().disks[0].place.clone();
    provider.guest_writes(&place, 0, &[2]);
    assert_eq!(provider.witness().illegal_acts(), [] as [&str; 0], "its own guest may");
    provider.write_disk(&place, 1, &[3]);
    assert!(provider.witness().illegal_acts()[0].contains("source's disk"));
    assert_eq!(provider.disk_bytes(&place).unwrap()[..3], [2, 3, 1]);
}

#[tokio::test]
async fn writing_or_deleting_a_disk_in_use_is_seen() {
    let provider = MemoryProvider::builder("a").build();
    let order = instance_order(&provider, RelocationId::new()).await;
    provider.write_disk(&order.disks[0].1, 0, b"early");
    provider.create_instance(&order).await.unwrap();
    provider.start(&order.name).await.unwrap();
    assert_eq!(provider.witness().illegal_acts(), [] as [&str; 0]);
    provider.write_disk(&order.disks[0].1, 0, b"late");
    provider.delete_disk(order.relocation, &order.disks[0].0).await.unwrap();
    let acts = provider.witness().illegal_acts();
    assert!(acts[0].contains("while its instance runs") && acts[1].contains("deleted"), "{acts:?}");
}

#[tokio::test]
async fn faults_come_where_they_were_asked_for() {
    let provider = MemoryProvider::builder("a").build();
    let order = disk_order(RelocationId::new(), "sda");
    provider.fail_next(Op::CreateDisk, Error::UnknownProvider("x".into()));
    provider.fail_at(Op::CreateDisk, 2);
    provider.lose_answer_at(Op::CreateDisk, 3);
    assert!(matches!(provider.create_disk(&order).await, Err(Error::UnknownProvider(_))));
    assert!(matches!(provider.create_disk(&order).await, Err(Error::Unreachable { .. })));
    assert_eq!(provider.paths().len(), 0, "a call that fails before its work does none");
    assert!(matches!(provider.create_disk(&order).await, Err(Error::Unreachable { .. })));
    assert_eq!(provider.paths().len(), 1, "a call whose answer is lost did its work");
    provider.create_disk(&order).await.unwrap();
    provider.set_reachable(false);
    assert!(provider.capacity().await.unwrap_err().retryable());
    let faulted: Vec<_> = provider.calls().iter().map(|call| call.faulted).collect();
    assert_eq!(faulted, [true, true, true, false, true]);
}

#[tokio::test]
async fn a_guest_that_crashes_is_no_longer_running() {
    let provider = MemoryProvider::builder("a").guest(Guest::new("shop").nic(MAC).running()).build();
    assert_eq!(provider.running_instances(), [instance("shop")]);
    provider.set_power(&instance("shop"), Power::Other);
    assert_eq!(provider.running_instances(), []);
    assert_eq!(provider.witness().running_with(MAC), []);
}

#[tokio::test]
async fn usage_is_size_times_time_within_the_period() {
    let guest = Guest::new("shop").size(2, 512 << 20).running();
    let provider = MemoryProvider::builder("cloud").guest(guest).build();
    let now = time::OffsetDateTime::now_utc();
    let hour = time::Duration::HOUR;
    let period = Period { from: Some(now - hour), to: Some(now + hour) };
    let usage = provider.usage(&[instance("shop")], period).await.unwrap();
    let hours = usage.total;
    assert!(
        (hours.hours - 1.0).abs() < 0.1 && (hours.vcpu_hours - 2.0 * hours.hours).abs() < 1e-6,
        "{hours:?}"
    );
    assert!((hours.memory_gib_hours - hours.hours / 2.0).abs() < 1e-6, "{hours:?}");
    let before = Period { from: Some(now - hour - hour), to: Some(now - hour) };
    assert_eq!(provider.usage(&[], before).await.unwrap().instances, []);
}
