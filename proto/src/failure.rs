//! What goes over the bus when something went wrong: a stable code, what happened, what a person can do, and
//! whether to try again. Errors of every crate become a [`Failure`] only at the bus.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}; {remedy}")]
#[serde(deny_unknown_fields)]
pub struct Failure {
    pub code: Code,
    /// Names the thing and the cause. No secrets: it is logged and shown.
    pub message: String,
    /// What to do about it, as an instruction.
    pub remedy: String,
    pub retry: Retry,
}

/// Stable across releases: scripts match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    InvalidRequest,
    UnsupportedVersion,
    ConflictingRequest,
    UnknownProvider,
    UnknownInstance,
    UnknownDisk,
    UnknownImage,
    UnknownContainer,
    UnknownKey,
    /// It could be downloaded once, and was.
    KeyTaken,
    UnknownRelocation,
    CriticalConcern,
    NoOffer,
    NameTaken,
    NoRoom,
    InvalidPattern,
    NothingMatched,
    FileMissing,
    HostKey,
    PeerKey,
    Unauthorized,
    Unreachable,
    Corrupted,
    SourceChanged,
    GuestUnsupported,
    CheckFailed,
    LeaseLost,
    /// The worker that held the task goes away in an orderly way; nothing is wrong with the task.
    HandedBack,
    Fenced,
    Canceled,
    PastNoReturn,
    TimedOut,
    Provider,
    Internal,
}

/// Whether the same attempt may succeed without a person's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// Again later, the same way, a bounded number of times.
    Later,
    /// Never without a change by a person.
    Never,
}

impl Failure {
    pub fn never(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: remedy.into(), retry: Retry::Never }
    }

    pub fn later(code: Code, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, message: message.into(), remedy: remedy.into(), retry: Retry::Later }
    }

    pub fn retryable(&self) -> bool {
        self.retry == Retry::Later
    }
}
