//! The dry run: the plan with what it will move and about how long it will take, and on what assumption. Reads the
//! source's provider and changes nothing.

use std::collections::BTreeMap;

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::plan::{Plan, StepId};
use fluidcloud_proto::request::{Cutover, RelocationRequest};
use fluidcloud_proto::topology::{Concern, Topology};
use fluidcloud_providers::Registry;
use serde::Serialize;

use crate::relocation::{folds_into, moving};
use crate::runner::inspect::inspect;
use crate::web::Web;

/// When nothing was measured between two sites: what one disk gets on a 1 Gbit/s link.
pub const ASSUMED_BYTES_PER_SEC: u64 = 100 << 20;
/// What the steps that move no bytes usually take, in seconds.
const QUICK_SECS: f64 = 1.0;
const FURNISH_SECS: f64 = 15.0;
const REHEARSE_SECS: f64 = 20.0;
const FREEZE_SECS: f64 = 20.0;
const ADAPT_SECS: f64 = 90.0;
const FOLD_SECS: f64 = 30.0;
const REWRITE_SECS: f64 = 20.0;
const VERIFY_SECS: f64 = 60.0;
const SNAPSHOT_SECS: f64 = 30.0;
/// Most storage clones at once.
const SET_ASIDE_SECS: f64 = 5.0;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    pub plan: Plan,
    pub steps: Vec<PreviewStep>,
    /// What the source's storage holds, and so what is read and sent at most.
    pub bytes_to_move: u64,
    /// The sizes the guests see.
    pub bytes_total: u64,
    /// Along the longest chain of steps: what can go side by side does.
    pub estimated_seconds: f64,
    /// From the stop of the source to the end of the verification, along the longest chain.
    pub estimated_downtime_seconds: f64,
    pub rate: Rate,
    /// How the estimate came about, for people.
    pub assumptions: Vec<String>,
    pub concerns: Vec<Concern>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PreviewStep {
    pub id: StepId,
    pub name: String,
    pub after: Vec<StepId>,
    /// Bytes the step reads and writes; zero for those that move none.
    pub bytes: u64,
    pub seconds: f64,
}

/// Bytes per second of one disk, and where the number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
pub enum Rate {
    Assumed {
        bytes_per_sec: u64,
    },
    Measured {
        bytes_per_sec: u64,
    },
    /// By the request's own limit, which is lower.
    Limited {
        bytes_per_sec: u64,
    },
}

impl Rate {
    pub fn bytes_per_sec(self) -> u64 {
        match self {
            Self::Assumed { bytes_per_sec }
            | Self::Measured { bytes_per_sec }
            | Self::Limited { bytes_per_sec } => bytes_per_sec,
        }
    }

    fn of(request: &RelocationRequest, measured: Option<u64>) -> Self {
        let rate = match measured {
            Some(bytes_per_sec) => Self::Measured { bytes_per_sec },
            None => Self::Assumed { bytes_per_sec: ASSUMED_BYTES_PER_SEC },
        };
        match request.transport.rate_bytes_per_sec {
            Some(limit) if limit < rate.bytes_per_sec() => Self::Limited { bytes_per_sec: limit },
            _ => rate,
        }
    }

    fn told(self) -> String {
        let mib = self.bytes_per_sec() as f64 / f64::from(1 << 20);
        match self {
            Self::Assumed { .. } => format!("{mib:.1} MiB/s per disk, assumed: nothing was measured yet"),
            Self::Measured { .. } => format!("{mib:.1} MiB/s per disk, measured between these sites"),
            Self::Limited { .. } => format!("{mib:.1} MiB/s per disk, the limit of the request"),
        }
    }
}

/// Inspects the source and previews the move to `target`. What `fluidcloud plan` shows.
pub async fn dry_run(
    registry: &Registry,
    web: &dyn Web,
    request: &RelocationRequest,
    target: &ProviderId,
    measured_bytes_per_sec: Option<u64>,
) -> Result<Preview, Failure> {
    let provider = registry.get(target).map_err(|error| error.to_failure())?;
    let source = registry.get(&request.service.provider).map_err(|error| error.to_failure())?;
    super::suits(request, &*source, &*provider)?;
    let topology = inspect(registry, web, request).await?;
    let plan = super::for_target(request, &topology, &*provider)?;
    Ok(of_plan(plan, request, &topology, measured_bytes_per_sec))
}

/// The same from a topology that is known already. Pure.
pub fn preview(
    request: &RelocationRequest,
    topology: &Topology,
    target: &ProviderId,
    measured_bytes_per_sec: Option<u64>,
) -> Result<Preview, Failure> {
    Ok(of_plan(super::make(request, topology, target)?, request, topology, measured_bytes_per_sec))
}

/// The same of a plan that is made already. Pure.
pub fn of_plan(
    plan: Plan,
    request: &RelocationRequest,
    topology: &Topology,
    measured_bytes_per_sec: Option<u64>,
) -> Preview {
    let rate = Rate::of(request, measured_bytes_per_sec);
    let steps: Vec<PreviewStep> = plan
        .steps
        .iter()
        .map(|step| {
            let bytes = bytes_of(&step.id, topology);
            let seconds = seconds_of(&step.id, bytes, rate);
            PreviewStep {
                name: step.id.to_string(),
                id: step.id.clone(),
                after: step.after.clone(),
                bytes,
                seconds,
            }
        })
        .collect();
    let lone = || topology.volumes.iter().map(|volume| &volume.found.disk);
    let disks = || topology.instances.iter().flat_map(|placed| &placed.instance.disks).chain(lone());
    let images = topology.images.iter().map(|image| image.found.size_bytes);
    let copied: u64 = images.chain(topology.containers.iter().map(|container| container.found.bytes)).sum();
    Preview {
        bytes_to_move: disks().map(|disk| disk.allocated_bytes).sum::<u64>() + copied,
        bytes_total: disks().map(|disk| disk.size_bytes).sum::<u64>() + copied,
        estimated_seconds: longest(&steps, |_| true),
        estimated_downtime_seconds: longest(&steps, |id| !is_early(id, topology) && !is_late(id)),
        rate,
        assumptions: assumptions(request, rate),
        concerns: topology.all_concerns().cloned().collect(),
        steps,
        plan,
    }
}

/// What the plan reckons with for each step, before anything of it is done.
#[derive(Debug)]
pub(crate) struct Estimates<'a> {
    topology: &'a Topology,
    rate: Rate,
}

impl<'a> Estimates<'a> {
    /// With nothing measured.
    pub(crate) fn of(request: &RelocationRequest, topology: &'a Topology) -> Self {
        Self { topology, rate: Rate::of(request, None) }
    }

    pub(crate) fn seconds(&self, step: &StepId) -> f64 {
        seconds_of(step, bytes_of(step, self.topology), self.rate)
    }
}

fn bytes_of(step: &StepId, topology: &Topology) -> u64 {
    match step {
        StepId::Sync(id) if topology.volume(&id.component).is_some() => {
            topology.volume(&id.component).map_or(0, |volume| volume.disk.allocated_bytes)
        }
        StepId::Copy(name) => {
            let container = topology.container(name).map(|container| container.bytes);
            container.or(topology.image(name).map(|image| image.size_bytes)).unwrap_or(0)
        }
        StepId::Sync(id) | StepId::Fold(id) => topology
            .placed(&id.component)
            .and_then(|placed| placed.instance.disk(&id.disk))
            .map_or(0, |disk| disk.allocated_bytes),
        StepId::KeepImage(name) => topology
            .placed(name)
            .and_then(|placed| placed.instance.root())
            .map_or(0, |disk| disk.allocated_bytes),
        _ => 0,
    }
}

fn seconds_of(step: &StepId, bytes: u64, rate: Rate) -> f64 {
    let moving = bytes as f64 / rate.bytes_per_sec().max(1) as f64;
    match step {
        StepId::Sync(_) | StepId::Copy(_) => QUICK_SECS + moving,
        // Within one site: both ends are its own storage.
        StepId::Fold(_) => FOLD_SECS + bytes as f64 / ASSUMED_BYTES_PER_SEC as f64,
        StepId::Furnish => FURNISH_SECS,
        StepId::Rehearse(_) => REHEARSE_SECS,
        StepId::Freeze(_) => FREEZE_SECS,
        StepId::Adapt(_) => ADAPT_SECS,
        StepId::Rewrite(_) => REWRITE_SECS,
        StepId::Verify(_) => VERIFY_SECS,
        StepId::Snapshot(_) => SNAPSHOT_SECS,
        StepId::SetAside(_) => SET_ASIDE_SECS,
        StepId::KeepImage(_) => QUICK_SECS + moving,
        _ => QUICK_SECS,
    }
}

fn is_early(step: &StepId, topology: &Topology) -> bool {
    match step {
        StepId::Reserve
        | StepId::Furnish
        | StepId::Rehearse(_)
        | StepId::Address(_)
        | StepId::Observe(_)
        | StepId::Prepare(_)
        | StepId::Copy(_) => true,
        StepId::Sync(disk) => topology.volume(&disk.component).is_some(),
        _ => false,
    }
}

fn is_late(step: &StepId) -> bool {
    // Snapshot and image are made beside what the service waits for.
    matches!(step, StepId::Commit | StepId::Tidy | StepId::Snapshot(_) | StepId::KeepImage(_))
}

/// Seconds of the longest chain through the steps that count.
fn longest(steps: &[PreviewStep], counts: impl Fn(&StepId) -> bool) -> f64 {
    let mut ends: BTreeMap<&StepId, f64> = BTreeMap::new();
    for step in steps {
        let begins = step.after.iter().filter_map(|after| ends.get(after)).fold(0.0_f64, |a, b| a.max(*b));
        let takes = if counts(&step.id) { step.seconds } else { 0.0 };
        ends.insert(&step.id, begins + takes);
    }
    ends.values().fold(0.0, |a, b| a.max(*b))
}

fn assumptions(request: &RelocationRequest, rate: Rate) -> Vec<String> {
    let mut told = vec![
        rate.told(),
        "all allocated bytes are counted; holes, zeros and what compresses are not sent".to_owned(),
        "steps inside the guest are counted with usual times; a slow host takes longer".to_owned(),
    ];
    if request.cutover == Cutover::Manual {
        told.push(
            "the source stops only when that is approved; how long that takes is not counted".to_owned(),
        );
    }
    for (name, wanted) in moving(request) {
        for volume in wanted.volumes.iter().filter(|volume| folds_into(wanted, &volume.disk).is_some()) {
            told.push(format!(
                "volume {} of {name} becomes a directory of its root file system",
                volume.disk
            ));
        }
    }
    told
}
