//! The contract on the simulated cloud. Every call counts, may be made to fail before or after its work, and takes
//! effect at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::furniture::{Furnished, FurnitureKind};
use fluidcloud_proto::ids::{DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::status::Capacity;
use fluidcloud_proto::surroundings::{Settings, Surroundings};
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{Disk, DiskFormat, DiskPlace, DiskRole, Instance, Nic, Power};
use fluidcloud_proto::usage::Usage;
use time::OffsetDateTime;

use super::cloud::{Cloud, DiskImage, Held, Kept};
use super::usage::used;
use super::{MemoryProvider, Op, lock};
use crate::error::Error;
use crate::furnishing::Furnishing;
use crate::image_store::ImageStore;
use crate::keepsakes::Keepsakes;
use crate::object_store::ObjectStore;
use crate::provider::{DiskOrder, InstanceOrder, Launched, Made, Period, Provider, Reservation, Stopped};
use crate::site::Site;
use crate::volumes::Volumes;

impl MemoryProvider {
    pub(super) fn call<T>(
        &self,
        op: Op,
        subject: impl ToString,
        work: impl FnOnce(&mut Cloud) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let lost = lock(&self.faults).call(self.id.as_str(), op, subject.to_string())?;
        let done = work(&mut lock(&self.cloud))?;
        lost.map_or(Ok(done), Err)
    }

    pub(super) fn unknown(&self, instance: &InstanceName) -> Error {
        Error::UnknownInstance { provider: self.id.to_string(), instance: instance.to_string() }
    }

    fn held<'a>(&self, cloud: &'a mut Cloud, instance: &InstanceName) -> Result<&'a mut Held, Error> {
        cloud.instances.get_mut(instance).ok_or_else(|| self.unknown(instance))
    }

    pub(super) fn taken(&self, name: impl ToString) -> Error {
        Error::NameTaken { provider: self.id.to_string(), name: name.to_string() }
    }

    fn room(&self, place: &str, needed: u64, free: u64) -> Result<(), Error> {
        if needed <= free {
            return Ok(());
        }
        Err(Error::NoRoom { provider: self.id.to_string(), place: place.to_owned(), needed, free })
    }

    pub(super) fn path(&self, relocation: RelocationId, disk: &DiskId, format: DiskFormat) -> String {
        let ending = if format == DiskFormat::Raw { "raw" } else { "qcow2" };
        format!("/pool/fluidcloud-{relocation}-{}-{}.{ending}", disk.component, disk.disk)
    }

    /// As it gives them.
    fn nic(&self, ordered: &Nic, order: &InstanceOrder) -> Nic {
        let network = order.furnished.find(FurnitureKind::Network, &ordered.network);
        Nic {
            mac: ordered.mac.clone(),
            model: self.hardware.nic.clone(),
            network: network.map_or("default", |network| network.target.as_str()).to_owned(),
            addresses: Vec::new(),
            floating: Vec::new(),
            security_groups: order.launched.security_group.iter().cloned().collect(),
        }
    }

    fn turn(&self, cloud: &mut Cloud, instance: &InstanceName, power: Power) -> Result<(), Error> {
        let held = self.held(cloud, instance)?;
        if held.power == power {
            return Ok(());
        }
        held.power = power;
        match power {
            Power::Running => self.witness.started(&self.id, instance, &held.macs()),
            Power::Stopped | Power::Other => self.witness.stopped(&self.id, instance, &held.macs()),
        }
        Ok(())
    }
}

#[async_trait]
impl Provider for MemoryProvider {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn driver(&self) -> &'static str {
        "memory"
    }

    fn hardware(&self) -> &Hardware {
        &self.hardware
    }

    fn site(&self) -> Option<Arc<dyn Site>> {
        None
    }

    async fn capacity(&self) -> Result<Capacity, Error> {
        self.call(Op::Capacity, "", |cloud| Ok(cloud.free()))
    }

    async fn instances(&self) -> Result<Vec<(InstanceName, Power)>, Error> {
        self.call(Op::Instances, "", |cloud| {
            Ok(cloud.instances.iter().map(|(name, held)| (name.clone(), held.power)).collect())
        })
    }

    async fn inspect(&self, instance: &InstanceName) -> Result<Instance, Error> {
        self.call(Op::Inspect, instance, |cloud| {
            let held = self.held(cloud, instance)?.clone();
            Ok(describe(instance, &held, cloud, &self.hardware))
        })
    }

    async fn power(&self, instance: &InstanceName) -> Result<Power, Error> {
        self.call(Op::Power, instance, |cloud| Ok(self.held(cloud, instance)?.power))
    }

    async fn start(&self, instance: &InstanceName) -> Result<(), Error> {
        self.call(Op::Start, instance, |cloud| self.turn(cloud, instance, Power::Running))
    }

    async fn stop(&self, instance: &InstanceName, _grace: Duration) -> Result<Stopped, Error> {
        self.call(Op::Stop, instance, |cloud| {
            let held = self.held(cloud, instance)?;
            if held.power != Power::Stopped {
                held.stopped = if held.deaf { Stopped::Forced } else { Stopped::Clean };
            }
            let stopped = held.stopped;
            self.turn(cloud, instance, Power::Stopped)?;
            Ok(stopped)
        })
    }

    async fn disks_stamp(&self, instance: &InstanceName) -> Result<Option<String>, Error> {
        self.call(Op::DisksStamp, instance, |cloud| {
            let held = self.held(cloud, instance)?.clone();
            let written =
                held.disks.iter().filter_map(|(_, place)| Some(cloud.disks.get(&place.path)?.written));
            Ok(Some(written.map(|count| count.to_string()).collect::<Vec<_>>().join(" ")))
        })
    }

    async fn keep_source(
        &self,
        instance: &InstanceName,
        relocation: RelocationId,
        note: &str,
    ) -> Result<(), Error> {
        self.call(Op::KeepSource, instance, |cloud| {
            let held = self.held(cloud, instance)?;
            let autostart = held.autostart || held.kept.as_ref().is_some_and(|kept| kept.autostart);
            held.kept = Some(Kept { relocation, autostart });
            held.autostart = false;
            held.note = note.to_owned();
            Ok(())
        })
    }

    async fn is_kept(&self, instance: &InstanceName, relocation: RelocationId) -> Result<bool, Error> {
        self.call(Op::IsKept, instance, |cloud| {
            let kept = self.held(cloud, instance)?.kept.as_ref();
            Ok(kept.is_some_and(|kept| kept.relocation == relocation))
        })
    }

    async fn release_source(&self, instance: &InstanceName, relocation: RelocationId) -> Result<(), Error> {
        self.call(Op::ReleaseSource, instance, |cloud| {
            let held = self.held(cloud, instance)?;
            if let Some(kept) = held.kept.take_if(|kept| kept.relocation == relocation) {
                held.autostart = kept.autostart;
                held.note.clear();
            }
            Ok(())
        })
    }

    async fn reserve(&self, wanted: &Reservation) -> Result<(), Error> {
        self.call(Op::Reserve, wanted.relocation, |cloud| {
            for name in &wanted.instances {
                if cloud.instances.get(name).is_some_and(|held| held.made_for != Some(wanted.relocation)) {
                    return Err(self.taken(name));
                }
            }
            let free = cloud.free();
            self.room("memory", wanted.memory_bytes, free.memory_bytes)?;
            self.room("storage", wanted.disk_bytes, free.disk_bytes)?;
            if wanted.vcpus > free.vcpus {
                return Err(Error::Unsupported {
                    provider: self.id.to_string(),
                    what: format!("give {} processors, it has {}", wanted.vcpus, free.vcpus),
                    remedy: "choose another target".to_owned(),
                });
            }
            Ok(())
        })
    }

    async fn surroundings(&self, instances: &[InstanceName]) -> Result<Surroundings, Error> {
        self.call(Op::Surroundings, "", |cloud| {
            let known = instances.iter().any(|name| cloud.instances.contains_key(name));
            Ok(if known { cloud.surroundings.clone() } else { Surroundings::default() })
        })
    }

    fn furnishes(&self) -> bool {
        true
    }

    fn decides(&self) -> bool {
        true
    }

    async fn furnish(&self, order: &Furnishing) -> Result<Furnished, Error> {
        self.call(Op::Furnish, order.relocation, |cloud| cloud.furnish(self.id.as_str(), order))
    }

    async fn unfurnish(&self, relocation: RelocationId) -> Result<(), Error> {
        self.call(Op::Unfurnish, relocation, |cloud| {
            cloud.unfurnish(relocation);
            Ok(())
        })
    }

    async fn create_disk(&self, order: &DiskOrder) -> Result<DiskPlace, Error> {
        self.call(Op::CreateDisk, &order.disk, |cloud| {
            let format = if order.staging { DiskFormat::Raw } else { self.hardware.format };
            let path = self.path(order.relocation, &order.disk, format);
            let tag = Some((order.relocation, order.disk.clone()));
            match cloud.disks.get(&path) {
                Some(disk) if disk.made_for == tag && disk.bytes.len() as u64 == order.size_bytes => (),
                Some(_) => return Err(self.taken(path)),
                None => {
                    let size = usize::try_from(order.size_bytes).unwrap_or(usize::MAX);
                    self.room(
                        "storage",
                        order.expected_bytes.max(order.size_bytes),
                        cloud.free().disk_bytes,
                    )?;
                    cloud
                        .disks
                        .insert(path.clone(), DiskImage { made_for: tag, bytes: vec![0; size], written: 0 });
                }
            }
            Ok(DiskPlace { path, format })
        })
    }

    async fn delete_disk(&self, relocation: RelocationId, disk: &DiskId) -> Result<(), Error> {
        self.call(Op::DeleteDisk, disk, |cloud| {
            for format in [DiskFormat::Raw, DiskFormat::Qcow2] {
                let path = self.path(relocation, disk, format);
                if let Some(user) = cloud.instances.iter().find(|(_, held)| held.has_disk(&path)) {
                    self.witness.record(format!("{}: deleted `{path}`, a disk of `{}`", self.id, user.0));
                }
                cloud.disks.remove(&path);
                cloud.scraps.retain(|scrap, _| !scrap.starts_with(&format!("{path}.")));
            }
            Ok(())
        })
    }

    fn holds_addresses(&self) -> bool {
        true
    }

    async fn hold_addresses(&self, order: &InstanceOrder) -> Result<Vec<Nic>, Error> {
        self.call(Op::HoldAddresses, &order.name, |cloud| {
            match cloud.instances.get(&order.name) {
                Some(held) if held.made_for == Some(order.relocation) => (),
                Some(_) => return Err(self.taken(&order.name)),
                None => {
                    cloud.scraps.insert(held_addresses(order.relocation, &order.name), order.relocation);
                }
            }
            Ok(order
                .nics
                .iter()
                .map(|nic| Nic { addresses: address(nic).into_iter().collect(), ..self.nic(nic, order) })
                .collect())
        })
    }

    async fn release_addresses(
        &self,
        relocation: RelocationId,
        instance: &InstanceName,
    ) -> Result<(), Error> {
        self.call(Op::ReleaseAddresses, instance, |cloud| {
            cloud.scraps.remove(&held_addresses(relocation, instance));
            Ok(())
        })
    }

    async fn create_instance(&self, order: &InstanceOrder) -> Result<(), Error> {
        self.call(Op::CreateInstance, &order.name, |cloud| {
            match cloud.instances.get(&order.name) {
                Some(held) if held.made_for == Some(order.relocation) => return Ok(()),
                Some(_) => return Err(self.taken(&order.name)),
                None => (),
            }
            if let Some((_, place)) =
                order.disks.iter().find(|(_, place)| !cloud.disks.contains_key(&place.path))
            {
                let cause = format!("there is no disk `{}`", place.path).into();
                return Err(Error::Driver {
                    provider: self.id.to_string(),
                    what: format!("define `{}`", order.name),
                    cause,
                });
            }
            let held = Held {
                made_for: Some(order.relocation),
                kept: None,
                power: Power::Stopped,
                autostart: false,
                will_autostart: order.autostart,
                deaf: false,
                stopped: Stopped::Clean,
                vcpus: order.vcpus,
                memory_bytes: order.memory_bytes,
                firmware: order.firmware,
                disks: order.disks.iter().map(|(disk, place)| (disk.disk.clone(), place.clone())).collect(),
                nics: order.nics.iter().map(|nic| self.nic(nic, order)).collect(),
                launched: order.launched.clone(),
                concerns: Vec::new(),
                note: order.note.clone(),
                made_at: OffsetDateTime::now_utc(),
            };
            cloud.scraps.remove(&held_addresses(order.relocation, &order.name));
            cloud.instances.insert(order.name.clone(), held);
            Ok(())
        })
    }

    async fn delete_instance(&self, relocation: RelocationId, instance: &InstanceName) -> Result<(), Error> {
        self.call(Op::DeleteInstance, instance, |cloud| {
            if cloud.instances.get(instance).is_none_or(|held| held.made_for != Some(relocation)) {
                return Ok(());
            }
            self.turn(cloud, instance, Power::Stopped)?;
            cloud.instances.remove(instance);
            Ok(())
        })
    }

    async fn settle(&self, relocation: RelocationId) -> Result<(), Error> {
        self.call(Op::Settle, relocation, |cloud| {
            cloud.settle(relocation);
            for held in cloud.instances.values_mut().filter(|held| held.made_for == Some(relocation)) {
                held.autostart |= held.will_autostart;
            }
            Ok(())
        })
    }

    async fn addresses(&self, instance: &InstanceName) -> Result<Vec<IpAddr>, Error> {
        self.call(Op::Addresses, instance, |cloud| Ok(addresses(self.held(cloud, instance)?)))
    }

    async fn usage(&self, instances: &[InstanceName], period: Period) -> Result<Usage, Error> {
        self.call(Op::Usage, "", |cloud| {
            if let Some(unknown) = instances.iter().find(|name| !cloud.instances.contains_key(name)) {
                return Err(self.unknown(unknown));
            }
            let asked = |name: &InstanceName| instances.is_empty() || instances.contains(name);
            let held = cloud.instances.iter().filter(|(name, _)| asked(name));
            let to = period.to.unwrap_or_else(OffsetDateTime::now_utc);
            let rows = held.filter_map(|(name, held)| used(name, held, cloud, period.from, to)).collect();
            Ok(Usage::new(self.id.clone(), period.from, to, rows))
        })
    }

    async fn made_for(&self, relocation: RelocationId) -> Result<Vec<Made>, Error> {
        self.call(Op::MadeFor, relocation, |cloud| {
            let ours = |disk: &DiskImage| disk.made_for.as_ref().is_some_and(|(id, _)| *id == relocation);
            let disks = cloud.disks.iter().filter(|(_, disk)| ours(disk));
            let scraps = cloud.scraps.iter().filter(|(_, owner)| **owner == relocation);
            let instances = cloud.instances.iter().filter(|(_, held)| held.made_for == Some(relocation));
            let mut made: Vec<_> = disks.map(|(path, _)| Made::Disk { path: path.clone() }).collect();
            made.extend(instances.map(|(name, _)| Made::Instance { name: name.clone() }));
            let images = cloud.shelf.images.iter();
            let images =
                images.filter(|held| held.made_for.as_ref().is_some_and(|(id, ..)| *id == relocation));
            made.extend(images.map(|held| Made::Image { name: held.image.name.clone() }));
            let kept = cloud.shelf.kept.iter().filter(|held| held.relocation == relocation);
            made.extend(kept.map(super::keepsakes::KeptHeld::made));
            made.extend(scraps.map(|(path, _)| Made::Scrap { path: path.clone() }));
            made.extend(cloud.furniture_of(relocation).map(|what| Made::Furniture { what }));
            Ok(made)
        })
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

fn describe(name: &InstanceName, held: &Held, cloud: &Cloud, hardware: &Hardware) -> Instance {
    let family = if hardware.disk_bus == "virtio" { "vd" } else { "sd" };
    let disks = held.disks.iter().zip('a'..='z').enumerate().map(|(at, ((disk, place), letter))| {
        let bytes = cloud.disks.get(&place.path).map(|image| image.bytes.as_slice()).unwrap_or_default();
        Disk {
            name: disk.clone(),
            role: if at == 0 { DiskRole::Root } else { DiskRole::Volume },
            bus: hardware.disk_bus.clone(),
            guest_device: format!("/dev/{family}{letter}"),
            size_bytes: bytes.len() as u64,
            allocated_bytes: bytes.iter().filter(|byte| **byte != 0).count() as u64,
            place: place.clone(),
            volume_type: None,
        }
    });
    Instance {
        name: name.clone(),
        power: held.power,
        autostart: held.autostart || held.kept.as_ref().is_some_and(|kept| kept.autostart),
        machine: hardware.machine.clone(),
        firmware: held.firmware,
        vcpus: held.vcpus,
        memory_bytes: held.memory_bytes,
        disks: disks.collect(),
        nics: nics(held),
        addresses: addresses(held),
        concerns: held.concerns.clone(),
        settings: settings(held),
    }
}

/// Only what was decided: it has no such things of its own.
fn settings(held: &Held) -> Option<Box<Settings>> {
    let launched = &held.launched;
    (*launched != Launched::default()).then(|| {
        Box::new(Settings {
            keypair: launched.keypair.clone(),
            security_groups: launched.security_group.iter().cloned().collect(),
            ..Settings::default()
        })
    })
}

fn addresses(held: &Held) -> Vec<IpAddr> {
    nics(held).into_iter().take(1).flat_map(|nic| nic.addresses).collect()
}

/// With the addresses that they have while it runs.
fn nics(held: &Held) -> Vec<Nic> {
    let runs = held.power == Power::Running;
    let nic =
        |nic: &Nic| Nic { addresses: address(nic).filter(|_| runs).into_iter().collect(), ..nic.clone() };
    held.nics.iter().map(nic).collect()
}

/// From the last three bytes of the hardware address, so that the same guest has the same one.
fn address(nic: &Nic) -> Option<IpAddr> {
    let bytes: Vec<u8> = nic.mac.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
    match bytes[..] {
        [_, _, _, a, b, c] => Some(IpAddr::V4(Ipv4Addr::new(10, a, b, c))),
        _ => None,
    }
}

/// Where it is noted that they are kept for an instance.
fn held_addresses(relocation: RelocationId, instance: &InstanceName) -> String {
    format!("/addresses/{relocation}/{instance}")
}
