//! From a step to the task a migrator gets: everything in it comes from the log, so the task handed out again after
//! a crash is the same one.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::plan::{Runner, StepId};
use fluidcloud_proto::request::{InstanceComponent, RewriteRule, placeholder};
use fluidcloud_proto::task::{
    AdaptGuest, FoldVolume, GuestDisk, Hardware, PrepareDisk, RehearseGuest, RewriteConfig, SyncDisk, Task,
    TaskKey, Work,
};
use fluidcloud_proto::topology::{Disk, DiskPlace, Placed};

use super::{Done, Relocation, Step, folds_into};
use crate::plan::rehearsal::rehearsal;

impl Relocation {
    /// The task of a step that a migrator runs, under the step's epoch.
    pub fn task(&self, step: &Step, lease_secs: u64) -> Result<Task, Failure> {
        let Runner::Migrator { kind, site } = &step.runs else {
            return Err(amiss(format!("step `{}` is the conduit's own", step.id)));
        };
        let key = TaskKey { relocation: self.id, step: step.id.clone(), epoch: step.epoch };
        Ok(Task { key, kind: *kind, site: site.clone(), lease_secs, work: self.work(&step.id)? })
    }

    fn work(&self, step: &StepId) -> Result<Work, Failure> {
        match step {
            StepId::Prepare(disk) => {
                let found = self.disk(disk)?;
                Ok(Work::PrepareDisk(PrepareDisk {
                    disk: disk.clone(),
                    source: Some(self.request.service.provider.clone()),
                    size_bytes: found.size_bytes,
                    expected_bytes: found.allocated_bytes,
                    staging: self.is_staging(disk)?,
                    volume_type: found.volume_type.clone(),
                }))
            }
            StepId::Sync(disk) => {
                let found = self.disk(disk)?;
                Ok(Work::SyncDisk(SyncDisk {
                    disk: disk.clone(),
                    size_bytes: found.size_bytes,
                    source: self.request.service.provider.clone(),
                    from: found.place.clone(),
                    to: self.place_at_target(disk)?,
                    transport: self.request.transport.clone(),
                }))
            }
            StepId::Adapt(component) => Ok(Work::AdaptGuest(AdaptGuest {
                disks: self.disks_at_target(component, true)?,
                nics: self.placed(component)?.instance.nics.clone(),
                hardware: self.hardware_at_target()?,
            })),
            StepId::Copy(component) | StepId::Recopy(component) => self.copy(component),
            StepId::Fold(volume) => self.fold(volume),
            StepId::Rehearse(component) => Ok(Work::RehearseGuest(self.rehearsal(component)?)),
            StepId::Rewrite(component) => Ok(Work::RewriteConfig(RewriteConfig {
                disks: self.disks_at_target(component, false)?,
                rules: self.rules(component)?,
            })),
            other => Err(amiss(format!("step `{other}` is no task"))),
        }
    }

    fn rehearsal(&self, component: &ComponentName) -> Result<RehearseGuest, Failure> {
        let (wanted, found) = (self.component(component)?, &self.placed(component)?.instance);
        Ok(rehearsal(component, wanted, found, &self.hardware_at_target()?))
    }

    /// With the addresses that they ask for.
    fn rules(&self, component: &ComponentName) -> Result<Vec<RewriteRule>, Failure> {
        let rules = self.component(component)?.rewrite.iter();
        let filled = rules.map(|rule| placeholder::fill(rule, |name| self.address_of(name)));
        filled
            .collect::<Result<_, _>>()
            .map_err(|name| amiss(format!("the address of component {name} is not known")))
    }

    /// Of one that stays, where its URL leads; of one that moves, the first address of its first network card.
    fn address_of(&self, component: &ComponentName) -> Option<String> {
        let all = &self.request.service.components;
        let asked = all.iter().find(|asked| asked.name == *component)?;
        if let Some(stays) = &asked.stays {
            return Some(stays.host().to_owned());
        }
        let Some(Done::Addressed { nics }) = &self.step(&StepId::Address(component.clone()))?.output else {
            return None;
        };
        let addresses = &nics.first()?.addresses;
        // The older kind, which every program reads.
        let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
        first.map(ToString::to_string)
    }

    fn hardware_at_target(&self) -> Result<Hardware, Failure> {
        self.hardware.clone().ok_or_else(|| amiss("there is no target yet".to_owned()))
    }

    fn fold(&self, volume: &DiskId) -> Result<Work, Failure> {
        let component = &volume.component;
        let into = folds_into(self.component(component)?, &volume.disk)
            .ok_or_else(|| amiss(format!("disk {volume} is not folded into anything")))?;
        let root = self
            .placed(component)?
            .instance
            .root()
            .ok_or_else(|| amiss(format!("component {component} has no root disk")))?;
        let root = self.guest_disk(component, root, false)?;
        let volume = self.guest_disk(component, self.disk(volume)?, true)?;
        Ok(Work::FoldVolume(FoldVolume { volume, root, into: into.to_owned() }))
    }

    /// Root first; staging disks only where a later step must still see them.
    pub(crate) fn disks_at_target(
        &self,
        component: &ComponentName,
        with_staging: bool,
    ) -> Result<Vec<GuestDisk>, Failure> {
        let mut disks = Vec::new();
        for disk in &self.placed(component)?.instance.disks {
            let id = DiskId { component: component.clone(), disk: disk.name.clone() };
            let staging = self.is_staging(&id)?;
            if with_staging || !staging {
                disks.push(self.guest_disk(component, disk, staging)?);
            }
        }
        Ok(disks)
    }

    fn guest_disk(
        &self,
        component: &ComponentName,
        disk: &Disk,
        staging: bool,
    ) -> Result<GuestDisk, Failure> {
        let id = DiskId { component: component.clone(), disk: disk.name.clone() };
        let place = self.place_at_target(&id)?;
        Ok(GuestDisk { disk: id, place, guest_device: disk.guest_device.clone(), staging })
    }

    fn place_at_target(&self, disk: &DiskId) -> Result<DiskPlace, Failure> {
        self.prepared(disk).cloned().ok_or_else(|| amiss(format!("disk {disk} is not prepared")))
    }

    pub(crate) fn is_staging(&self, disk: &DiskId) -> Result<bool, Failure> {
        if self.lone_disk(disk).is_some() {
            return Ok(false);
        }
        Ok(folds_into(self.component(&disk.component)?, &disk.disk).is_some())
    }

    pub(crate) fn placed(&self, component: &ComponentName) -> Result<&Placed, Failure> {
        self.topology
            .as_ref()
            .and_then(|topology| topology.placed(component))
            .ok_or_else(|| amiss(format!("component {component} was not inspected")))
    }

    pub(crate) fn component(&self, component: &ComponentName) -> Result<&InstanceComponent, Failure> {
        self.moving()
            .find(|(name, _)| *name == component)
            .map(|(_, instance)| instance)
            .ok_or_else(|| amiss(format!("component {component} does not move")))
    }

    /// Of a volume that moves alone.
    fn lone_disk(&self, disk: &DiskId) -> Option<&Disk> {
        let volume = self.topology.as_ref()?.volume(&disk.component)?;
        (volume.disk.name == disk.disk).then_some(&volume.disk)
    }

    fn disk(&self, disk: &DiskId) -> Result<&Disk, Failure> {
        if let Some(lone) = self.lone_disk(disk) {
            return Ok(lone);
        }
        self.placed(&disk.component)?
            .instance
            .disk(&disk.disk)
            .ok_or_else(|| amiss(format!("disk {disk} was not inspected")))
    }
}

pub(super) fn amiss(message: String) -> Failure {
    Failure::never(Code::Internal, message, "report this with the relocation's log")
}
