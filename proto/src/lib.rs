//! What is said: the ids, documents and messages that every part of FluidCloud exchanges, and the [`bus`] that
//! carries them. Nothing here acts; a type is here because it crosses a process or is written down.

pub mod alone;
pub mod bus;
pub mod command;
pub mod event;
pub mod failure;
pub mod furniture;
pub mod ids;
pub mod kept;
pub mod offer;
pub mod overview;
pub mod part;
pub mod plan;
pub mod progress;
pub mod report;
pub mod request;
pub mod schema;
pub mod status;
pub mod surroundings;
pub mod task;
pub mod topology;
pub mod usage;

pub use failure::{Code, Failure, Retry};
pub use ids::*;
