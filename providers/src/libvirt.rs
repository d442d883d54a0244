//! QEMU through libvirt, on this host or another. Domains and networks by libvirt's own calls; disk files and what
//! lies beside them at the site, where their bytes are worked on anyway.

mod accel;
mod concerns;
mod connection;
mod describe;
mod disks;
mod domain_xml;
mod files;
mod images;
mod inspect;
mod lifecycle;
mod room;
mod tag;
mod xml;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::{DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskPlace, Instance, Power};

use crate::config::{Accel, ProviderConfig};
use crate::error::Error;
use crate::provider::{DiskOrder, InstanceOrder, Made, Provider, Reservation, Stopped};
use crate::site::{self, Site};
use connection::Connection;

#[derive(Clone, Debug)]
pub struct LibvirtProvider {
    id: ProviderId,
    shape: Hardware,
    pool: String,
    network: String,
    accel: Accel,
    site: Arc<dyn Site>,
    connection: Connection,
}

impl LibvirtProvider {
    /// Connects when first used.
    pub fn from_config(config: &ProviderConfig) -> Result<Self, Error> {
        let missing = |what: &str| Error::Config { provider: config.id.to_string(), what: what.to_owned() };
        let uri = config.uri.as_deref();
        let uri = uri.ok_or_else(|| missing("`uri` is missing: give libvirt's, such as `qemu:///system`"))?;
        let place = config.site.as_ref();
        let place =
            place.ok_or_else(|| missing("`site` is missing: say where its disks can be worked on"))?;
        if let Some(what) = domain_xml::refuses(&config.shape, 0) {
            return Err(missing(&format!("shape: {what}")));
        }
        Ok(Self {
            id: config.id.clone(),
            shape: config.shape.clone(),
            pool: config.pool.clone(),
            network: config.network.clone(),
            accel: config.accel,
            site: site::from_config(&config.id, place),
            connection: Connection::new(config.id.clone(), uri),
        })
    }

    fn unknown(&self, instance: &InstanceName) -> Error {
        Error::UnknownInstance { provider: self.id.to_string(), instance: instance.to_string() }
    }
}

#[async_trait]
impl Provider for LibvirtProvider {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn driver(&self) -> &'static str {
        "libvirt"
    }

    fn hardware(&self) -> &Hardware {
        &self.shape
    }

    fn site(&self) -> Option<Arc<dyn Site>> {
        Some(self.site.clone())
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.free().await
    }

    async fn instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        self.all_instances().await
    }

    async fn inspect(&self, instance: &InstanceName) -> Result<Instance, Error> {
        self.describe_instance(instance).await
    }

    async fn power(&self, instance: &InstanceName) -> Result<Power, Error> {
        self.with_domain(instance, "look at", lifecycle::power_of).await
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
        self.release(instance, relocation).await
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<(), Error> {
        self.check_room(reservation).await?;
        // Found out while nothing waits for it: where KVM does not work, that takes most of a minute.
        accel::choose(&*self.site, self.accel).await.map(drop)
    }

    async fn create_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        self.make_disk(order).await
    }

    async fn delete_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        self.remove_disk(relocation, disk).await
    }

    async fn create_instance(&self, order: &InstanceOrder) -> Result<(), Error> {
        self.define(order).await
    }

    async fn delete_instance(&self, relocation: RelocationId, instance: &InstanceName) -> Result<(), Error> {
        self.undefine(relocation, instance).await
    }

    async fn settle(&self, relocation: RelocationId) -> Result<(), Error> {
        let (made, kept_disks) = self.marked(relocation).await?;
        // First what matters should the rest fail.
        for instance in made {
            self.let_start_by_itself(&instance).await?;
        }
        self.remove_scraps(relocation, &kept_disks).await
    }

    async fn addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        self.find_addresses(instance).await
    }

    async fn made_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        let (instances, _) = self.marked(relocation).await?;
        let mut made: Vec<Made> = instances.into_iter().map(|name| Made::Instance { name }).collect();
        made.extend(self.files_for(relocation).await?);
        Ok(made)
    }
}
