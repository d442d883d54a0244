//! Reserve, freeze, create, commit and tidy.

use std::collections::BTreeSet;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::topology::{DiskPlace, DiskRole, Instance, Power};
use fluidcloud_providers::{InstanceOrder, Reservation};
use tokio_util::sync::CancellationToken;

use super::{Scene, call, halted};
use crate::relocation::Done;

impl Scene<'_> {
    pub(super) async fn reserve(&self) -> Result<Done, Failure> {
        let relocation = self.relocation;
        let need = relocation.need()?;
        let names = relocation.moving().map(|(_, wanted)| crate::relocation::target_name(wanted).clone());
        // What is set aside for an image is a disk for a while.
        let aside = relocation.moving().filter(|(_, wanted)| wanted.image.is_some()).count();
        let reservation = Reservation {
            relocation: relocation.id,
            instances: names.collect(),
            vcpus: need.vcpus,
            memory_bytes: need.memory_bytes,
            disk_bytes: need.disk_bytes,
            disks: u32::try_from(self.disks()?.len() + aside).unwrap_or(u32::MAX),
            sizes: self.sizes()?,
            networks: self.untold_networks()?,
        };
        call("the reservation", self.target.reserve(&reservation)).await?;
        self.reserve_alone().await?;
        self.reserve_kept().await?;
        Ok(Done::Reserved)
    }

    pub(super) async fn freeze(&self, component: &ComponentName) -> Result<Done, Failure> {
        let name = self.source_name(component)?;
        let power = call("the look at the source", self.source.power(name)).await?;
        match power {
            Power::Running if !self.relocation.ran_before(component) => {
                return Err(self.started_meanwhile(component));
            }
            // Not stopped only to be started again.
            Power::Running => self.is_what_was_inspected(component).await?,
            Power::Stopped => (),
            Power::Other => return Err(self.neither(component)),
        }
        // First the mark: whatever happens to its host from now on, it does not start by itself.
        self.hold(component).await?;
        let stop = self.source.stop(name, self.shutdown_grace(component));
        let stopped = call("the stop of the source", stop).await?;
        self.is_what_was_inspected(component).await?;
        let stamp = call("the look at the source's disks", self.source.disks_stamp(name)).await?;
        Ok(Done::Frozen { stopped, stamp })
    }

    /// A disk that was attached, detached or put elsewhere since the inspection, such as by a snapshot: what would be
    /// copied is not what the instance has.
    async fn is_what_was_inspected(&self, component: &ComponentName) -> Result<(), Failure> {
        let found = &self.relocation.placed(component)?.instance;
        let now = call("the look at the source", self.source.inspect(self.source_name(component)?)).await?;
        let has = |instance: &Instance| -> BTreeSet<String> {
            let disks = instance.disks.iter();
            let disks = disks
                .map(|disk| format!("disk {} ({}, {} bytes)", disk.name, disk.place.path, disk.size_bytes));
            disks.chain(instance.nics.iter().map(|nic| format!("network card {}", nic.mac))).collect()
        };
        let (before, after) = (has(found), has(&now));
        let changed: Vec<String> = before.symmetric_difference(&after).cloned().collect();
        if changed.is_empty() {
            return Ok(());
        }
        let source = &self.relocation.request.service.provider;
        let message = format!(
            "the source of component {component} at {source} was changed since it was inspected: {}",
            changed.join(", ")
        );
        Err(Failure::never(
            Code::SourceChanged,
            message,
            "request it again, and leave it as it is until it has moved",
        ))
    }

    /// Marks the source as being moved.
    pub(super) async fn hold(&self, component: &ComponentName) -> Result<(), Failure> {
        let (name, id) = (self.source_name(component)?, self.relocation.id);
        let note = format!("being moved to {} at {}", self.target_name(component)?, self.target_id);
        call("the marking of the source", self.source.keep_source(name, id, &note)).await
    }

    fn shutdown_grace(&self, component: &ComponentName) -> Duration {
        let mut moving = self.relocation.moving();
        let secs = moving.find(|(name, _)| *name == component).map_or(0, |(_, asked)| asked.shutdown_secs);
        Duration::from_secs(secs)
    }

    pub(super) async fn create(&self, component: &ComponentName) -> Result<Done, Failure> {
        let relocation = self.relocation;
        let found = &relocation.placed(component)?.instance;
        let mut disks = relocation.disks_at_target(component, false)?;
        let root = found.disks.iter().find(|disk| disk.role == DiskRole::Root).map(|disk| &disk.name);
        disks.sort_by_key(|disk| Some(&disk.disk.disk) != root);
        let order = self.order(component, disks.into_iter().map(|disk| (disk.disk, disk.place)).collect())?;
        call("the creation of the instance", self.target.create_instance(&order)).await?;
        Ok(Done::Created { instance: order.name })
    }

    /// Its addresses at the target, which others are told.
    pub(super) async fn address(&self, component: &ComponentName) -> Result<Done, Failure> {
        let order = self.order(component, Vec::new())?;
        let nics = call("the settling of addresses", self.target.hold_addresses(&order)).await?;
        if nics.first().is_none_or(|nic| nic.addresses.is_empty()) {
            let message =
                format!("component {component} gets no address from its network at {}", self.target_id);
            let remedy = "give that network a subnet, or write a name instead of `{{address:…}}`";
            return Err(Failure::never(Code::InvalidRequest, message, remedy));
        }
        Ok(Done::Addressed { nics })
    }

    fn order(
        &self,
        component: &ComponentName,
        disks: Vec<(DiskId, DiskPlace)>,
    ) -> Result<InstanceOrder, Failure> {
        let relocation = self.relocation;
        let found = &relocation.placed(component)?.instance;
        Ok(InstanceOrder {
            relocation: relocation.id,
            name: self.target_name(component)?.clone(),
            vcpus: found.vcpus,
            memory_bytes: found.memory_bytes,
            firmware: found.firmware,
            disks,
            nics: found.nics.clone(),
            settings: found.settings.clone(),
            furnished: relocation.furnished().cloned().unwrap_or_default(),
            launched: self.launched(component, relocation.component(component)?),
            autostart: found.autostart,
            note: format!(
                "relocated from {} at {} by FluidCloud ({})",
                found.name, relocation.request.service.provider, relocation.id
            ),
        })
    }

    /// Every source is stopped and every target runs: only then the sources are marked as moved away.
    pub(super) async fn commit(&self, halt: &CancellationToken) -> Result<Done, Failure> {
        self.volumes_are_untouched().await?;
        for (component, _) in self.relocation.moving() {
            self.source_is_untouched(component).await?;
            let name = self.target_name(component)?;
            if call("the look at the target", self.target.power(name)).await? != Power::Running {
                let message = format!("instance {name} at {} stopped after it was verified", self.target_id);
                return Err(Failure::never(Code::CheckFailed, message, "see its console for the reason"));
            }
        }
        for (component, wanted) in self.relocation.moving() {
            if halt.is_cancelled() {
                return Err(halted());
            }
            let note = format!("moved to {} at {}", self.target_name(component)?, self.target_id);
            let keep = self.source.keep_source(&wanted.id, self.relocation.id, &note);
            call("the keeping of the source", keep).await?;
        }
        Ok(Done::Committed)
    }

    pub(super) async fn tidy(&self) -> Result<Done, Failure> {
        // Parts of what was to stay are of no use.
        for step in self.relocation.given_up() {
            match &step.id {
                StepId::Snapshot(component) => self.undo_snapshot(component).await?,
                StepId::KeepImage(component) => self.undo_keep_image(component).await?,
                _ => (),
            }
        }
        // Side by side, each to its end: what fails at one side is no reason to leave anything at the other.
        let at_source = call("the tidying of the source", self.source.settle(self.relocation.id));
        let (target, source) = futures::future::join(self.tidy_target(), at_source).await;
        target.and(source).map(|()| Done::Tidied)
    }

    async fn tidy_target(&self) -> Result<(), Failure> {
        let relocation = self.relocation.id;
        // First what matters should the rest fail: that the target starts with its host.
        call("the tidying of the target", self.target.settle(relocation)).await?;
        self.name_volumes().await?;
        for disk in self.disks()? {
            if self.relocation.is_staging(&disk)? {
                call("the removal of a staging disk", self.target.delete_disk(relocation, &disk)).await?;
            }
        }
        Ok(())
    }

    /// Two with the same identity must never run: looked at before each step that lets the target run or stay.
    /// And what was copied must still be all that there is.
    pub(super) async fn source_is_untouched(&self, component: &ComponentName) -> Result<(), Failure> {
        let name = self.source_name(component)?;
        if call("the look at the source", self.source.power(name)).await? != Power::Stopped {
            return Err(self.started_meanwhile(component));
        }
        let Some(frozen) = self.relocation.stamp(component) else { return Ok(()) };
        let stamp = call("the look at the source's disks", self.source.disks_stamp(name)).await?;
        if stamp.as_deref() == Some(frozen) {
            return Ok(());
        }
        let source = &self.relocation.request.service.provider;
        let message = format!(
            "the disks of component {component} at {source} were written to after it was stopped for the move"
        );
        let remedy = "leave it alone until the relocation has ended, and request it again";
        Err(Failure::never(Code::SourceChanged, message, remedy))
    }

    fn neither(&self, component: &ComponentName) -> Failure {
        let source = &self.relocation.request.service.provider;
        let message = format!(
            "the source of component {component} at {source} neither runs nor is off: paused, or crashed"
        );
        Failure::never(Code::SourceChanged, message, "resume it or stop it, and request the relocation again")
    }

    fn started_meanwhile(&self, component: &ComponentName) -> Failure {
        let source = &self.relocation.request.service.provider;
        let message = format!("the source of component {component} at {source} was started during the move");
        Failure::never(
            Code::SourceChanged,
            message,
            "leave it alone until the relocation has ended, and request it again",
        )
    }

    /// Every disk of every component that moves.
    pub(super) fn disks(&self) -> Result<Vec<DiskId>, Failure> {
        let mut disks = Vec::new();
        for (component, _) in self.relocation.moving() {
            for disk in &self.relocation.placed(component)?.instance.disks {
                disks.push(DiskId { component: component.clone(), disk: disk.name.clone() });
            }
        }
        disks.extend(self.lone_disks());
        Ok(disks)
    }
}
