//! Where relocations stand, as users see it. Derived from the log; nothing is decided on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::event::WorkerSeen;
use crate::failure::Failure;
use crate::ids::{ComponentName, DiskId, ProviderId, RelocationId, WorkerId};
use crate::part::Part;
use crate::plan::StepId;
use crate::progress::TransferProgress;
use crate::report::Report;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    Pending,
    Inspecting,
    Planned,
    InitialSync,
    DeltaSync,
    AwaitingCutover,
    FinalSync,
    Adapting,
    Creating,
    Verifying,
    Succeeded,
    Failed,
    Canceling,
    Canceled,
    RollingBack,
    RolledBack,
    Stuck,
}

impl Phase {
    /// Nothing more happens by itself. `Stuck` waits for a person.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled | Self::RolledBack | Self::Stuck)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RelocationStatus {
    pub id: RelocationId,
    /// Grows with every change: of two statuses the one with the higher revision is the newer.
    pub revision: u64,
    pub service: ComponentName,
    pub source: ProviderId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<ProviderId>,
    pub phase: Phase,
    /// What hinders or holds it, each beginning with a stable word. `paused`: somebody asked to. `stalled`: no step has moved for
    /// long, such as no worker for a task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<String>,
    /// What moves and what stays, in the order of the request; empty until it was inspected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    pub steps: Vec<StepStatus>,
    pub transfers: Vec<TransferStatus>,
    /// Sum over the transfers that run; absent when none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_sec: Option<u64>,
    /// Until it has ended, as this status was told: the longest chain of steps that are not done. A transfer that runs counts
    /// by its own rate; any other step that runs by what is left of the time that the plan gives it, and as about to end when
    /// that is over; one that waits by the plan's time for it, its back-off before. The plan's times are usual ones, and its rate
    /// is assumed, or the limit of the request. Absent when there is nothing to reckon with: before there is a plan, while it is
    /// paused, stalled or undone, while an approval is to come, and while a task has no worker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub changed_at: OffsetDateTime,
    /// When it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepStatus {
    pub id: StepId,
    pub state: StepState,
    /// Seconds it took, or has run so far.
    pub seconds: f64,
    pub attempts: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<WorkerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    Waiting,
    Running,
    /// Failed and will be tried again.
    Retrying,
    Done,
    Failed,
    Undoing,
    Undone,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferStatus {
    pub disk: DiskId,
    pub state: StepState,
    pub progress: TransferProgress,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusDocument {
    pub version: String,
    pub relocations: Vec<RelocationStatus>,
    pub providers: Vec<ProviderStatus>,
    pub workers: Vec<WorkerStatus>,
    pub queues: Vec<QueueStatus>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    #[serde(flatten)]
    pub seen: WorkerSeen,
    pub seconds_since_seen: u64,
    /// Started by this broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatus {
    pub name: String,
    pub ready: u64,
    pub consumers: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProviderStatus {
    pub id: ProviderId,
    pub driver: String,
    pub reachable: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default)]
    pub labels: std::collections::BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Capacity>,
    pub instances: u64,
}

/// What is free at a provider now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capacity {
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}
