//! The state of one relocation: the fold of its logged facts. [`Relocation::next`] is the only legality function and
//! [`due`](Relocation::due) the only source of work; both are pure (no I/O, no clock), so that live running, replay
//! after a crash and tests are the same thing.
//!
//! ```text
//! Pending -> Inspecting -> Choosing -> Planning -> Forward -> Ended(Succeeded)
//!    |           |            |           |           | failure or cancel, before Commit is done
//!    +-----------+------------+-----------+           v
//!                 Ended(Failed | Canceled)         Undoing -> Ended(Failed | RolledBack | Canceled)
//!                                                     |  ^
//!                                                     v  | RetryAsked
//!                                                    Stuck
//! ```
//!
//! What persons hold back lies across these stages ([`pause`]): a pause holds all of them until Undoing, a cutover that is not
//! approved holds the steps `freeze`.

mod alone;
mod due;
pub mod fact;
mod forward;
mod pause;
pub mod step;
mod task;
mod undo;

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{DiskId, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::offer::{Need, Offer};
use fluidcloud_proto::plan::{Plan, StepId};
use fluidcloud_proto::request::{InstanceComponent, RelocationRequest};
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::task::{Hardware, Output};
use fluidcloud_proto::topology::{DiskPlace, DiskRole, Topology};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use alone::target_name_of_volume;
pub use due::Effect;
pub use fact::{Done, Entry, Fact, Observation};
pub use pause::{ORDERS_KNOWN_MAX, Pause};
pub use step::{STEP_ATTEMPTS_MAX, STEP_ISSUES_MAX, State, Step, UNDO_ATTEMPTS_MAX, Undo};

/// Times an inspection is tried before the relocation fails.
pub const INSPECT_ATTEMPTS_MAX: u32 = 5;

#[derive(Clone, Debug, PartialEq)]
pub struct Relocation {
    pub id: RelocationId,
    pub request: Arc<RelocationRequest>,
    pub digest: String,
    /// Facts folded so far; the position of the next one in the log.
    pub seq: u64,
    pub created_at: OffsetDateTime,
    pub changed_at: OffsetDateTime,
    pub stage: Stage,
    pub topology: Option<Arc<Topology>>,
    pub target: Option<ProviderId>,
    pub hardware: Option<Hardware>,
    /// In the order of the plan.
    pub steps: Vec<Step>,
    /// Why it ended or is being undone, or what it is stuck at.
    pub failure: Option<Failure>,
    pub cancel: Cancel,
    pub pause: Pause,
    /// The sources may stop, where the request wants that to be asked.
    pub approved: bool,
    /// The latest orders to pause and to resume that were followed.
    pub orders: Vec<Uuid>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Stage {
    Pending,
    Inspecting {
        failures: u32,
        wait: Duration,
    },
    Choosing,
    Planning,
    /// Steps are carried out. `committed`: past the point of no return.
    Forward {
        committed: bool,
    },
    Undoing {
        why: Why,
    },
    Stuck {
        why: Why,
    },
    Ended {
        phase: Phase,
        at: OffsetDateTime,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    Canceled,
    Failed(Failure),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    NotAsked,
    Asked,
    /// Asked past the point of no return, and refused.
    TooLate,
}

/// A fact that cannot follow the state. Live, it is not recorded; in a log, the log is damaged.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{fact}` cannot follow fact {seq} of relocation {id}: {why}")]
pub struct Illegal {
    pub id: RelocationId,
    pub seq: u64,
    pub fact: &'static str,
    pub why: String,
}

impl Relocation {
    /// The state after the first fact of a log.
    pub fn begin(id: RelocationId, first: &Entry) -> Result<Self, Illegal> {
        let Fact::Requested { request, digest } = &first.fact else {
            let why = "a log begins with `requested`".to_owned();
            return Err(Illegal { id, seq: 0, fact: first.fact.name(), why });
        };
        if request.id != id {
            let why = format!("the request is of {}", request.id);
            return Err(Illegal { id, seq: 0, fact: first.fact.name(), why });
        }
        Ok(Self {
            id,
            request: Arc::new((**request).clone()),
            digest: digest.clone(),
            seq: 1,
            created_at: first.at,
            changed_at: first.at,
            stage: Stage::Pending,
            topology: None,
            target: None,
            hardware: None,
            steps: Vec::new(),
            failure: None,
            cancel: Cancel::NotAsked,
            pause: Pause::NotAsked,
            approved: false,
            orders: Vec::new(),
        })
    }

    /// The fold of a whole log.
    pub fn replay(id: RelocationId, log: &[Entry]) -> Result<Self, Illegal> {
        let Some((first, rest)) = log.split_first() else {
            return Err(Illegal { id, seq: 0, fact: "nothing", why: "the log is empty".to_owned() });
        };
        rest.iter().try_fold(Self::begin(id, first)?, |state, entry| state.next(entry))
    }

    /// The state after one more fact, or why it cannot be.
    pub fn next(mut self, entry: &Entry) -> Result<Self, Illegal> {
        let at = entry.at;
        match &entry.fact {
            Fact::Requested { .. } => Err("it was requested already".to_owned()),
            Fact::Admitted => self.admitted(),
            Fact::Resumed => self.resumed(),
            Fact::Refused { failure } => self.refused(failure, at),
            Fact::Inspected { topology } => self.inspected(topology, at),
            Fact::InspectionFailed { failure } => self.inspection_failed(failure, at),
            Fact::OffersMade { offers } => self.offers_made(offers, at),
            Fact::Planned { plan, hardware } => self.planned(plan, hardware),
            Fact::StepIssued { step, epoch } => self.issued(step, *epoch, at),
            Fact::StepLeased { step, epoch, worker } => self.leased(step, *epoch, worker),
            Fact::StepDone { step, epoch, output } => self.step_done(step, *epoch, output, at),
            Fact::StepFailed { step, epoch, failure, spent } => {
                self.step_failed(step, *epoch, failure, spent.as_ref(), at)
            }
            Fact::CancelAsked => self.cancel_asked(at),
            Fact::RetryAsked => self.retry_asked(at),
            Fact::CutoverApproved => self.cutover_approved(),
            Fact::PauseAsked { order } => self.pause_asked(*order, at),
            Fact::ResumeAsked { order } => self.resume_asked(*order),
            Fact::UndoBegun { step, attempt } => self.undo_begun(step, *attempt),
            Fact::UndoDone { step } => self.undo_done(step, at),
            Fact::UndoFailed { step, failure } => self.undo_failed(step, failure, at),
        }
        .map_err(|why| Illegal { id: self.id, seq: self.seq, fact: entry.fact.name(), why })?;
        self.seq += 1;
        self.changed_at = self.changed_at.max(at);
        Ok(self)
    }

    fn admitted(&mut self) -> Result<(), String> {
        match self.stage {
            Stage::Pending if self.is_paused() => return Err("it is paused".to_owned()),
            Stage::Pending => self.stage = Stage::Inspecting { failures: 0, wait: Duration::ZERO },
            _ => return Err(self.not_in("pending")),
        }
        Ok(())
    }

    fn resumed(&mut self) -> Result<(), String> {
        match self.stage {
            Stage::Ended { .. } => Err("it has ended".to_owned()),
            _ => Ok(()),
        }
    }

    fn refused(&mut self, failure: &Failure, at: OffsetDateTime) -> Result<(), String> {
        match self.stage {
            Stage::Pending | Stage::Inspecting { .. } | Stage::Choosing | Stage::Planning => {
                self.end_failed(failure.clone(), at);
                Ok(())
            }
            _ => Err(self.not_in("preparation")),
        }
    }

    fn inspected(&mut self, topology: &Topology, at: OffsetDateTime) -> Result<(), String> {
        let Stage::Inspecting { .. } = self.stage else { return Err(self.not_in("inspection")) };
        let worst = topology.worst().filter(|concern| concern.severity == CRITICAL).cloned();
        self.topology = Some(Arc::new(topology.clone()));
        match worst {
            Some(concern) => {
                let message = format!("{}: {}", concern.subject, concern.message);
                self.end_failed(Failure::never(Code::CriticalConcern, message, concern.remedy), at);
            }
            None => self.stage = Stage::Choosing,
        }
        Ok(())
    }

    fn inspection_failed(&mut self, failure: &Failure, at: OffsetDateTime) -> Result<(), String> {
        let Stage::Inspecting { failures, .. } = self.stage else { return Err(self.not_in("inspection")) };
        let failures = failures + 1;
        if failure.retryable() && failures < INSPECT_ATTEMPTS_MAX {
            self.stage = Stage::Inspecting { failures, wait: step::backoff(failures, failure) };
        } else {
            self.end_failed(failure.clone(), at);
        }
        Ok(())
    }

    /// The first offer that fits is taken.
    fn offers_made(&mut self, offers: &[Offer], at: OffsetDateTime) -> Result<(), String> {
        let Stage::Choosing = self.stage else { return Err(self.not_in("choosing")) };
        match offers.iter().find(|offer| offer.fits) {
            Some(offer) => {
                self.target = Some(offer.provider.clone());
                self.stage = Stage::Planning;
            }
            None => self.end_failed(no_offer(offers), at),
        }
        Ok(())
    }

    fn planned(&mut self, plan: &Plan, hardware: &Hardware) -> Result<(), String> {
        let Stage::Planning = self.stage else { return Err(self.not_in("planning")) };
        if Some(&plan.target) != self.target.as_ref() {
            return Err(format!("the plan is for {}", plan.target));
        }
        let mut before: Vec<&StepId> = Vec::new();
        for step in &plan.steps {
            if before.contains(&&step.id) || !step.after.iter().all(|after| before.contains(&after)) {
                return Err(format!("step `{}` is there twice or comes before what it follows", step.id));
            }
            before.push(&step.id);
        }
        self.steps = plan
            .steps
            .iter()
            .map(|step| Step::new(step.id.clone(), step.after.clone(), step.runs.clone()))
            .collect();
        self.hardware = Some(hardware.clone());
        self.stage = Stage::Forward { committed: false };
        Ok(())
    }

    fn end(&mut self, phase: Phase, at: OffsetDateTime) {
        self.let_go();
        self.stage = Stage::Ended { phase, at };
    }

    fn end_failed(&mut self, failure: Failure, at: OffsetDateTime) {
        self.failure = Some(failure);
        self.end(Phase::Failed, at);
    }

    fn not_in(&self, stage: &str) -> String {
        format!("it is not in {stage} but in {:?}", self.stage)
    }
}

const CRITICAL: fluidcloud_proto::topology::Severity = fluidcloud_proto::topology::Severity::Critical;

/// Every reason of every provider, so that the user sees what to change.
fn no_offer(offers: &[Offer]) -> Failure {
    let reasons: Vec<String> =
        offers.iter().map(|offer| format!("{}: {}", offer.provider, offer.reasons.join(", "))).collect();
    let told = if reasons.is_empty() { "no provider was asked".to_owned() } else { reasons.join("; ") };
    let remedy = "name a target that fits, free room there, or configure another provider";
    Failure::never(Code::NoOffer, format!("no provider can take the service ({told})"), remedy)
}

/// What the rest of the conduit asks of a state.
impl Relocation {
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }

    fn position(&self, id: &StepId) -> Result<usize, String> {
        self.steps
            .iter()
            .position(|step| step.id == *id)
            .ok_or_else(|| format!("step `{id}` is not in the plan"))
    }

    /// The target that was chosen, or else the one that was asked for.
    pub fn bound_for(&self) -> Option<&ProviderId> {
        self.target.as_ref().or(self.request.target.provider.as_ref())
    }

    /// Known once it was inspected.
    pub fn need(&self) -> Result<Need, Failure> {
        let topology = self.topology.as_ref().ok_or_else(|| {
            Failure::never(Code::Internal, "it was not inspected", "report this with the relocation's log")
        })?;
        Ok(need(&self.request, topology))
    }

    pub fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended { .. })
    }

    pub fn is_committed(&self) -> bool {
        matches!(self.stage, Stage::Forward { committed: true })
            || matches!(self.stage, Stage::Ended { phase: Phase::Succeeded, .. })
    }

    /// What was to stay beside an instance and could not be made.
    pub fn given_up(&self) -> impl Iterator<Item = &Step> {
        let nothing = |output: &Done| matches!(output, Done::Kept { kept } if kept.is_empty());
        self.steps.iter().filter(move |step| step.id.is_kept() && step.output.as_ref().is_some_and(nothing))
    }

    /// The components that move, in the order of the request.
    pub fn moving(
        &self,
    ) -> impl Iterator<Item = (&fluidcloud_proto::ids::ComponentName, &InstanceComponent)> {
        moving(&self.request)
    }

    /// Where a disk of ours is at the target, once it was prepared.
    pub fn prepared(&self, disk: &DiskId) -> Option<&DiskPlace> {
        match &self.step(&StepId::Prepare(disk.clone()))?.output {
            Some(Done::Migrated { output: Output::Prepared { place } }) => Some(place),
            _ => None,
        }
    }

    /// What stands at the target for what the instances stood in, once it was furnished.
    pub fn furnished(&self) -> Option<&Furnished> {
        match &self.step(&StepId::Furnish)?.output {
            Some(Done::Furnished { furnished }) => Some(furnished),
            _ => None,
        }
    }

    /// What the check answered at the source.
    pub fn observed(&self, check: usize) -> Option<&str> {
        self.steps.iter().find_map(|step| match &step.output {
            Some(Done::Observed { values }) => {
                values.iter().find(|seen| seen.check == check).map(|seen| seen.value.as_str())
            }
            _ => None,
        })
    }

    /// Of the disks of the component's source when it was stopped, where its provider can tell.
    pub fn stamp(&self, component: &fluidcloud_proto::ids::ComponentName) -> Option<&str> {
        match self.step(&StepId::Freeze(component.clone()))?.output.as_ref()? {
            Done::Frozen { stamp, .. } => stamp.as_deref(),
            _ => None,
        }
    }

    pub fn target_name(&self, component: &fluidcloud_proto::ids::ComponentName) -> Option<&InstanceName> {
        self.moving().find(|(name, _)| *name == component).map(|(_, instance)| target_name(instance))
    }
}

pub(crate) fn moving(
    request: &RelocationRequest,
) -> impl Iterator<Item = (&fluidcloud_proto::ids::ComponentName, &InstanceComponent)> {
    request
        .service
        .components
        .iter()
        .filter_map(|component| Some((&component.name, component.instance.as_ref()?)))
}

pub(crate) fn target_name(instance: &InstanceComponent) -> &InstanceName {
    instance.target_name.as_ref().unwrap_or(&instance.id)
}

/// A volume that is folded is there three times for a while: staged, in the overlay that takes the copy, and in the
/// root disk.
const ROOM_OF_FOLD: u64 = 3;

/// What a target must have to take the service.
pub fn need(request: &RelocationRequest, topology: &Topology) -> Need {
    let instances = || topology.instances.iter().map(|placed| &placed.instance);
    Need {
        fixed: request.target.provider.clone(),
        source: request.service.provider.clone(),
        wants: request.target.needs.clone(),
        vcpus: instances().map(|instance| instance.vcpus).sum(),
        memory_bytes: instances().map(|instance| instance.memory_bytes).sum(),
        disk_bytes: room_for(request, topology),
    }
}

/// What the disks may take at a target while the move goes on, by what the source's storage holds.
fn room_for(request: &RelocationRequest, topology: &Topology) -> u64 {
    let of = |(name, wanted): (&fluidcloud_proto::ids::ComponentName, &InstanceComponent)| -> u64 {
        let disks = topology.placed(name).into_iter().flat_map(|placed| &placed.instance.disks);
        disks
            .map(|disk| {
                let times = match folds_into(wanted, &disk.name) {
                    Some(_) => ROOM_OF_FOLD,
                    // Set aside once more for the image.
                    None if wanted.image.is_some() && disk.role == DiskRole::Root => 2,
                    None => 1,
                };
                disk.allocated_bytes.saturating_mul(times)
            })
            .sum()
    };
    let alone = topology.volumes.iter().map(|volume| volume.found.disk.allocated_bytes);
    moving(request).map(of).chain(alone).sum()
}

/// The disk is folded into its instance's own file system, so that at the target it exists only for the move.
pub(crate) fn folds_into<'a>(
    instance: &'a InstanceComponent,
    disk: &fluidcloud_proto::ids::DiskName,
) -> Option<&'a str> {
    instance.volumes.iter().find(|volume| volume.disk == *disk)?.fold_into.as_deref()
}
