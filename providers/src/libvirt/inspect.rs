//! The instance as it stands: its XML, what its images say, and where it answers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use fluidcloud_proto::ids::InstanceName;
use fluidcloud_proto::topology::{Concern, Disk, DiskPlace, Instance, Power, Severity};
use roxmltree::Document;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error as VirtError;
use virt::sys;

use super::describe::{self, Attached, Source};
use super::images::{self, Image};
use super::{LibvirtProvider, concerns, lifecycle, room};
use crate::error::Error;

/// What libvirt alone can say.
struct Seen {
    xml: String,
    power: Power,
    persistent: bool,
    autostart: bool,
    /// Disks and network cards that it has only while it runs, or only once it is started again.
    differs: Vec<String>,
    /// Its memory lies saved on disk.
    saved: bool,
    snapshots: u32,
    /// Paths of pool volumes among its disks, in order.
    volumes: Vec<String>,
}

impl LibvirtProvider {
    pub(super) async fn describe_instance(&self, instance: &InstanceName) -> Result<Instance, Error> {
        let name = instance.to_string();
        let seen =
            self.connection.call(format!("inspect `{name}`"), move |connect| see(connect, &name)).await?;
        let seen = seen.ok_or_else(|| self.unknown(instance))?;
        let (described, mut found) = {
            let domain = Document::parse(&seen.xml).map_err(|cause| self.not_understood(instance, cause))?;
            (describe::describe(&domain), concerns::of_domain(instance.as_str(), &domain))
        };
        let mut volumes = seen.volumes.iter();
        let places: Vec<DiskPlace> = described
            .disks
            .iter()
            .map(|disk| {
                let path = match &disk.source {
                    Source::Path(path) => path.clone(),
                    Source::Volume { .. } => volumes.next().cloned().unwrap_or_default(),
                };
                DiskPlace { path, format: disk.format }
            })
            .collect();
        let looked = images::look(&*self.site, &places).await?;
        let mut disks = Vec::new();
        for ((attached, place), image) in described.disks.into_iter().zip(places).zip(looked) {
            of_image(instance, &attached, &image, &mut found);
            disks.push(disk(attached, place, &image));
        }
        of_state(instance, &seen, &mut found);
        let addresses = match seen.power {
            Power::Running => self.find_addresses(instance).await?,
            Power::Stopped | Power::Other => Vec::new(),
        };
        found.sort_by_key(|concern| std::cmp::Reverse(concern.severity));
        Ok(Instance {
            name: instance.clone(),
            power: seen.power,
            autostart: seen.autostart,
            machine: described.machine,
            firmware: described.firmware,
            vcpus: described.vcpus,
            memory_bytes: described.memory_bytes,
            disks,
            nics: described.nics,
            addresses,
            concerns: found,
            settings: None,
        })
    }

    /// The guest's agent knows best, then who leased them, then who was heard of.
    pub(super) async fn find_addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        let name = instance.to_string();
        let found = self.connection.call(format!("ask for addresses of `{name}`"), move |connect| {
            let Some(domain) = room::find(connect, &name)? else { return Ok(None) };
            if !domain.is_active()? {
                return Ok(Some(Vec::new()));
            }
            let sources = [
                sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT,
                sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE,
                sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP,
            ];
            // A source that cannot answer, such as an agent that is not there, has no addresses.
            let told = sources.into_iter().map(|source| from_source(&domain, source).unwrap_or_default());
            Ok(Some(told.into_iter().find(|addresses| !addresses.is_empty()).unwrap_or_default()))
        });
        found.await?.ok_or_else(|| self.unknown(instance))
    }

    fn not_understood(&self, instance: &InstanceName, cause: roxmltree::Error) -> Error {
        let what = format!("read the definition of `{instance}`");
        Error::Driver { provider: self.id.to_string(), what, cause: cause.into() }
    }
}

fn from_source(domain: &Domain, source: u32) -> Result<Vec<IpAddr>, VirtError> {
    let mut found = Vec::new();
    for interface in domain.interface_addresses(source, 0)? {
        for address in interface.addrs.iter().filter_map(|address| address.addr.parse::<IpAddr>().ok()) {
            let local = match address {
                IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
                IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local(),
            };
            if !local && !found.contains(&address) {
                found.push(address);
            }
        }
    }
    Ok(found)
}

fn see(connect: &Connect, name: &str) -> Result<Option<Seen>, VirtError> {
    let Some(domain) = room::find(connect, name)? else { return Ok(None) };
    let xml = domain.xml_desc(0)?;
    let mut volumes = Vec::new();
    if let Ok(parsed) = Document::parse(&xml) {
        for disk in describe::describe(&parsed).disks {
            if let Source::Volume { .. } = disk.source {
                volumes.push(room::path_of(connect, disk.source)?);
            }
        }
    }
    let persistent = domain.is_persistent()?;
    Ok(Some(Seen {
        power: lifecycle::power_of(&domain)?,
        persistent,
        // One that is not persistent cannot.
        autostart: persistent && lifecycle::autostart_of(&domain)?,
        differs: differs(&domain, &xml)?,
        saved: domain.has_managed_save(0)?,
        snapshots: domain.num_snapshots(0)?,
        xml,
        volumes,
    }))
}

/// What was attached or detached only now, or only for the next start: a move cannot be right about both.
fn differs(domain: &Domain, live: &str) -> Result<Vec<String>, VirtError> {
    let defined = domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE)?;
    let (live, defined) = (attached(live), attached(&defined));
    Ok(live.symmetric_difference(&defined).cloned().collect())
}

fn attached(xml: &str) -> BTreeSet<String> {
    let Ok(xml) = Document::parse(xml) else { return BTreeSet::new() };
    let described = describe::describe(&xml);
    let disks = described.disks.iter().map(|disk| match &disk.source {
        Source::Path(path) => format!("disk {} ({path})", disk.name),
        Source::Volume { pool, volume } => format!("disk {} ({pool}/{volume})", disk.name),
    });
    let nics = described.nics.iter().map(|nic| format!("network card {}", nic.mac));
    disks.chain(nics).collect()
}

fn disk(attached: Attached, place: DiskPlace, image: &Image) -> Disk {
    let Attached { name, role, bus, guest_device, .. } = attached;
    let (size_bytes, allocated_bytes) = (image.size_bytes, image.allocated_bytes);
    Disk { name, role, bus, guest_device, size_bytes, allocated_bytes, place, volume_type: None }
}

fn of_image(instance: &InstanceName, disk: &Attached, image: &Image, found: &mut Vec<Concern>) {
    let subject = format!("{instance}/{}", disk.name);
    let mut add = |severity, message: String, remedy: &str| {
        found.push(concerns::concern(severity, &subject, message, remedy))
    };
    if !image.backing_files.is_empty() {
        let message = format!(
            "it lies on {} backing file(s); the target gets one whole disk",
            image.backing_files.len()
        );
        add(Severity::Information, message, "nothing: what the guest sees is the same");
    }
    if image.snapshots > 0 {
        let message = format!("{} snapshot(s) inside its image do not move", image.snapshots);
        add(Severity::Warning, message, "keep the source until you need none of them");
    }
    if image.encrypted {
        let remedy = "convert it to an image without encryption first";
        add(Severity::Critical, "its image is encrypted by the host".to_owned(), remedy);
    }
}

fn of_state(instance: &InstanceName, seen: &Seen, found: &mut Vec<Concern>) {
    let mut add = |severity, message: &str, remedy: &str| {
        found.push(concerns::concern(severity, instance.as_str(), message, remedy));
    };
    if !seen.persistent {
        let remedy = "define it (`virsh dumpxml NAME >f; virsh define f`) before it moves";
        add(Severity::Critical, "it vanishes when it is stopped: it could not be started again", remedy);
    }
    if !seen.differs.is_empty() {
        let message = format!(
            "what it has now is not what it has when it is started again: {}",
            seen.differs.join(", ")
        );
        let remedy = "attach or detach that with `--persistent`, or restart it, so that both are the same";
        add(Severity::Critical, &message, remedy);
    }
    if seen.saved {
        let remedy = "start it and shut it down, or drop the saved state with `virsh managedsave-remove`";
        add(Severity::Critical, "its memory lies saved on disk and would be lost", remedy);
    }
    if seen.snapshots > 0 {
        let remedy = "keep the source until you need none of them";
        add(Severity::Warning, "its snapshots do not move", remedy);
    }
    if seen.power == Power::Other {
        let remedy = "resume it or shut it down first";
        let message = "it is neither running nor stopped: it would be forced off and lose its memory";
        add(Severity::Critical, message, remedy);
    }
}
