//! Where the log of facts is kept. What a store promises is written on [`Store`]; `store/conformance.rs` holds every
//! implementation to it.

#[cfg(test)]
mod conformance;
mod memory;
mod sqlite;

use async_trait::async_trait;
use fluidcloud_proto::ids::RelocationId;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

use crate::relocation::Entry;

/// Most facts one relocation may have; its log then refuses more, rather than grow without end.
pub const FACTS_MAX: u64 = 100_000;
/// Most facts of one append.
pub const APPEND_MAX: usize = 1_000;

/// Who may write now. Each conduit that starts takes over with a higher one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tenure(pub u64);

/// An append-only log per relocation.
///
/// - **Durable.** `append` returns when the facts survive the loss of power, and not before.
/// - **Atomic.** All facts of one `append` are in the log, or none; a call that was dropped may have done either.
/// - **Fenced.** Only the latest tenure writes, and only at the position it expects. Whoever gets
///   [`Error::Fenced`] or [`Error::Conflict`] has been succeeded by another conduit and stops.
/// - **Ordered.** `load` gives the facts as they were appended; `ids` gives relocations in no order.
/// - Nothing is ever changed or removed.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Fences every earlier conduit.
    async fn take_over(&self) -> Result<Tenure, Error>;

    async fn append(
        &self,
        tenure: Tenure,
        relocation: RelocationId,
        entries: &[Entry],
        expected_seq: u64,
    ) -> Result<(), Error>;

    async fn ids(&self) -> Result<Vec<RelocationId>, Error>;

    /// Empty when there is none.
    async fn load(&self, relocation: RelocationId) -> Result<Vec<Entry>, Error>;

    /// Digest of the request that the relocation began with.
    async fn digest_of(&self, relocation: RelocationId) -> Result<Option<String>, Error>;
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("another conduit has taken over this log: stop one of the two, or give each a store of its own")]
    Fenced,
    #[error(
        "the log of relocation {relocation} has {found} facts where {expected} were expected: another conduit writes it; stop one of the two"
    )]
    Conflict { relocation: RelocationId, expected: u64, found: u64 },
    #[error(
        "the log of relocation {0} is full at {FACTS_MAX} facts: cancel it and request it again with a new id"
    )]
    Full(RelocationId),
    #[error("{path} is not a relocation log of FluidCloud: name another file, or move it away")]
    Foreign { path: String },
    #[error("{path} has log version {found}, this conduit reads up to {known}: update FluidCloud")]
    Newer { path: String, found: i64, known: i64 },
    #[error(
        "{path} is damaged ({what}): restore it from a backup, or move it away to begin with an empty log"
    )]
    Damaged { path: String, what: String },
    #[error("cannot {what} {path}: check that its directory exists, is writable and has room")]
    Io {
        what: &'static str,
        path: String,
        #[source]
        cause: Cause,
    },
}

impl Error {
    /// None is retried in place: the conduit stops, and its log is read again when it is started.
    pub fn retryable(&self) -> bool {
        false
    }
}
