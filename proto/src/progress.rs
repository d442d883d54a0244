//! How far one transfer is. The same numbers travel from the viaduct to the dashboard. Sizes are bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::DiskId;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferProgress {
    pub bytes_total: u64,
    /// Settled at the target by whatever means: written, zero or already there.
    pub bytes_done: u64,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    /// Already durable at the target and not sent again.
    pub bytes_reused: u64,
    pub bytes_on_wire: u64,
    pub rate_bytes_per_sec: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<u64>,
}

/// A finished transfer, summed over every attempt that moved a byte of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TransferReport {
    pub disk: DiskId,
    pub bytes_total: u64,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    pub bytes_reused: u64,
    pub bytes_on_wire: u64,
    /// Not read, since a file system on the disk calls it free. Zeros at the target, and counted among them.
    #[serde(default)]
    pub bytes_free: u64,
    /// What the disk was found to hold, in its order: the reason for `bytes_free`. Empty where nobody looked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub areas: Vec<Area>,
    pub seconds: f64,
    /// Root digest over the whole disk, equal at both ends when `verified`.
    pub digest: String,
    pub verified: bool,
}

/// A part of a disk and what it was recognised as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Area {
    pub start_bytes: u64,
    pub length_bytes: u64,
    /// Such as `ext4`; `unknown` for what has no name.
    pub content: String,
    /// Free by its own map, and so not read.
    pub bytes_free: u64,
    /// Why all of it was read, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_because: Option<String>,
}
