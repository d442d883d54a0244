//! How a relocation ended: what `relocate --wait --output json` prints last.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{ComponentName, InstanceName, ProviderId, RelocationId};
use crate::progress::TransferReport;
use crate::status::Phase;
use crate::task::{FileDiff, Folded};
use crate::topology::Concern;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    pub id: RelocationId,
    pub state: Phase,
    /// From the moment the source was asked to stop until the service answered again, at the target or, after an
    /// undo, at the source. Absent when it was never stopped.
    pub downtime_seconds: Option<f64>,
    pub steps: Vec<StepReport>,
    pub transfers: Vec<TransferReport>,
    /// The first moved instance at the target; absent when nothing runs there.
    pub target: Option<TargetReport>,
    /// Every moved instance.
    pub instances: Vec<TargetReport>,
    pub folded: Vec<Folded>,
    pub rewritten: Vec<FileDiff>,
    /// What was changed inside guests, one line each.
    pub adapted: Vec<String>,
    pub checks: Vec<CheckReport>,
    pub concerns: Vec<Concern>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    pub name: String,
    pub seconds: f64,
    pub attempts: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetReport {
    pub component: ComponentName,
    pub provider: ProviderId,
    pub instance: InstanceName,
    pub addresses: Vec<IpAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckReport {
    pub component: ComponentName,
    pub url: String,
    /// The value compared, at the source before and at the target after.
    pub before: Option<String>,
    pub after: Option<String>,
    pub passed: bool,
}
