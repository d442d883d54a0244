//! The facts of a relocation: what is written to the log, once, in order, and never changed. Append-only also as a
//! type: a field or variant that was released stays readable. Times are when the conduit learned of it.

use std::net::IpAddr;

use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::furniture::Furnished;
use fluidcloud_proto::ids::{Epoch, InstanceName, WorkerId};
use fluidcloud_proto::kept::Kept;
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::plan::{Plan, StepId};
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::report::CheckReport;
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::task::{Hardware, Output};
use fluidcloud_proto::topology::{Nic, Topology};
use fluidcloud_providers::Stopped;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// Version of the facts this conduit writes; a store that holds a newer one is not opened.
pub const FACTS_VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    pub fact: Fact,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fact {
    /// The first of every log. The digest is of the whole request: the same id with another digest is refused.
    Requested {
        request: Box<RelocationRequest>,
        digest: String,
    },
    /// There is room to work on it now.
    Admitted,
    /// A conduit took this log over after a restart; whoever wrote it before is fenced from here on.
    Resumed,
    /// It cannot be done, and nothing was.
    Refused {
        failure: Failure,
    },
    Inspected {
        topology: Box<Topology>,
    },
    InspectionFailed {
        failure: Failure,
    },
    /// Best first.
    OffersMade {
        offers: Vec<Offer>,
    },
    Planned {
        plan: Box<Plan>,
        hardware: Hardware,
    },
    /// The step is about to be handed out, or run by the conduit, under this epoch.
    StepIssued {
        step: StepId,
        epoch: Epoch,
    },
    StepLeased {
        step: StepId,
        epoch: Epoch,
        worker: WorkerId,
    },
    StepDone {
        step: StepId,
        epoch: Epoch,
        output: Done,
    },
    StepFailed {
        step: StepId,
        epoch: Epoch,
        failure: Failure,
        /// What the attempt had moved when it was last heard of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spent: Option<TransferProgress>,
    },
    CancelAsked,
    /// A person removed the cause of a stuck undo.
    RetryAsked,
    /// The sources may stop.
    CutoverApproved,
    /// The order is the message that it came with: one that is delivered again is known by it.
    PauseAsked {
        order: Uuid,
    },
    ResumeAsked {
        order: Uuid,
    },
    UndoBegun {
        step: StepId,
        attempt: u32,
    },
    UndoDone {
        step: StepId,
    },
    UndoFailed {
        step: StepId,
        failure: Failure,
    },
}

/// What a step left for later steps and for the report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Done {
    /// By a worker: prepare, sync, adapt, fold, rewrite, rehearse, copy.
    Migrated {
        output: Output,
    },
    Reserved,
    /// The network cards at the target, in the order of the source's, with the addresses that are kept for them.
    Addressed {
        nics: Vec<Nic>,
    },
    Furnished {
        furnished: Furnished,
    },
    Observed {
        values: Vec<Observation>,
    },
    Frozen {
        stopped: Stopped,
        /// Of the source's disks when it was off; another one later says that they were written to.
        stamp: Option<String>,
    },
    Created {
        instance: InstanceName,
    },
    /// What stays: of a snapshot or an image.
    Kept {
        kept: Vec<Kept>,
    },
    SetAside,
    Verified {
        addresses: Vec<IpAddr>,
        checks: Vec<CheckReport>,
        /// Of the target as it then ran.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        nics: Vec<Nic>,
    },
    Committed,
    Tidied,
}

/// What the service answered at the source just before it stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Position of the check in the request.
    pub check: usize,
    pub value: String,
}

impl Fact {
    /// For messages.
    pub fn name(&self) -> &'static str {
        match self {
            Fact::Requested { .. } => "requested",
            Fact::Admitted => "admitted",
            Fact::Resumed => "resumed",
            Fact::Refused { .. } => "refused",
            Fact::Inspected { .. } => "inspected",
            Fact::InspectionFailed { .. } => "inspection failed",
            Fact::OffersMade { .. } => "offers made",
            Fact::Planned { .. } => "planned",
            Fact::StepIssued { .. } => "step issued",
            Fact::StepLeased { .. } => "step leased",
            Fact::StepDone { .. } => "step done",
            Fact::StepFailed { .. } => "step failed",
            Fact::CancelAsked => "cancel asked",
            Fact::RetryAsked => "retry asked",
            Fact::CutoverApproved => "cutover approved",
            Fact::PauseAsked { .. } => "pause asked",
            Fact::ResumeAsked { .. } => "resume asked",
            Fact::UndoBegun { .. } => "undo begun",
            Fact::UndoDone { .. } => "undo done",
            Fact::UndoFailed { .. } => "undo failed",
        }
    }
}

impl Done {
    /// Whether this is what the step leaves; anything else is a mistake of whoever reported it.
    pub fn fits(&self, step: &StepId) -> bool {
        match (self, step) {
            (Done::Migrated { output }, step) => matches!(
                (output, step),
                (Output::Prepared { .. }, StepId::Prepare(_))
                    | (Output::Synced { .. }, StepId::Sync(_))
                    | (Output::Adapted { .. }, StepId::Adapt(_))
                    | (Output::Folded(_), StepId::Fold(_))
                    | (Output::Rewritten { .. }, StepId::Rewrite(_))
                    | (Output::Rehearsed(_), StepId::Rehearse(_))
                    | (Output::ImageCopied(_), StepId::Copy(_))
                    | (Output::ContainerCopied(_), StepId::Copy(_) | StepId::Recopy(_))
            ),
            (Done::Reserved, StepId::Reserve)
            | (Done::Addressed { .. }, StepId::Address(_))
            | (Done::Furnished { .. }, StepId::Furnish)
            | (Done::Observed { .. }, StepId::Observe(_))
            | (Done::Frozen { .. }, StepId::Freeze(_))
            | (Done::Created { .. }, StepId::Create(_))
            | (Done::Kept { .. }, StepId::Snapshot(_) | StepId::KeepImage(_))
            | (Done::SetAside, StepId::SetAside(_))
            | (Done::Verified { .. }, StepId::Verify(_))
            | (Done::Committed, StepId::Commit)
            | (Done::Tidied, StepId::Tidy) => true,
            _ => false,
        }
    }
}
