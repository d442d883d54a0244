//! The conduit as it runs: one owner of all relocations ([`owner`]) waits for what happens, records it, and only then
//! acts. This file is its face: options, start with recovery, and how it ends.

mod commands;
mod intake;
mod job;
mod jobs;
mod mouth;
mod orders;
mod owner;
mod past;

use std::fmt;
use std::sync::Arc;

use fluidcloud_proto::bus::{self, Queue, SharedBus};
use fluidcloud_providers::Registry;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::keys::Keys;
use crate::relocation::Illegal;
use crate::store::{self, Store};
use crate::web::{HttpWeb, Web};
use owner::{Intake, Owner};

/// Relocations worked on at the same time; further ones wait as `Pending`.
pub const ACTIVE_MAX: usize = 8;

/// What the conduit works with.
#[derive(Clone, Debug)]
pub struct ConduitOptions {
    pub bus: SharedBus,
    pub store: Arc<dyn Store>,
    pub registry: Registry,
    /// How services are asked for their answers.
    pub web: Arc<dyn Web>,
    /// Where private halves of created key pairs wait to be handed out.
    pub keys: Arc<dyn Keys>,
    pub clock: Clock,
    pub active_max: usize,
}

impl ConduitOptions {
    /// Over HTTP, by the system's clock, with the usual bounds.
    pub fn new(bus: SharedBus, store: Arc<dyn Store>, registry: Registry, keys: Arc<dyn Keys>) -> Self {
        Self {
            bus,
            store,
            registry,
            web: Arc::new(HttpWeb::new()),
            keys,
            clock: Clock::system(),
            active_max: ACTIVE_MAX,
        }
    }
}

/// The wall clock: it dates facts for people. Nothing waits by it, so it may jump.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> OffsetDateTime + Send + Sync>);

impl Clock {
    pub fn system() -> Self {
        Self::new(OffsetDateTime::now_utc)
    }

    pub fn new(now: impl Fn() -> OffsetDateTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> OffsetDateTime {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bus(#[from] bus::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the relocation log is damaged: restore the store from a backup, or move it away")]
    Log(#[source] Illegal),
}

impl Error {
    /// Whether starting the conduit again may help.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Bus(error) => error.retryable(),
            Self::Store(error) => error.retryable(),
            Self::Log(_) => false,
        }
    }
}

#[derive(Debug)]
pub struct Conduit {
    options: ConduitOptions,
}

impl Conduit {
    pub fn new(options: ConduitOptions) -> Self {
        Self { options }
    }

    /// Takes the log over, goes on with every relocation in it that has not ended, and serves requests until
    /// `shutdown`. Dropping the future at any point is a crash: the next `run` on the same store recovers from it.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let bus = self.options.bus.clone();
        let mut owner = Owner::recover(self.options).await?;
        let intake = Intake {
            requests: bus.subscribe(&Queue::Requests, owner::REQUESTS_PREFETCH).await?,
            control: bus.subscribe(&Queue::Control, owner::CONTROL_PREFETCH).await?,
            events: bus.subscribe(&Queue::Events, owner::EVENTS_PREFETCH).await?,
            connected: bus.connected(),
        };
        let ended = owner.serve(intake, &shutdown).await;
        owner.close().await;
        ended
    }
}
