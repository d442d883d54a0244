//! Addresses outside of an instance: floating IPs of the project that are free, or new ones. One that was free before is
//! given back, not released.

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::request::FloatingIp;

use super::OpenstackProvider;
use super::networks::{FloatingIp as FloatingIpFound, Port};
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
        let decided = order.launched.address;
        if decided == Some(FloatingIp::None) {
            return Ok(());
        }
        let ports = self.defined_ports(order.relocation, &order.name).await?;
        for (at, (nic, port)) in order.nics.iter().zip(&ports).enumerate() {
            let first = at == 0 && (to_all || decided.is_some());
            if first || (as_before && !nic.floating.is_empty()) {
                self.give_address(order, at, port).await?;
            }
        }
        Ok(())
    }

    /// Once for a port, however often it is asked for.
    async fn give_address(&self, order: &InstanceOrder, at: usize, port: &Port) -> Result<(), Error> {
        let (relocation, name) = (order.relocation, &order.name);
        let role = |role: &str| tag::description(relocation, &role_of(role, name, at));
        let outside = self.outside_of_addresses().await?;
        let all = self.api.floating_ips().await?;
        let ours = all.iter().find(|floating| [NEW, LENT].iter().any(|it| floating.description == role(it)));
        if let Some(ours) = ours {
            if ours.port_id.as_deref() != Some(port.id.as_str()) {
                self.api.set_floating_ip(&ours.id, Some(&port.id), &ours.description).await?;
            }
            return Ok(());
        }
        match self.lend(&all, &outside, &role(LENT)).await? {
            Some(lent) => self.api.set_floating_ip(&lent.id, Some(&port.id), &lent.description).await,
            None => self.api.make_floating_ip(&outside, Some(&port.id), &role(NEW)).await.map(drop),
        }
    }

    /// One of those that nothing uses, and that nobody else has taken meanwhile.
    pub(super) async fn lend(
        &self,
        all: &[FloatingIpFound],
        outside: &str,
        description: &str,
    ) -> Result<Option<FloatingIpFound>, Error> {
        for free in free_ones(all, outside) {
            let described = self.api.describe_floating_ip(free, description).await;
            let Some(now) = super::api::absent(described)? else { continue };
            match (now.description == description, &now.port_id) {
                (true, None) => return Ok(Some(now)),
                // Somebody connected it in the same moment: it is theirs, whatever they change.
                (true, Some(_)) => {
                    let theirs = FloatingIpFound { revision_number: None, ..now };
                    self.api.describe_floating_ip(&theirs, "").await?;
                }
                (false, _) => (),
            }
        }
        Ok(None)
    }

    async fn outside_of_addresses(&self) -> Result<String, Error> {
        match &self.config.floating_network {
            Some(name) => Ok(self.api.network_named(name).await?.id),
            None => self.outside(None, &self.here().await?),
        }
    }

    /// The address that was decided for an instance is its from now on, so that nobody else takes it before it is there.
    /// Answers the address, its id, and whether it is a new one.
    pub(super) async fn hold_address(
        &self,
        relocation: RelocationId,
        instance: &InstanceName,
        wanted: FloatingIp,
    ) -> Result<Option<(FloatingAddress, bool)>, Error> {
        let role = |role: &str| tag::description(relocation, &role_of(role, instance, 0));
        if wanted == FloatingIp::None {
            return Ok(None);
        }
        let all = self.api.floating_ips().await?;
        for (held_as, new) in [(NEW, true), (LENT, false)] {
            if let Some(ours) = all.iter().find(|floating| floating.description == role(held_as)) {
                return Ok(Some((FloatingAddress::of(ours), new)));
            }
        }
        let outside = self.outside_of_addresses().await?;
        if wanted == FloatingIp::New {
            let made = self.api.make_floating_ip(&outside, None, &role(NEW)).await?;
            return Ok(Some((FloatingAddress::of(&made), true)));
        }
        let lent = self.lend(&all, &outside, &role(LENT)).await?.ok_or_else(|| Error::Unsupported {
            provider: self.id.to_string(),
            what: format!("give `{instance}` a free floating IP: the project has none that nothing uses"),
            remedy: "release one, or ask for a new one with `floating_ip: new`".to_owned(),
        })?;
        Ok(Some((FloatingAddress::of(&lent), false)))
    }

    /// Those that are held for instances which did not come to be.
    pub(super) async fn give_up_addresses(&self, relocation: RelocationId) -> Result<(), Error> {
        for floating in self.api.floating_ips_of(relocation).await? {
            if floating.port_id.is_none() && is_for_instance(&floating.description, relocation) {
                self.give_up(relocation, &floating).await?;
            }
        }
        Ok(())
    }

    async fn give_up(&self, relocation: RelocationId, floating: &FloatingIpFound) -> Result<(), Error> {
        if !floating.description.starts_with(&tag::description(relocation, LENT)) {
            return self.api.delete_floating_ip(&floating.id).await;
        }
        match floating.port_id {
            Some(_) => self.api.set_floating_ip(&floating.id, None, "").await,
            None => self.api.describe_floating_ip(floating, "").await.map(drop),
        }
    }

    pub(super) async fn take_address_back(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<(), Error> {
        for floating in self.addresses_of(relocation, name).await? {
            self.give_up(relocation, &floating).await?;
        }
        Ok(())
    }

    async fn addresses_of(
        &self,
        relocation: RelocationId,
        name: &InstanceName,
    ) -> Result<Vec<FloatingIpFound>, Error> {
        let mut all = self.api.floating_ips_of(relocation).await?;
        all.retain(|floating| is_address(&floating.description, relocation, name));
        Ok(all)
    }
}

/// What is told of one that is held.
#[derive(Clone, Debug)]
pub(super) struct FloatingAddress {
    pub id: String,
    pub address: String,
}

impl FloatingAddress {
    fn of(found: &FloatingIpFound) -> Self {
        Self { id: found.id.clone(), address: found.floating_ip_address.clone() }
    }
}

/// One with a description is meant for something.
fn free_ones<'a>(all: &'a [FloatingIpFound], outside: &'a str) -> impl Iterator<Item = &'a FloatingIpFound> {
    all.iter().filter(move |floating| {
        floating.port_id.is_none()
            && floating.description.is_empty()
            && floating.floating_network_id == outside
    })
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

/// Whichever that is.
pub(super) fn is_for_instance(description: &str, relocation: RelocationId) -> bool {
    [NEW, LENT].iter().any(|role| description.starts_with(&tag::description(relocation, &format!("{role} "))))
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
