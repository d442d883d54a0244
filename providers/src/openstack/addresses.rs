//! Addresses outside of an instance: floating IPs of the project that are free, or new ones. One that was free before is
//! given back, not released.

use fluidcloud_proto::ids::{InstanceName, RelocationId};

use super::OpenstackProvider;
use super::networks::{FloatingIp, Port};
use super::tag;
use crate::error::Error;
use crate::provider::InstanceOrder;

/// Made for the instance.
const NEW: &str = "address";
/// Found free.
const LENT: &str = "lent-address";

impl OpenstackProvider {
    /// The first port gets one where the configuration gives one to all; else those do that had one at the source, where
    /// their networks lead outside as the source's did.
    pub(super) async fn give_addresses(&self, order: &InstanceOrder) -> Result<(), Error> {
        let to_all = self.config.floating_network.is_some();
        let as_before = self.config.network.is_none() || self.config.external_network.is_some();
        let ports = self.defined_ports(order.relocation, &order.name).await?;
        for (at, (nic, port)) in order.nics.iter().zip(&ports).enumerate() {
            if (to_all && at == 0) || (as_before && !nic.floating.is_empty()) {
                self.give_address(order, at, port).await?;
            }
        }
        Ok(())
    }

    /// Once for a port, however often it is asked for.
    async fn give_address(&self, order: &InstanceOrder, at: usize, port: &Port) -> Result<(), Error> {
        let (relocation, name) = (order.relocation, &order.name);
        let role = |role: &str| tag::description(relocation, &role_of(role, name, at));
        let outside = match &self.config.floating_network {
            Some(name) => self.api.network_named(name).await?.id,
            None => self.outside(None, &self.here().await?)?,
        };
        let all = self.api.floating_ips().await?;
        let ours = all.iter().find(|floating| [NEW, LENT].iter().any(|it| floating.description == role(it)));
        if let Some(ours) = ours {
            if ours.port_id.as_deref() != Some(port.id.as_str()) {
                self.api.set_floating_ip(&ours.id, Some(&port.id), &ours.description).await?;
            }
            return Ok(());
        }
        let free = all.iter().find(|floating| {
            // One with a description is meant for something.
            floating.port_id.is_none()
                && floating.description.is_empty()
                && floating.floating_network_id == outside
        });
        match free {
            Some(free) => self.api.set_floating_ip(&free.id, Some(&port.id), &role(LENT)).await,
            None => self.api.make_floating_ip(&outside, &port.id, &role(NEW)).await.map(drop),
        }
    }

    pub(super) async fn take_address_back(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<(), Error> {
        for floating in self.addresses_of(relocation, name).await? {
            if floating.description.starts_with(&tag::description(relocation, LENT)) {
                self.api.set_floating_ip(&floating.id, None, "").await?;
            } else {
                self.api.delete_floating_ip(&floating.id).await?;
            }
        }
        Ok(())
    }

    async fn addresses_of(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<Vec<FloatingIp>, Error> {
        let mut all = self.api.floating_ips_of(relocation).await?;
        all.retain(|floating| is_address(&floating.description, relocation, name));
        Ok(all)
    }
}

/// With the number of the NIC, but for the first.
fn role_of(role: &str, name: &InstanceName, at: usize) -> String {
    if at == 0 { format!("{role} {name}") } else { format!("{role} {name} {at}") }
}

pub(super) fn is_address(description: &str, relocation: RelocationId, name: &InstanceName) -> bool {
    [NEW, LENT].iter().any(|role| {
        let rest = description.strip_prefix(&tag::description(relocation, &role_of(role, name, 0)));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_its_instance_whatever_its_nic() {
        let (id, web) = (RelocationId::new(), "web".parse().unwrap());
        let described = |name: &str, at| tag::description(id, &role_of(LENT, &name.parse().unwrap(), at));
        assert!(is_address(&described("web", 0), id, &web) && is_address(&described("web", 2), id, &web));
        assert!(!is_address(&described("web2", 0), id, &web));
        assert!(!is_address(&described("web", 0), RelocationId::new(), &web));
    }
}
