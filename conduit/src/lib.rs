//! What happens next in a relocation: the pure state machine over a log of facts, the plan, the stores of the log,
//! leases, and the loop that drives all of it. The conduit owns the truth about a relocation; it moves no bytes
//! and chooses no target, it asks those who do.

pub mod conduit;
pub mod keys;
mod lease;
mod overview;
pub mod plan;
pub mod relocation;
pub mod report;
pub mod runner;
pub mod status;
pub mod store;
pub mod web;

pub use conduit::{Clock, Conduit, ConduitOptions, Error};
pub use keys::{DirectoryKeys, Keys, MemoryKeys};
pub use overview::overview;
pub use plan::preview::{Preview, PreviewStep, Rate, dry_run, preview};
pub use plan::rehearsal::rehearsals;
pub use plan::suits;
pub use relocation::{Relocation, need};
pub use store::{MemoryStore, SqliteStore, Store};
