//! Addresses settled before the instance is there: its ports, which `define` finds by their tag and uses.

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::Nic;

use super::OpenstackProvider;
use super::definition;
use crate::error::Error;
use crate::provider::InstanceOrder;

impl OpenstackProvider {
    pub(super) async fn hold(&self, order: &InstanceOrder) -> Result<Vec<Nic>, Error> {
        let (servers, volumes) = futures::future::try_join(self.api.servers(), self.api.volumes()).await?;
        self.is_free_or_ours(&servers, &volumes, &order.name, order.relocation)?;
        self.make_ports(order).await?;
        let ports = self.defined_ports(order.relocation, &order.name).await?;
        let networks = self.api.networks().await?;
        let name =
            |id: &str| networks.iter().find(|network| network.id == id).map(|network| network.name.clone());
        let nics = ports.into_iter().map(|port| Nic {
            mac: port.mac_address.to_lowercase(),
            model: self.shape.nic.clone(),
            network: name(&port.network_id).unwrap_or(port.network_id),
            addresses: port.fixed_ips.iter().filter_map(|fixed| fixed.ip_address.parse().ok()).collect(),
            floating: Vec::new(),
            security_groups: Vec::new(),
        });
        Ok(nics.collect())
    }

    pub(super) async fn let_go(&self, relocation: RelocationId, name: &InstanceName) -> Result<(), Error> {
        let (servers, volumes) =
            futures::future::try_join(self.made_servers(relocation, name), self.api.volumes_of(relocation))
                .await?;
        let defined = definition::among(&volumes).into_iter().any(|defined| defined.name == *name);
        if defined || !servers.is_empty() {
            return Ok(());
        }
        for port in self.defined_ports(relocation, name).await? {
            self.api.delete_port(&port.id).await?;
        }
        Ok(())
    }
}
