//! The queues by name. A queue is made by whoever subscribes to it; `fluidcloud.requests` and the other standing
//! ones by whichever part starts first.

use std::fmt;

use crate::ids::{ProviderId, WorkerId};
use crate::plan::MigratorKind;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Relocation requests from any AMQP client.
    Requests,
    /// `command::Control` for the conduit.
    Control,
    /// `event::Event` for the conduit.
    Events,
    /// `command::BrokerCommand`.
    Broker,
    /// `task::Task` for workers of this kind that reach this site.
    Tasks { kind: MigratorKind, site: ProviderId },
    /// `command::WorkerCommand` for one worker; gone with it.
    Worker(WorkerId),
    /// What nobody understood, with the reason.
    DeadLetters,
}

impl Queue {
    /// Those that exist as soon as anything of FluidCloud has connected.
    pub const STANDING: [Queue; 5] =
        [Queue::Requests, Queue::Control, Queue::Events, Queue::Broker, Queue::DeadLetters];

    /// Exists only as long as its one subscriber.
    pub fn is_transient(&self) -> bool {
        matches!(self, Queue::Worker(_))
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Queue::Requests => f.write_str("fluidcloud.requests"),
            Queue::Control => f.write_str("fluidcloud.control"),
            Queue::Events => f.write_str("fluidcloud.events"),
            Queue::Broker => f.write_str("fluidcloud.broker"),
            Queue::Tasks { kind, site } => write!(f, "fluidcloud.tasks.{kind}.{site}"),
            Queue::Worker(worker) => write!(f, "fluidcloud.worker.{worker}"),
            Queue::DeadLetters => f.write_str("fluidcloud.dead"),
        }
    }
}
