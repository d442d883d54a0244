//! Power, definition, and the marks on domains.

use std::time::{Duration, Instant};

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::{Firmware, Power};
use roxmltree::Document;
use virt::connect::Connect;
use virt::domain::{Domain, DomainState};
use virt::enumutil::Enum;
use virt::error::Error as VirtError;
use virt::sys;

use super::domain_xml::{self, Machine};
use super::tag::{self, Kept};
use super::{LibvirtProvider, accel, describe, room};
use crate::error::Error;
use crate::provider::InstanceOrder;

/// A guest that is still starting misses the power button: it is pressed again after this.
const PRESS_AGAIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a domain that is forced off may take.
const FORCED: Duration = Duration::from_secs(60);

enum Defined {
    Ours,
    Foreign,
    /// The host has no UEFI for guests.
    NoFirmware,
}

impl LibvirtProvider {
    pub(super) async fn all_instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        let all = self.connection.call("list its instances", |connect| {
            connect
                .list_all_domains(0)?
                .iter()
                .map(|domain| Ok((domain.name()?, power_of(domain)?)))
                .collect()
        });
        let all: Vec<(String, Power)> = all.await?;
        let named = |(name, power): (String, Power)| match name.parse() {
            Ok(name) => Some((name, power)),
            Err(error) => {
                tracing::warn!(provider = %self.id, %error, "an instance is left out");
                None
            }
        };
        Ok(all.into_iter().filter_map(named).collect())
    }

    /// Runs `work` on the domain.
    pub(super) async fn with_domain<T: Send + 'static>(
        &self,
        instance: &InstanceName,
        what: &str,
        work: impl Fn(&Domain) -> Result<T, VirtError> + Send + 'static,
    ) -> Result<T, Error> {
        let name = instance.to_string();
        let done = self.connection.call(format!("{what} `{name}`"), move |connect| {
            room::find(connect, &name)?.map(|domain| work(&domain)).transpose()
        });
        done.await?.ok_or_else(|| self.unknown(instance))
    }

    pub(super) async fn turn_on(&self, instance: &InstanceName) -> Result<(), Error> {
        self.with_domain(instance, "start", |domain| match power_of(domain)? {
            Power::Running => Ok(()),
            // Paused, or in the middle of being started by somebody else.
            Power::Other if domain.is_active()? => domain.resume().or_else(|error| match power_of(domain)? {
                Power::Running => Ok(()),
                Power::Stopped | Power::Other => Err(error),
            }),
            Power::Stopped | Power::Other => create(domain),
        })
        .await
    }

    pub(super) async fn turn_off(&self, instance: &InstanceName, grace: Duration) -> Result<(), Error> {
        let begun = Instant::now();
        let mut pressed: Option<Instant> = None;
        loop {
            let active = self.with_domain(instance, "look at", |domain| domain.is_active()).await;
            match active {
                Ok(true) => (),
                // One that was never defined is gone when it is off.
                Err(Error::UnknownInstance { .. }) if pressed.is_some() => return Ok(()),
                other => return other.map(drop),
            }
            if begun.elapsed() >= grace {
                return self.force_off(instance).await;
            }
            if pressed.is_none_or(|at| at.elapsed() >= PRESS_AGAIN) {
                // Through the agent if it answers, else by the power button. Refusals show in the domain going on.
                let _ = self.with_domain(instance, "shut down", |domain| domain.shutdown()).await;
                pressed = Some(Instant::now());
            }
            tokio::time::sleep(LOOK_AGAIN.min(grace.saturating_sub(begun.elapsed()))).await;
        }
    }

    async fn force_off(&self, instance: &InstanceName) -> Result<(), Error> {
        tracing::info!(provider = %self.id, %instance, "did not shut down in time and is forced off");
        let off = self.with_domain(instance, "force off", off);
        match tokio::time::timeout(FORCED, off).await {
            Ok(Err(Error::UnknownInstance { .. })) => Ok(()),
            Ok(done) => done,
            Err(_) => {
                Err(Error::TimedOut { what: format!("forcing `{instance}` off"), secs: FORCED.as_secs() })
            }
        }
    }

    pub(super) async fn define(&self, order: &InstanceOrder) -> Result<(), Error> {
        if let Some(what) = domain_xml::refuses(&self.shape, order.disks.len()) {
            return Err(Error::Config { provider: self.id.to_string(), what: format!("shape: {what}") });
        }
        let accel = accel::choose(&*self.site, self.accel).await?;
        let xml = domain_xml::write(order, &Machine { hardware: &self.shape, network: &self.network, accel });
        let (name, relocation) = (order.name.to_string(), order.relocation);
        let uefi = order.firmware == Firmware::Uefi;
        let defined = self.connection.call(format!("define `{name}`"), move |connect| {
            if let Some(domain) = room::find(connect, &name)? {
                return Ok(if is_foreign(&domain, relocation)? { Defined::Foreign } else { Defined::Ours });
            }
            match connect.define_domain_xml(&xml) {
                Ok(_) => Ok(Defined::Ours),
                // Names are unique: somebody else's came in between.
                Err(error) => match room::find(connect, &name)? {
                    Some(domain) if is_foreign(&domain, relocation)? => Ok(Defined::Foreign),
                    _ if uefi && error.message().contains("firmware") => Ok(Defined::NoFirmware),
                    _ => Err(error),
                },
            }
        });
        match defined.await? {
            Defined::Ours => Ok(()),
            Defined::Foreign => {
                Err(Error::NameTaken { provider: self.id.to_string(), name: order.name.to_string() })
            }
            Defined::NoFirmware => Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("start `{}`, which needs UEFI", order.name),
                remedy: "install the UEFI firmware for guests at its host (package ovmf)".to_owned(),
            }),
        }
    }

    pub(super) async fn undefine(
        &self,
        relocation: RelocationId,
        instance: &InstanceName,
    ) -> Result<(), Error> {
        let name = instance.to_string();
        let undefined = self.connection.call(format!("remove `{name}`"), move |connect| {
            let Some(domain) = room::find(connect, &name)? else { return Ok(()) };
            if is_foreign(&domain, relocation)? {
                return Ok(());
            }
            off(&domain)?;
            domain.undefine_flags(
                sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
                    | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
                    | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
                    | sys::VIR_DOMAIN_UNDEFINE_NVRAM,
            )
        });
        undefined.await
    }

    pub(super) async fn keep(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error> {
        let note = note.to_owned();
        self.with_domain(instance, "mark", move |domain| {
            let autostart = match marks(domain)?.1 {
                Some(kept) if kept.relocation == relocation => kept.autostart,
                _ => domain.autostart()?,
            };
            set_kept(domain, Some(&tag::kept_xml(Kept { relocation, autostart }, &note)))?;
            domain.set_autostart(false)
        })
        .await
    }

    pub(super) async fn release(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
    ) -> Result<(), Error> {
        self.with_domain(instance, "unmark", move |domain| match marks(domain)?.1 {
            Some(kept) if kept.relocation == relocation => {
                domain.set_autostart(kept.autostart)?;
                set_kept(domain, None)
            }
            _ => Ok(()),
        })
        .await
    }

    /// Instances made for this relocation, and the disks of the one it moved away from.
    pub(super) async fn marked(
        &self,
        relocation: RelocationId,
    ) -> Result<(Vec<InstanceName>, Vec<String>), Error> {
        let marked =
            self.connection.call("list what is marked", move |connect| all_marked(connect, relocation));
        let (made, kept_disks) = marked.await?;
        Ok((made.into_iter().filter_map(|name| name.parse().ok()).collect(), kept_disks))
    }
}

/// Somebody else may be quicker.
fn create(domain: &Domain) -> Result<(), VirtError> {
    domain.create().or_else(|error| if domain.is_active()? { Ok(()) } else { Err(error) })
}

pub(super) fn power_of(domain: &Domain) -> Result<Power, VirtError> {
    Ok(match domain.info()?.state {
        Enum::Known(DomainState::Running | DomainState::Blocked | DomainState::Shutdown) => Power::Running,
        Enum::Known(DomainState::Shutoff) => Power::Stopped,
        _ => Power::Other,
    })
}

/// Not made for this relocation.
pub(super) fn is_foreign(domain: &Domain, relocation: RelocationId) -> Result<bool, VirtError> {
    Ok(marks(domain)?.0 != Some(relocation))
}

/// For whom it was made, and for whom it is kept.
fn marks(domain: &Domain) -> Result<(Option<RelocationId>, Option<Kept>), VirtError> {
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
    Ok(Document::parse(&xml).map_or((None, None), |xml| (tag::made_for(&xml), tag::kept_for(&xml))))
}

fn all_marked(connect: &Connect, relocation: RelocationId) -> Result<(Vec<String>, Vec<String>), VirtError> {
    let (mut made, mut kept_disks) = (Vec::new(), Vec::new());
    for domain in connect.list_all_domains(0)? {
        // One that vanishes meanwhile is none of ours: ours are only removed by us.
        let Ok(text) = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE) else { continue };
        let Ok(xml) = Document::parse(&text) else { continue };
        if tag::made_for(&xml) == Some(relocation) {
            made.push(domain.name()?);
        }
        if tag::kept_for(&xml).is_some_and(|kept| kept.relocation == relocation) {
            let disks = describe::describe(&xml).disks.into_iter();
            for disk in disks {
                kept_disks.push(room::path_of(connect, disk.source)?);
            }
        }
    }
    Ok((made, kept_disks))
}

fn set_kept(domain: &Domain, xml: Option<&str>) -> Result<(), VirtError> {
    let kind = sys::VIR_DOMAIN_METADATA_ELEMENT as i32;
    domain.set_metadata(kind, xml, Some(tag::KEPT_KEY), Some(tag::KEPT), sys::VIR_DOMAIN_AFFECT_CONFIG)
}

fn off(domain: &Domain) -> Result<(), VirtError> {
    if !domain.is_active()? {
        return Ok(());
    }
    domain.destroy().or_else(|error| if domain.is_active()? { Err(error) } else { Ok(()) })
}
