//! Reserve, freeze, create, commit and tidy.

use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::topology::{DiskRole, Power};
use fluidcloud_providers::{InstanceOrder, Reservation};
use tokio_util::sync::CancellationToken;

use super::{Scene, call, halted};
use crate::relocation::Done;

impl Scene<'_> {
    pub(super) async fn reserve(&self) -> Result<Done, Failure> {
        let relocation = self.relocation;
        let topology = relocation.topology.as_ref();
        let instances =
            || topology.iter().flat_map(|topology| &topology.instances).map(|placed| &placed.instance);
        let reservation = Reservation {
            relocation: relocation.id,
            instances: relocation
                .moving()
                .map(|(_, wanted)| crate::relocation::target_name(wanted).clone())
                .collect(),
            vcpus: instances().map(|instance| instance.vcpus).sum(),
            memory_bytes: instances().map(|instance| instance.memory_bytes).sum(),
            disk_bytes: instances()
                .flat_map(|instance| &instance.disks)
                .map(|disk| disk.allocated_bytes)
                .sum(),
        };
        call("the reservation", self.target.reserve(&reservation)).await?;
        Ok(Done::Reserved)
    }

    pub(super) async fn freeze(&self, component: &ComponentName) -> Result<Done, Failure> {
        let name = self.source_name(component)?;
        let power = call("the look at the source", self.source.power(name)).await?;
        if power == Power::Running && !self.relocation.ran_before(component) {
            return Err(self.started_meanwhile(component));
        }
        call("the stop of the source", self.source.stop(name, self.shutdown_grace(component))).await?;
        Ok(Done::Frozen)
    }

    fn shutdown_grace(&self, component: &ComponentName) -> Duration {
        let mut moving = self.relocation.moving();
        let secs = moving.find(|(name, _)| *name == component).map_or(0, |(_, asked)| asked.shutdown_secs);
        Duration::from_secs(secs)
    }

    pub(super) async fn create(&self, component: &ComponentName) -> Result<Done, Failure> {
        let relocation = self.relocation;
        let found = &relocation.placed(component)?.instance;
        let name = self.target_name(component)?.clone();
        let mut disks = relocation.disks_at_target(component, false)?;
        let root = found.disks.iter().find(|disk| disk.role == DiskRole::Root).map(|disk| &disk.name);
        disks.sort_by_key(|disk| Some(&disk.disk.disk) != root);
        let order = InstanceOrder {
            relocation: relocation.id,
            name: name.clone(),
            vcpus: found.vcpus,
            memory_bytes: found.memory_bytes,
            firmware: found.firmware,
            disks: disks.into_iter().map(|disk| (disk.disk, disk.place)).collect(),
            nics: found.nics.clone(),
            note: format!(
                "relocated from {} at {} by FluidCloud ({})",
                found.name, relocation.request.service.provider, relocation.id
            ),
        };
        call("the creation of the instance", self.target.create_instance(&order)).await?;
        Ok(Done::Created { instance: name })
    }

    /// Every source is stopped and every target runs: only then the sources are marked as moved away.
    pub(super) async fn commit(&self, halt: &CancellationToken) -> Result<Done, Failure> {
        for (component, _) in self.relocation.moving() {
            self.source_is_stopped(component).await?;
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
        let relocation = self.relocation.id;
        for disk in self.disks()? {
            if self.relocation.is_staging(&disk)? {
                call("the removal of a staging disk", self.target.delete_disk(relocation, &disk)).await?;
            }
        }
        call("the tidying of the target", self.target.settle(relocation)).await?;
        call("the tidying of the source", self.source.settle(relocation)).await?;
        Ok(Done::Tidied)
    }

    /// Two with the same identity must never run: looked at before each step that lets the target run or stay.
    pub(super) async fn source_is_stopped(&self, component: &ComponentName) -> Result<(), Failure> {
        let name = self.source_name(component)?;
        match call("the look at the source", self.source.power(name)).await? {
            Power::Stopped => Ok(()),
            Power::Running | Power::Other => Err(self.started_meanwhile(component)),
        }
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
        Ok(disks)
    }
}
