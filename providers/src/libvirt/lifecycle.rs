//! Power, definition, and the marks on domains.

use std::time::{Duration, Instant};

use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::topology::{Firmware, Power};
use roxmltree::Document;
use virt::connect::Connect;
use virt::domain::{Domain, DomainShutoffReason, DomainState, DomainStateReason};
use virt::enumutil::Enum;
use virt::error::Error as VirtError;
use virt::sys;

use super::domain_xml::{self, Machine};
use super::tag::{self, Mark};
use super::{LibvirtProvider, accel, describe, room};
use crate::error::Error;
use crate::provider::{InstanceOrder, Stopped};
use crate::site::Command;

/// A guest that is still starting misses the power button: it is pressed again after this.
const PRESS_AGAIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long a domain that is forced off may take.
const FORCED: Duration = Duration::from_secs(60);
/// Mode, inode, size, time of the latest write, and name.
const STAMP: [&str; 3] = ["-L", "--format=%f %i %s %.9Y %n", "--"];
const STAMP_SECS: u64 = 60;
/// How the mode of a regular file begins, in hexadecimal.
const REGULAR: &str = "8";

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

    pub(super) async fn turn_off(&self, instance: &InstanceName, grace: Duration) -> Result<Stopped, Error> {
        let begun = Instant::now();
        let mut pressed: Option<Instant> = None;
        loop {
            match self.with_domain(instance, "look at", how_it_stopped).await {
                Ok(None) => (),
                Ok(Some(stopped)) => return Ok(stopped),
                // One that was never defined is gone when it is off.
                Err(Error::UnknownInstance { .. }) if pressed.is_some() => return Ok(Stopped::Unknown),
                Err(error) => return Err(error),
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

    async fn force_off(&self, instance: &InstanceName) -> Result<Stopped, Error> {
        tracing::warn!(provider = %self.id, %instance, "did not shut down in time and is forced off");
        let off = self.with_domain(instance, "force off", off);
        match tokio::time::timeout(FORCED, off).await {
            Ok(Err(Error::UnknownInstance { .. })) => Ok(Stopped::Forced),
            // It may have shut down by itself at the last moment.
            Ok(Ok(())) => {
                Ok(self.with_domain(instance, "look at", how_it_stopped).await?.unwrap_or(Stopped::Forced))
            }
            Ok(Err(error)) => Err(error),
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

    /// Times and sizes of the files that its own disks are in. Those of a block device say nothing of its content.
    pub(super) async fn stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error> {
        let name = instance.to_string();
        let paths = self.connection.call(format!("look at the disks of `{name}`"), move |connect| {
            let Some(domain) = room::find(connect, &name)? else { return Ok(None) };
            let text = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
            let Ok(xml) = Document::parse(&text) else { return Ok(Some(Vec::new())) };
            disk_paths(connect, &xml).map(Some)
        });
        let paths = paths.await?.ok_or_else(|| self.unknown(instance))?;
        if paths.is_empty() {
            return Ok(None);
        }
        let told =
            self.site.run(&Command::new("stat").args(STAMP).args(paths).timeout_secs(STAMP_SECS)).await?;
        let stamp = told.text().trim().to_owned();
        Ok(stamp.lines().all(|line| line.starts_with(REGULAR)).then_some(stamp))
    }

    pub(super) async fn keep(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error> {
        let note = note.to_owned();
        self.with_domain(instance, "mark", move |domain| {
            let autostart = autostart_of(domain)?;
            set_kept(domain, Some(&tag::kept_xml(Mark { relocation, autostart }, &note)))?;
            domain.set_autostart(false)
        })
        .await
    }

    pub(super) async fn is_marked(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
    ) -> Result<bool, Error> {
        let mark = self.with_domain(instance, "look at", |domain| Ok(marks(domain)?.1)).await?;
        Ok(mark.is_some_and(|kept| kept.relocation == relocation))
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

    /// As it was ordered when it was made. One that the move left off by itself stays so.
    pub(super) async fn let_start_by_itself(&self, instance: &InstanceName) -> Result<(), Error> {
        self.with_domain(instance, "let start by itself", |domain| {
            if marks(domain)?.0.is_some_and(|made| made.autostart) {
                domain.set_autostart(true)
            } else {
                Ok(())
            }
        })
        .await
    }
}

/// Somebody else may be quicker.
fn create(domain: &Domain) -> Result<(), VirtError> {
    domain.create().or_else(|error| if domain.is_active()? { Ok(()) } else { Err(error) })
}

/// `None`: it is not off. libvirt forgets the reason when it is restarted.
fn how_it_stopped(domain: &Domain) -> Result<Option<Stopped>, VirtError> {
    if domain.is_active()? {
        return Ok(None);
    }
    let Enum::Known(DomainStateReason::Shutoff(Enum::Known(reason))) = domain.state()?.1 else {
        return Ok(Some(Stopped::Unknown));
    };
    Ok(Some(match reason {
        DomainShutoffReason::Shutdown => Stopped::Clean,
        DomainShutoffReason::Destroyed | DomainShutoffReason::Crashed | DomainShutoffReason::Failed => {
            Stopped::Forced
        }
        _ => Stopped::Unknown,
    }))
}

/// Whether it starts with its host, or did so before a relocation put its mark on it.
pub(super) fn autostart_of(domain: &Domain) -> Result<bool, VirtError> {
    Ok(domain.autostart()? || marks(domain)?.1.is_some_and(|kept| kept.autostart))
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
    Ok(marks(domain)?.0.is_none_or(|made| made.relocation != relocation))
}

/// For whom it was made, and for whom it is kept.
fn marks(domain: &Domain) -> Result<(Option<Mark>, Option<Mark>), VirtError> {
    let xml = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
    Ok(Document::parse(&xml).map_or((None, None), |xml| (tag::made_for(&xml), tag::kept_for(&xml))))
}

fn disk_paths(connect: &Connect, xml: &Document<'_>) -> Result<Vec<String>, VirtError> {
    describe::describe(xml).disks.into_iter().map(|disk| room::path_of(connect, disk.source)).collect()
}

fn all_marked(connect: &Connect, relocation: RelocationId) -> Result<(Vec<String>, Vec<String>), VirtError> {
    let (mut made, mut kept_disks) = (Vec::new(), Vec::new());
    for domain in connect.list_all_domains(0)? {
        // One that vanishes meanwhile is none of ours: ours are only removed by us.
        let Ok(text) = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE) else { continue };
        let Ok(xml) = Document::parse(&text) else { continue };
        if tag::made_for(&xml).is_some_and(|made| made.relocation == relocation) {
            made.push(domain.name()?);
        }
        if tag::kept_for(&xml).is_some_and(|kept| kept.relocation == relocation) {
            kept_disks.extend(disk_paths(connect, &xml)?);
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
