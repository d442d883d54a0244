//! The conduit's store, bus and providers with points around every call, and a bus that repeats and reorders.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_conduit::relocation::Entry;
use fluidcloud_conduit::store::{Error as StoreError, Store, Tenure};
use fluidcloud_proto::bus::{Bus, Depth, Error as BusError, Message, Queue, SharedBus, Subscription};
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{ComponentName, DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::kept::Kept;
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskPlace, Instance, Nic, Power};
use fluidcloud_providers::memory::MemoryProvider;
use fluidcloud_providers::{
    DiskOrder, Error, Furnishing, ImageStore, InstanceOrder, KeepOrder, Keepsakes, Made, ObjectStore,
    Provider, Reservation, Site, SnapshotOrder, Stopped, Volumes,
};
use tokio::sync::{broadcast, watch};

use crate::points::Points;

#[derive(Debug)]
pub struct PointedStore {
    pub inner: Arc<dyn Store>,
    pub points: Points,
}

#[async_trait]
impl Store for PointedStore {
    async fn take_over(&self) -> Result<Tenure, StoreError> {
        self.inner.take_over().await
    }

    async fn append(
        &self,
        tenure: Tenure,
        relocation: RelocationId,
        entries: &[Entry],
        expected_seq: u64,
    ) -> Result<(), StoreError> {
        let facts: Vec<&str> = entries.iter().map(|entry| entry.fact.name()).collect();
        self.points.pass(format!("before recording {facts:?}")).await;
        let done = self.inner.append(tenure, relocation, entries, expected_seq).await;
        self.points.pass(format!("after recording {facts:?}")).await;
        done
    }

    async fn ids(&self) -> Result<Vec<RelocationId>, StoreError> {
        self.inner.ids().await
    }

    async fn load(&self, relocation: RelocationId) -> Result<Vec<Entry>, StoreError> {
        self.inner.load(relocation).await
    }

    async fn digest_of(&self, relocation: RelocationId) -> Result<Option<String>, StoreError> {
        self.inner.digest_of(relocation).await
    }
}

#[derive(Debug)]
pub struct PointedBus {
    pub inner: SharedBus,
    pub points: Points,
}

#[async_trait]
impl Bus for PointedBus {
    async fn publish(&self, queue: &Queue, message: Message) -> Result<(), BusError> {
        self.points.pass(format!("before publishing to {queue}")).await;
        let done = self.inner.publish(queue, message).await;
        self.points.pass(format!("after publishing to {queue}")).await;
        done
    }

    async fn notify(&self, message: Message) -> Result<(), BusError> {
        self.points.pass("before a notice".to_owned()).await;
        self.inner.notify(message).await
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, BusError> {
        self.inner.subscribe(queue, prefetch).await
    }

    async fn watch(&self) -> Result<broadcast::Receiver<Message>, BusError> {
        self.inner.watch().await
    }

    async fn depth(&self, queue: &Queue) -> Result<Depth, BusError> {
        self.inner.depth(queue).await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.inner.connected()
    }
}

/// Says everything twice, the second time late, so that it also comes out of order.
#[derive(Debug)]
pub struct EchoBus {
    pub inner: SharedBus,
    /// The echo of message number n comes after `n * step % turn` milliseconds.
    pub step_ms: u64,
    pub turn_ms: u64,
    pub count: std::sync::atomic::AtomicU64,
}

#[async_trait]
impl Bus for EchoBus {
    async fn publish(&self, queue: &Queue, message: Message) -> Result<(), BusError> {
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let late = Duration::from_millis(number * self.step_ms % self.turn_ms);
        let (inner, queue_again, again) = (self.inner.clone(), queue.clone(), message.clone());
        tokio::spawn(async move {
            tokio::time::sleep(late).await;
            let _ = inner.publish(&queue_again, again).await;
        });
        self.inner.publish(queue, message).await
    }

    async fn notify(&self, message: Message) -> Result<(), BusError> {
        self.inner.notify(message).await
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, BusError> {
        self.inner.subscribe(queue, prefetch).await
    }

    async fn watch(&self) -> Result<broadcast::Receiver<Message>, BusError> {
        self.inner.watch().await
    }

    async fn depth(&self, queue: &Queue) -> Result<Depth, BusError> {
        self.inner.depth(queue).await
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.inner.connected()
    }
}

/// How long a call of a provider takes.
const CALL_TAKES: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub struct PointedProvider {
    pub inner: MemoryProvider,
    pub points: Points,
}

impl PointedProvider {
    async fn call<T>(&self, what: &str, work: impl Future<Output = T>) -> T {
        self.points.pass(format!("before {what} at {}", self.inner.id())).await;
        // As of a real cloud: what goes on at the same time comes in between.
        tokio::time::sleep(CALL_TAKES).await;
        let done = work.await;
        self.points.pass(format!("after {what} at {}", self.inner.id())).await;
        done
    }
}

#[async_trait]
impl Provider for PointedProvider {
    fn id(&self) -> &ProviderId {
        self.inner.id()
    }
    fn driver(&self) -> &'static str {
        self.inner.driver()
    }
    fn hardware(&self) -> &Hardware {
        self.inner.hardware()
    }
    fn site(&self) -> Option<Arc<dyn Site>> {
        self.inner.site()
    }
    fn has_site(&self) -> bool {
        self.inner.has_site()
    }
    async fn capacity(&self) -> Result<Capacity, Error> {
        self.inner.capacity().await
    }
    async fn instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        self.inner.instances().await
    }
    async fn inspect(&self, instance: &InstanceName) -> Result<Instance, Error> {
        self.call("inspect", self.inner.inspect(instance)).await
    }
    async fn power(&self, instance: &InstanceName) -> Result<Power, Error> {
        self.inner.power(instance).await
    }
    async fn start(&self, instance: &InstanceName) -> Result<(), Error> {
        self.call("start", self.inner.start(instance)).await
    }
    async fn stop(&self, instance: &InstanceName, grace: Duration) -> Result<Stopped, Error> {
        self.call("stop", self.inner.stop(instance, grace)).await
    }
    async fn disks_stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error> {
        self.call("disks_stamp", self.inner.disks_stamp(instance)).await
    }
    async fn keep_source(&self, instance: &InstanceName, id: RelocationId, note: &str) -> Result<(), Error> {
        self.call("keep_source", self.inner.keep_source(instance, id, note)).await
    }
    async fn is_kept(&self, instance: &InstanceName, id: RelocationId) -> Result<bool, Error> {
        self.call("is_kept", self.inner.is_kept(instance, id)).await
    }
    async fn release_source(&self, instance: &InstanceName, id: RelocationId) -> Result<(), Error> {
        self.call("release_source", self.inner.release_source(instance, id)).await
    }
    async fn reserve(&self, reservation: &Reservation) -> Result<(), Error> {
        self.call("reserve", self.inner.reserve(reservation)).await
    }
    async fn surroundings(&self, instances: &[InstanceName]) -> Result<Surroundings, Error> {
        self.inner.surroundings(instances).await
    }
    fn furnishes(&self) -> bool {
        self.inner.furnishes()
    }
    async fn furnish(&self, order: &Furnishing) -> Result<Furnished, Error> {
        self.call("furnish", self.inner.furnish(order)).await
    }
    async fn unfurnish(&self, relocation: RelocationId) -> Result<(), Error> {
        self.call("unfurnish", self.inner.unfurnish(relocation)).await
    }
    async fn create_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        self.call("create_disk", self.inner.create_disk(order)).await
    }
    async fn delete_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        self.call("delete_disk", self.inner.delete_disk(relocation, disk)).await
    }
    fn holds_addresses(&self) -> bool {
        self.inner.holds_addresses()
    }
    async fn hold_addresses(&self, order: &InstanceOrder) -> Result<Vec<Nic>, Error> {
        self.call("hold_addresses", self.inner.hold_addresses(order)).await
    }
    async fn release_addresses(&self, relocation: RelocationId, name: &InstanceName) -> Result<(), Error> {
        self.call("release_addresses", self.inner.release_addresses(relocation, name)).await
    }
    async fn create_instance(&self, order: &InstanceOrder) -> Result<(), Error> {
        self.call("create_instance", self.inner.create_instance(order)).await
    }
    async fn delete_instance(&self, relocation: RelocationId, name: &InstanceName) -> Result<(), Error> {
        self.call("delete_instance", self.inner.delete_instance(relocation, name)).await
    }
    async fn settle(&self, relocation: RelocationId) -> Result<(), Error> {
        self.call("settle", self.inner.settle(relocation)).await
    }
    async fn addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        self.inner.addresses(instance).await
    }
    async fn made_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        self.call("made_for", self.inner.made_for(relocation)).await
    }
    fn volumes(&self) -> Result<Arc<dyn Volumes>, Error> {
        self.inner.volumes()
    }
    fn decides(&self) -> bool {
        self.inner.decides()
    }
    fn keepsakes(&self) -> Result<Arc<dyn Keepsakes>, Error> {
        Ok(Arc::new(PointedKeepsakes(Self { inner: self.inner.clone(), points: self.points.clone() })))
    }
    fn images(&self) -> Result<Arc<dyn ImageStore>, Error> {
        self.inner.images()
    }
    fn objects(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        self.inner.objects()
    }
}

#[derive(Debug)]
struct PointedKeepsakes(PointedProvider);

#[async_trait]
impl Keepsakes for PointedKeepsakes {
    async fn may_keep(&self, order: &KeepOrder) -> Result<(), Error> {
        self.0.call("may_keep", self.0.inner.may_keep(order)).await
    }
    async fn take_snapshot(&self, order: &SnapshotOrder) -> Result<Vec<Kept>, Error> {
        self.0.call("take_snapshot", self.0.inner.take_snapshot(order)).await
    }
    async fn drop_snapshot(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.0.call("drop_snapshot", self.0.inner.drop_snapshot(relocation, component)).await
    }
    async fn set_aside(&self, order: &KeepOrder) -> Result<(), Error> {
        self.0.call("set_aside", self.0.inner.set_aside(order)).await
    }
    async fn drop_aside(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.0.call("drop_aside", self.0.inner.drop_aside(relocation, component)).await
    }
    async fn keep_image(&self, order: &KeepOrder) -> Result<Kept, Error> {
        self.0.call("keep_image", self.0.inner.keep_image(order)).await
    }
    async fn drop_image(&self, relocation: RelocationId, component: &ComponentName) -> Result<(), Error> {
        self.0.call("drop_image", self.0.inner.drop_image(relocation, component)).await
    }
    async fn kept(&self, relocation: RelocationId) -> Result<Vec<Kept>, Error> {
        self.0.inner.kept(relocation).await
    }
}
