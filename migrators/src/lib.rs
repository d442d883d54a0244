//! Makes it happen: the worker loop that takes tasks from the bus, and the migrators that carry them out at the
//! sites. Decides nothing about a relocation: what comes next is the conduit's business.

pub mod binary;
pub mod conformance;
pub mod error;
pub mod guest;
pub mod image;
pub mod memory;
pub mod migrator;
pub mod object;
pub mod rehearse;
pub mod rewrite;
pub mod volume;
pub mod window;
pub mod worker;

pub use binary::ViaductBinary;
pub use error::Error;
pub use migrator::{Context, Migrator, Migrators, Progress, open_source};
pub use worker::{Worker, WorkerOptions};
