//! OpenStack through its public APIs, as a member of a project: no administrator's rights, no host. Bytes are worked on in a
//! helper server.

mod addresses;
pub mod api;
mod around;
mod concerns;
mod config;
mod containers;
mod copies;
mod define;
mod definition;
mod detached;
mod details;
mod disks;
mod fixed;
mod flavors;
mod furnish;
mod held;
mod helper;
mod images;
mod inlet;
mod inspect;
mod keepsakes;
mod keypairs;
mod lenient;
mod networks;
mod objects;
mod open;
mod orphans;
mod outlet;
mod place;
mod ports;
mod power;
mod quota;
mod room;
mod security;
mod servers;
mod subnets;
mod surroundings;
mod tag;
mod usage;
mod volumes;
mod wait;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::overview::Details;
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Instance, Nic, Power};
use fluidcloud_proto::usage::Usage;
use tokio::sync::Mutex;

use crate::disk_images::{Inlet, Outlet};
use crate::error::Error;
use crate::furnishing::Furnishing;
use crate::image_store::ImageStore;
use crate::keepsakes::Keepsakes;
use crate::object_store::ObjectStore;
use crate::provider::{
    DiskOrder, GuestWork, InstanceOrder, Made, Moment, Period, Provider, Reservation, Stopped,
};
use crate::site::Site;
use crate::volumes::Volumes;
use api::Api;
use api::entry::{self, Places};
use helper::HelperSite;

pub use config::{HelperConfig, OpenstackConfig};

/// The helper of each relocation, with the id of its server.
type Helpers = BTreeMap<RelocationId, (String, Arc<HelperSite>)>;

#[derive(Clone, Debug)]
pub struct OpenstackProvider {
    id: ProviderId,
    shape: Hardware,
    config: Arc<OpenstackConfig>,
    api: Api,
    /// Held while one is made.
    helpers: Arc<Mutex<Helpers>>,
}

impl OpenstackProvider {
    /// Logs in when first used.
    pub fn from_config(id: &ProviderId, shape: &Hardware, config: &OpenstackConfig) -> Result<Self, Error> {
        let wrong = |what: String| Error::Config { provider: id.to_string(), what };
        if shape.format != DiskFormat::Raw {
            return Err(wrong("shape: volumes are seen as raw disks: use `format: raw`".into()));
        }
        let places = Places::usual(config.clouds_file.as_deref());
        let entry = entry::load(&places, &config.cloud, config.region.as_deref()).map_err(wrong)?;
        Ok(Self {
            id: id.clone(),
            shape: shape.clone(),
            config: Arc::new(config.clone()),
            api: Api::new(id.as_str(), entry)?,
            helpers: Arc::default(),
        })
    }

    /// For what the driver does not do, such as in tests.
    pub fn api(&self) -> &Api {
        &self.api
    }

    fn unknown(&self, instance: &InstanceName) -> Error {
        Error::UnknownInstance { provider: self.id.to_string(), instance: instance.to_string() }
    }
}

#[async_trait]
impl Provider for OpenstackProvider {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn driver(&self) -> &'static str {
        "openstack"
    }

    fn hardware(&self) -> &Hardware {
        &self.shape
    }

    fn has_site(&self) -> bool {
        true
    }

    fn guest_work(&self) -> GuestWork {
        let at_site = self.config.helper.as_ref().is_some_and(|helper| helper.guest_tools);
        if at_site { GuestWork::AtSite } else { GuestWork::AtWorker }
    }

    fn disk_unit_bytes(&self) -> u64 {
        volumes::GIB
    }

    async fn open(
        &self,
        relocation: RelocationId,
        disks: &[DiskPlace],
        moment: Moment,
    ) -> Result<Arc<dyn Site>, Error> {
        Ok(self.open_disks(relocation, disks, moment).await?)
    }

    async fn opened(&self, relocation: RelocationId) -> Result<Option<Arc<dyn Site>>, Error> {
        Ok(self.standing_helper(relocation).await?.map(|site| site as Arc<dyn Site>))
    }

    async fn outlet(&self, relocation: RelocationId) -> Result<Option<Arc<dyn Outlet>>, Error> {
        let by_images = self.reads_by_images(relocation).await?;
        Ok(by_images.then(|| Arc::new(self.clone()) as Arc<dyn Outlet>))
    }

    fn inlet(&self) -> Option<Arc<dyn Inlet>> {
        self.config.helper.is_none().then(|| Arc::new(self.clone()) as Arc<dyn Inlet>)
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.free().await
    }

    async fn instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        self.all_instances().await
    }

    async fn inspect(&self, instance: &InstanceName) -> Result<Instance, Error> {
        self.describe(instance).await
    }

    async fn surroundings(&self, instances: &[InstanceName]) -> Result<Surroundings, Error> {
        self.surroundings_of(instances).await
    }

    async fn details(&self, instance: &InstanceName) -> Result<Details, Error> {
        self.details_of(instance).await
    }

    async fn power(&self, instance: &InstanceName) -> Result<Power, Error> {
        self.power_now(instance).await
    }

    async fn start(&self, instance: &InstanceName) -> Result<(), Error> {
        self.turn_on(instance).await
    }

    async fn stop(&self, instance: &InstanceName, grace: Duration) -> Result<Stopped, Error> {
        self.turn_off(instance, grace).await
    }

    async fn disks_stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error> {
        self.stamp(instance).await
    }

    async fn keep_source(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error> {
        self.keep(instance, relocation, note).await
    }

    async fn is_kept(&self, instance: &InstanceName, relocation: RelocationId) -> Result<bool, Error> {
        self.is_marked(instance, relocation).await
    }

    async fn release_source(&self, instance: &InstanceName, relocation: RelocationId) -> Result<(), Error> {
        self.unkeep(instance, relocation).await
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<(), Error> {
        self.check_room(reservation).await
    }

    fn furnishes(&self) -> bool {
        true
    }

    fn decides(&self) -> bool {
        true
    }

    async fn furnish(&self, order: &Furnishing) -> Result<Furnished, Error> {
        Box::pin(self.furnish_all(order)).await
    }

    async fn unfurnish(&self, relocation: RelocationId) -> Result<(), Error> {
        Box::pin(self.unfurnish_all(relocation)).await
    }

    async fn create_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        self.make_disk(order).await
    }

    async fn delete_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        self.remove_disk(relocation, disk).await
    }

    fn holds_addresses(&self) -> bool {
        true
    }

    async fn hold_addresses(&self, order: &InstanceOrder) -> Result<Vec<Nic>, Error> {
        self.hold(order).await
    }

    async fn release_addresses(
        &self,
        relocation: RelocationId,
        instance: &InstanceName,
    ) -> Result<(), Error> {
        self.let_go(relocation, instance).await
    }

    async fn create_instance(&self, order: &InstanceOrder) -> Result<(), Error> {
        self.define(order).await
    }

    async fn delete_instance(&self, relocation: RelocationId, instance: &InstanceName) -> Result<(), Error> {
        self.undefine(relocation, instance).await
    }

    fn deletes_running(&self) -> bool {
        true
    }

    async fn settle(&self, relocation: RelocationId) -> Result<(), Error> {
        self.settle_all(relocation).await
    }

    async fn addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        self.known_addresses(instance).await
    }

    async fn usage(&self, instances: &[InstanceName], period: Period) -> Result<Usage, Error> {
        self.used(instances, period).await
    }

    async fn made_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        self.all_made(relocation).await
    }

    fn volumes(&self) -> Result<Arc<dyn Volumes>, Error> {
        Ok(Arc::new(self.clone()))
    }

    fn images(&self) -> Result<Arc<dyn ImageStore>, Error> {
        Ok(Arc::new(self.clone()))
    }

    fn keepsakes(&self) -> Result<Arc<dyn Keepsakes>, Error> {
        Ok(Arc::new(self.clone()))
    }

    fn objects(&self) -> Result<Arc<dyn ObjectStore>, Error> {
        Ok(Arc::new(self.clone()))
    }
}

#[cfg(test)]
mod tests;
