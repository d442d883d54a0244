//! Faults on demand and the log of calls.

use std::collections::{BTreeMap, VecDeque};

use crate::error::Error;

/// Calls kept; the oldest are forgotten.
pub const CALLS_MAX: usize = 100_000;

/// The calls of the contract that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Op {
    Capacity,
    Instances,
    Inspect,
    Power,
    Start,
    Stop,
    DisksStamp,
    KeepSource,
    IsKept,
    ReleaseSource,
    Reserve,
    CreateDisk,
    DeleteDisk,
    HoldAddresses,
    ReleaseAddresses,
    CreateInstance,
    DeleteInstance,
    Settle,
    Addresses,
    MadeFor,
    Usage,
    LookAtVolume,
    NameDisk,
    LookAtImage,
    PutImage,
    DeleteImage,
    LookAtContainer,
    MakeContainer,
    WriteObject,
    RemoveContainer,
    Surroundings,
    Furnish,
    Unfurnish,
    MayKeep,
    TakeSnapshot,
    DropSnapshot,
    SetAside,
    DropAside,
    KeepImage,
    DropImage,
    Kept,
}

impl Op {
    pub const ALL: [Self; 41] = [
        Self::Capacity,
        Self::Instances,
        Self::Inspect,
        Self::Power,
        Self::Start,
        Self::Stop,
        Self::DisksStamp,
        Self::KeepSource,
        Self::IsKept,
        Self::ReleaseSource,
        Self::Reserve,
        Self::CreateDisk,
        Self::DeleteDisk,
        Self::HoldAddresses,
        Self::ReleaseAddresses,
        Self::CreateInstance,
        Self::DeleteInstance,
        Self::Settle,
        Self::Addresses,
        Self::MadeFor,
        Self::Usage,
        Self::LookAtVolume,
        Self::NameDisk,
        Self::LookAtImage,
        Self::PutImage,
        Self::DeleteImage,
        Self::LookAtContainer,
        Self::MakeContainer,
        Self::WriteObject,
        Self::RemoveContainer,
        Self::Surroundings,
        Self::Furnish,
        Self::Unfurnish,
        Self::MayKeep,
        Self::TakeSnapshot,
        Self::DropSnapshot,
        Self::SetAside,
        Self::DropAside,
        Self::KeepImage,
        Self::DropImage,
        Self::Kept,
    ];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub op: Op,
    /// The instance, disk or relocation that it was about; empty for the provider as a whole.
    pub subject: String,
    /// It was made to fail, before or after its work.
    pub faulted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Before,
    After,
}

#[derive(Debug)]
pub(super) struct Faults {
    pub reachable: bool,
    next: BTreeMap<Op, VecDeque<Error>>,
    counts: BTreeMap<Op, u64>,
    at: BTreeMap<(Op, u64), When>,
    calls: VecDeque<Call>,
}

impl Default for Faults {
    fn default() -> Self {
        let (next, counts, at, calls) = Default::default();
        Self { reachable: true, next, counts, at, calls }
    }
}

impl Faults {
    pub fn fail_next(&mut self, op: Op, error: Error) {
        self.next.entry(op).or_default().push_back(error);
    }

    pub fn fail_at(&mut self, op: Op, nth: u64, when: When) {
        let so_far = self.counts.get(&op).copied().unwrap_or(0);
        self.at.insert((op, so_far + nth), when);
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.iter().cloned().collect()
    }

    /// Counts a call. `Err`: it fails now. `Ok(Some)`: it does its work and then fails.
    pub fn call(&mut self, provider: &str, op: Op, subject: String) -> Result<Option<Error>, Error> {
        let count = self.counts.entry(op).or_insert(0);
        *count += 1;
        let fault = self.at.remove(&(op, *count));
        let given = self.next.get_mut(&op).and_then(VecDeque::pop_front);
        let faulted = fault.is_some() || given.is_some() || !self.reachable;
        if self.calls.len() == CALLS_MAX {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { op, subject, faulted });
        let told = |why: &str| Error::Unreachable {
            what: format!("simulated provider `{provider}`"),
            cause: why.into(),
        };
        match (given, fault) {
            (Some(error), _) => Err(error),
            (None, Some(When::Before)) => Err(told("a fault was asked for")),
            (None, _) if !self.reachable => Err(told("it was switched off")),
            (None, Some(When::After)) => Ok(Some(told("its answer was lost"))),
            (None, None) => Ok(None),
        }
    }
}
