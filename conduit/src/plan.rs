//! From topology and request to the plan: a DAG of steps, always the same for the same input. Independent disks and
//! components go side by side; nothing of the source is touched before everything that can fail early has passed.

mod alone;
mod keep;
pub mod preview;
pub mod rehearsal;
#[cfg(test)]
mod tests;

use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId, ProviderId};
use fluidcloud_proto::plan::{MigratorKind, Plan, PlannedStep, Runner, StepId};
use fluidcloud_proto::request::{InstanceComponent, RelocationRequest};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::{Instance, Power, Topology};
use fluidcloud_providers::Provider;

use crate::relocation::{folds_into, moving};

/// The plan, or what in the request does not fit what was found.
pub fn make(request: &RelocationRequest, topology: &Topology, target: &ProviderId) -> Result<Plan, Failure> {
    let mut planner = Planner { target, steps: Vec::new() };
    let parts = parts(request, topology)?;
    alone::check(request, topology)?;
    planner.add(StepId::Reserve, Vec::new(), Runner::Conduit);
    let mut early = planner.before_the_freeze(request, &parts);
    let mut arrived = planner.alone(request);
    early.extend(arrived.iter().cloned());
    let mut kept = Vec::new();
    for part in &parts {
        planner.freeze_and_move(part, &parts, &early);
        kept.extend(planner.keep(part));
    }
    let stopped: Vec<StepId> = parts.iter().map(|part| StepId::Freeze(part.name.clone())).collect();
    arrived.extend(planner.catch_up(request, &stopped));
    for part in &parts {
        let mut after = vec![part.ready()];
        after.extend(part.needs.iter().map(|needed| StepId::Verify((*needed).clone())));
        after.extend(part.needs_alone.iter().cloned());
        planner.add(StepId::Verify(part.name.clone()), after, Runner::Conduit);
    }
    let mut verified: Vec<StepId> = parts.iter().map(|part| StepId::Verify(part.name.clone())).collect();
    verified.extend(arrived);
    planner.add(StepId::Commit, verified, Runner::Conduit);
    kept.push(StepId::Commit);
    planner.add(StepId::Tidy, kept, Runner::Conduit);
    let steps = sorted(planner.steps)?;
    Ok(Plan { source: topology.provider.clone(), target: target.clone(), steps })
}

/// Whether both ends can do what only some providers can, or what to ask for instead.
pub fn suits(
    request: &RelocationRequest,
    source: &dyn Provider,
    target: &dyn Provider,
) -> Result<(), Failure> {
    keep::suits(request, source, target)?;
    match request.addressed().first() {
        Some(component) if !target.holds_addresses() => {
            let message = format!(
                "a rewrite rule asks for the address of component {component} at {}, where nobody knows it before the \
                 guest runs",
                target.id()
            );
            let remedy = "write a name instead of `{{address:…}}` and let it lead to the new address afterwards, or choose \
                 a target that settles addresses early, such as one of driver openstack";
            Err(Failure::never(Code::InvalidRequest, message, remedy))
        }
        _ => takes_as_it_is(request, target),
    }
}

/// Where disks come as images, nothing inside a guest can be changed.
fn takes_as_it_is(request: &RelocationRequest, target: &dyn Provider) -> Result<(), Failure> {
    let changed = moving(request).find(|(_, wanted)| {
        let folds = wanted.volumes.iter().any(|volume| volume.fold_into.is_some());
        wanted.guest.is_adapt() || folds || !wanted.rewrite.is_empty()
    });
    match (changed, target.inlet()) {
        (Some((component, _)), Some(_)) => {
            let message = format!(
                "component {component} is to be changed inside, and {} takes disks only as images (`helper: none`)",
                target.id()
            );
            let remedy = "ask for `guest: as_is` without `fold_into` and `rewrite`, or describe a helper in the \
                 configuration of that provider";
            Err(Failure::never(Code::InvalidRequest, message, remedy))
        }
        _ => Ok(()),
    }
}

/// The plan for a target as its provider can: with the furnishing of what the instances stand in.
pub fn for_target(
    request: &RelocationRequest,
    topology: &Topology,
    target: &dyn Provider,
) -> Result<Plan, Failure> {
    let mut plan = make(request, topology, target.id())?;
    if target.furnishes() && (is_furnished(topology) || keep::decides(request)) {
        furnish(&mut plan);
    }
    Ok(plan)
}

fn is_furnished(topology: &Topology) -> bool {
    // What holds objects is no part of an instance's surroundings.
    let around = Surroundings { containers: Vec::new(), ..topology.surroundings.clone() };
    !around.is_empty()
}

/// After the reservation, before addresses of networks are held, and before anything of the source is touched.
fn furnish(plan: &mut Plan) {
    let Some(at) = plan.steps.iter().position(|step| step.id == StepId::Reserve) else { return };
    let needs_it = |step: &&mut PlannedStep| matches!(step.id, StepId::Freeze(_) | StepId::Address(_));
    for step in plan.steps.iter_mut().filter(needs_it) {
        step.after.push(StepId::Furnish);
    }
    let furnish = PlannedStep { id: StepId::Furnish, after: vec![StepId::Reserve], runs: Runner::Conduit };
    plan.steps.insert(at + 1, furnish);
}

/// Which workers the plan needs, each once.
pub fn workers<'a>(runners: impl Iterator<Item = &'a Runner>) -> Vec<WorkerNeed> {
    let mut needs: Vec<WorkerNeed> = runners
        .filter_map(|runs| match runs {
            Runner::Migrator { kind, site } => Some(WorkerNeed { kind: *kind, site: site.clone() }),
            Runner::Conduit => None,
        })
        .collect();
    needs.sort();
    needs.dedup();
    needs
}

/// One component that moves, as requested and as found.
struct Part<'a> {
    name: &'a ComponentName,
    wanted: &'a InstanceComponent,
    found: &'a Instance,
    /// Only components that move too.
    needs: Vec<&'a ComponentName>,
    /// By which what it needs and is no instance is there.
    needs_alone: Vec<StepId>,
    observed: bool,
}

impl Part<'_> {
    fn disks(&self) -> impl Iterator<Item = DiskId> {
        self.found.disks.iter().map(|disk| DiskId { component: self.name.clone(), disk: disk.name.clone() })
    }

    fn folds(&self) -> impl Iterator<Item = DiskId> {
        self.disks().filter(|disk| folds_into(self.wanted, &disk.disk).is_some())
    }

    /// Whether anything is to be done inside the guest, which is then rehearsed.
    fn is_changed(&self) -> bool {
        self.wanted.guest.is_adapt() || !self.wanted.rewrite.is_empty() || self.folds().next().is_some()
    }
}

fn parts<'a>(request: &'a RelocationRequest, topology: &'a Topology) -> Result<Vec<Part<'a>>, Failure> {
    let mut parts = Vec::new();
    for (name, wanted) in moving(request) {
        let Some(placed) = topology.placed(name) else {
            let message = format!("component {name} was not found at {}", topology.provider);
            return Err(Failure::never(Code::UnknownInstance, message, "check its `instance.id`"));
        };
        let observed =
            request.verify.iter().any(|check| check.component == *name && check.http.unchanged.is_some());
        let needs = request.service.components.iter().find(|component| component.name == *name);
        let needs = needs.map(|component| component.needs.as_slice()).unwrap_or_default();
        let components = request.service.components.iter();
        let needed = components.filter(|component| needs.contains(&component.name));
        let needs_alone = needed.filter_map(|component| alone::arrived(component, true)).collect();
        let needs = needs.iter().filter(|needed| moving(request).any(|(name, _)| name == *needed)).collect();
        let part = Part { name, wanted, found: &placed.instance, needs, needs_alone, observed };
        check(&part)?;
        parts.push(part);
    }
    if parts.is_empty() && !request.service.components.iter().any(|component| component.is_alone()) {
        let message = format!("service {} has nothing to move", request.service.name);
        return Err(Failure::never(Code::InvalidRequest, message, "give a component an `instance`"));
    }
    Ok(parts)
}

fn check(part: &Part<'_>) -> Result<(), Failure> {
    let name = part.name;
    let Some(root) = part.found.root() else {
        let message = format!("instance {} of component {name} has no root disk", part.found.name);
        return Err(Failure::never(Code::GuestUnsupported, message, "give it a disk that it boots from"));
    };
    for volume in &part.wanted.volumes {
        if part.found.disk(&volume.disk).is_none() {
            let has: Vec<&str> = part.found.disks.iter().map(|disk| disk.name.as_str()).collect();
            let message =
                format!("instance {} of component {name} has no disk {}", part.found.name, volume.disk);
            let remedy = format!("name one that it has: {}", has.join(", "));
            return Err(Failure::never(Code::UnknownDisk, message, remedy));
        }
        if volume.fold_into.is_some() && volume.disk == root.name {
            let message = format!("disk {} of component {name} is its root and cannot be folded", root.name);
            return Err(Failure::never(Code::InvalidRequest, message, "fold a volume, not the root disk"));
        }
    }
    if part.observed && part.found.power != Power::Running {
        let message =
            format!("component {name} does not run, so there is no answer to hold `unchanged` against");
        let remedy = "start it first, or leave `unchanged` out of its checks";
        return Err(Failure::never(Code::InvalidRequest, message, remedy));
    }
    Ok(())
}

struct Planner<'a> {
    target: &'a ProviderId,
    steps: Vec<PlannedStep>,
}

impl Planner<'_> {
    fn add(&mut self, id: StepId, after: Vec<StepId>, runs: Runner) {
        self.steps.push(PlannedStep { id, after, runs });
    }

    fn at_target(&self, kind: MigratorKind) -> Runner {
        Runner::Migrator { kind, site: self.target.clone() }
    }

    /// What can fail while the source still runs. Returns these steps.
    fn before_the_freeze(&mut self, request: &RelocationRequest, parts: &[Part<'_>]) -> Vec<StepId> {
        let (mut early, addressed) = (Vec::new(), request.addressed());
        for part in parts {
            let mut last = StepId::Reserve;
            if part.is_changed() {
                let rehearse = StepId::Rehearse(part.name.clone());
                let site = request.service.provider.clone();
                let runs = Runner::Migrator { kind: MigratorKind::Rewrite, site };
                self.add(rehearse.clone(), vec![last], runs);
                early.push(rehearse.clone());
                last = rehearse;
            }
            // Before anything is told of it, and while the source still runs: it may be refused.
            if addressed.contains(part.name) {
                let address = StepId::Address(part.name.clone());
                self.add(address.clone(), vec![StepId::Reserve], Runner::Conduit);
                early.push(address);
            }
            if part.observed {
                let observe = StepId::Observe(part.name.clone());
                self.add(observe.clone(), vec![last], Runner::Conduit);
                early.push(observe);
            }
            for disk in part.disks() {
                let runs = self.at_target(MigratorKind::Image);
                self.add(StepId::Prepare(disk.clone()), vec![StepId::Reserve], runs);
                early.push(StepId::Prepare(disk));
            }
        }
        early
    }

    /// From the stop of the source to the definition of the target. Who needs a component stops before it does.
    fn freeze_and_move(&mut self, part: &Part<'_>, parts: &[Part<'_>], early: &[StepId]) {
        let freeze = StepId::Freeze(part.name.clone());
        let dependents = parts.iter().filter(|other| other.needs.contains(&part.name));
        let mut after = early.to_vec();
        after.extend(dependents.map(|other| StepId::Freeze(other.name.clone())));
        self.add(freeze.clone(), after, Runner::Conduit);

        let mut synced = Vec::new();
        for disk in part.disks() {
            let after = vec![freeze.clone(), StepId::Prepare(disk.clone())];
            self.add(StepId::Sync(disk.clone()), after, self.at_target(MigratorKind::Image));
            synced.push(StepId::Sync(disk));
        }
        let mut last = synced;
        if part.wanted.guest.is_adapt() {
            let adapt = StepId::Adapt(part.name.clone());
            self.add(adapt.clone(), last, self.at_target(MigratorKind::Image));
            last = vec![adapt];
        }
        for volume in part.folds() {
            let fold = StepId::Fold(volume);
            self.add(fold.clone(), last, self.at_target(MigratorKind::Volume));
            last = vec![fold];
        }
        if !part.wanted.rewrite.is_empty() {
            let rewrite = StepId::Rewrite(part.name.clone());
            self.add(rewrite.clone(), last, self.at_target(MigratorKind::Rewrite));
            last = vec![rewrite];
        }
        self.add(StepId::Create(part.name.clone()), last, Runner::Conduit);
    }
}

/// In an order that respects `after`, otherwise as they were added. What needs itself is an error, never a loop.
fn sorted(mut waiting: Vec<PlannedStep>) -> Result<Vec<PlannedStep>, Failure> {
    let mut steps: Vec<PlannedStep> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let next = waiting
            .iter()
            .position(|step| step.after.iter().all(|after| steps.iter().any(|done| done.id == *after)));
        let Some(next) = next else {
            let left: Vec<String> = waiting.iter().map(|step| step.id.to_string()).collect();
            let message = format!("components need each other in a circle (left: {})", left.join(", "));
            return Err(Failure::never(Code::InvalidRequest, message, "break the circle in `needs`"));
        };
        steps.push(waiting.remove(next));
    }
    Ok(steps)
}
