//! Where workers run. The broker says which are needed; a [`Placement`] sees that they run, and that none is left
//! when it goes.

mod backoff;
pub mod embedded;
pub mod processes;

use async_trait::async_trait;
use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::ids::WorkerId;

use crate::error::Error;

pub use embedded::{Embedded, WorkerBody};
pub use processes::{Processes, ProcessesOptions};

/// - `place` is idempotent: a need that has a worker is left alone. It returns when the worker was started, not when
///   it serves; one that ends by itself is started again after a growing, bounded pause.
/// - Nothing outlives the placement: not `drain`, not the drop, not the death of this process.
#[async_trait]
pub trait Placement: Send + Sync + std::fmt::Debug {
    async fn place(&self, need: &WorkerNeed) -> Result<(), Error>;

    /// Lets the worker finish what it holds, within a bound, and ends it.
    async fn retire(&self, need: &WorkerNeed);

    /// Retires all, and places none any more.
    async fn drain(&self);

    /// The process of a worker that this placement started.
    fn pid(&self, worker: &WorkerId) -> Option<u32>;
}

/// For operators who start all workers by hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByHand;

#[async_trait]
impl Placement for ByHand {
    async fn place(&self, need: &WorkerNeed) -> Result<(), Error> {
        tracing::warn!(kind = %need.kind, site = %need.site, "a worker is needed: start `fluidcloud migrator` for it");
        Ok(())
    }

    async fn retire(&self, _need: &WorkerNeed) {}

    async fn drain(&self) {}

    fn pid(&self, _worker: &WorkerId) -> Option<u32> {
        None
    }
}
