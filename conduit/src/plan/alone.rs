//! The steps of what moves without an instance. All of it moves while the service runs; a container once more after its stop,
//! as the service may have written to it until then.

use fluidcloud_proto::alone::disk_of;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::plan::{MigratorKind, StepId};
use fluidcloud_proto::request::{Component, RelocationRequest};
use fluidcloud_proto::topology::Topology;

use super::Planner;

impl Planner<'_> {
    /// Returns the steps that must be done before the service stops.
    pub(super) fn alone(&mut self, request: &RelocationRequest) -> Vec<StepId> {
        let mut early = Vec::new();
        for component in request.service.components.iter().filter(|component| component.is_alone()) {
            let name = &component.name;
            let mut after = vec![StepId::Reserve];
            if component.volume.is_some() {
                let prepare = StepId::Prepare(disk_of(name));
                let runs = self.at_target(MigratorKind::Image);
                self.add(prepare.clone(), after, runs);
                after = vec![prepare];
            }
            let runs = self.at_target(kind(component));
            self.add(moved(component), after, runs);
            early.push(moved(component));
        }
        early
    }

    /// What is still to come once the service has stopped. Returns these steps.
    pub(super) fn catch_up(&mut self, request: &RelocationRequest, stopped: &[StepId]) -> Vec<StepId> {
        let mut late = Vec::new();
        if stopped.is_empty() {
            return late;
        }
        for component in request.service.components.iter().filter(|component| component.container.is_some()) {
            let recopy = StepId::Recopy(component.name.clone());
            let mut after = vec![moved(component)];
            after.extend(stopped.iter().cloned());
            let runs = self.at_target(MigratorKind::Object);
            self.add(recopy.clone(), after, runs);
            late.push(recopy);
        }
        late
    }
}

/// By which it is at the target; once more after the stop of the service, if there is one.
pub(super) fn arrived(component: &Component, with_instances: bool) -> Option<StepId> {
    match component.is_alone() {
        true if component.container.is_some() && with_instances => {
            Some(StepId::Recopy(component.name.clone()))
        }
        true => Some(moved(component)),
        false => None,
    }
}

fn moved(component: &Component) -> StepId {
    match component.volume {
        Some(_) => StepId::Sync(disk_of(&component.name)),
        None => StepId::Copy(component.name.clone()),
    }
}

fn kind(component: &Component) -> MigratorKind {
    if component.volume.is_some() { MigratorKind::Image } else { MigratorKind::Object }
}

/// Each was found.
pub(super) fn check(request: &RelocationRequest, topology: &Topology) -> Result<(), Failure> {
    for component in request.service.components.iter().filter(|component| component.is_alone()) {
        let name: &ComponentName = &component.name;
        let found = topology.volume(name).is_some()
            || topology.image(name).is_some()
            || topology.container(name).is_some();
        if !found {
            let message = format!("component {name} was not found at {}", topology.provider);
            return Err(Failure::never(Code::UnknownInstance, message, "check its `id`"));
        }
    }
    Ok(())
}
