//! The address outside of an instance: a floating IP of the project that is free, or a new one. One that was free before is
//! given back, not released.

use fluidcloud_proto::ids::{InstanceName, RelocationId};

use super::OpenstackProvider;
use super::networks::{FloatingIp, Port};
use super::tag;
use crate::error::Error;

/// Made for the instance.
const NEW: &str = "address";
/// Found free.
const LENT: &str = "lent-address";

impl OpenstackProvider {
    /// Once for an instance, however often it is asked for.
    pub(super) async fn give_address(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
        port: &Port,
    ) -> Result<(), Error> {
        let Some(outside) = &self.config.floating_network else { return Ok(()) };
        let outside = self.api.network_named(outside).await?;
        if let Some(ours) = self.addresses_of(relocation, name).await?.first() {
            if ours.port_id.as_deref() != Some(port.id.as_str()) {
                self.api.set_floating_ip(&ours.id, Some(&port.id), &ours.description).await?;
            }
            return Ok(());
        }
        let free = self.api.floating_ips().await?.into_iter().find(|floating| {
            // One with a description is meant for something.
            floating.port_id.is_none()
                && floating.description.is_empty()
                && floating.floating_network_id == outside.id
        });
        match free {
            Some(free) => {
                let description = tag::description(relocation, &format!("{LENT} {name}"));
                self.api.set_floating_ip(&free.id, Some(&port.id), &description).await
            }
            None => {
                let description = tag::description(relocation, &format!("{NEW} {name}"));
                self.api.make_floating_ip(&outside.id, &port.id, &description).await.map(drop)
            }
        }
    }

    pub(super) async fn take_address_back(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<(), Error> {
        let lent = tag::description(relocation, &format!("{LENT} {name}"));
        for floating in self.addresses_of(relocation, name).await? {
            if floating.description == lent {
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

pub(super) fn is_address(description: &str, relocation: RelocationId, name: &InstanceName) -> bool {
    [NEW, LENT].iter().any(|role| description == tag::description(relocation, &format!("{role} {name}")))
}
