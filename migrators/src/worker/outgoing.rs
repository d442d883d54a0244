//! Events on their way to the conduit: in order, one at a time, each until the bus has confirmed it. Bounded by the
//! number of tasks: of one task only the newest progress waits.

use std::collections::VecDeque;
use std::time::Duration;

use fluidcloud_proto::bus::{self, Queue, SharedBus, publish_command};
use fluidcloud_proto::event::Event;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::WorkerId;
use fluidcloud_proto::task::TaskKey;
use futures::future::{BoxFuture, FutureExt};
use tokio::time::Instant;

/// Between two attempts while the bus refuses.
const PUBLISH_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Outgoing {
    bus: SharedBus,
    worker: WorkerId,
    waiting: VecDeque<Event>,
    flying: Option<BoxFuture<'static, Sent>>,
}

/// One event was confirmed, or can never be sent.
#[derive(Debug)]
pub(super) struct Sent {
    /// The lease it renews: the conduit heard of the task, at `began` or later.
    pub renewed: Option<TaskKey>,
    pub began: Instant,
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Outgoing {
    pub fn new(bus: SharedBus, worker: WorkerId) -> Self {
        Self { bus, worker, waiting: VecDeque::new(), flying: None }
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.flying.is_none()
    }

    pub fn say(&mut self, event: Event) {
        if let Some(key) = transient(&event) {
            let same = self.waiting.iter_mut().find(|waiting| {
                transient(waiting) == Some(key)
                    && std::mem::discriminant(*waiting as &Event) == std::mem::discriminant(&event)
            });
            if let Some(waiting) = same {
                *waiting = event;
                return;
            }
        }
        self.waiting.push_back(event);
    }

    /// The next that has left. Cancel-safe: what flies stays in flight.
    pub async fn next(&mut self) -> Sent {
        loop {
            if let Some(flying) = &mut self.flying {
                let sent = flying.await;
                self.flying = None;
                return sent;
            }
            match self.waiting.pop_front() {
                Some(event) => self.flying = Some(send(self.bus.clone(), self.worker.clone(), event).boxed()),
                None => return futures::future::pending().await,
            }
        }
    }
}

/// Claims and progress: said again, the newest replaces the older.
fn transient(event: &Event) -> Option<&TaskKey> {
    match event {
        Event::TaskProgressed { key, .. } | Event::TaskClaimed { key, .. } => Some(key),
        Event::TaskSucceeded { .. } | Event::TaskFailed { .. } | Event::OffersMade { .. } => None,
    }
}

fn key_of(event: &Event) -> Option<&TaskKey> {
    match event {
        Event::TaskProgressed { key, .. }
        | Event::TaskClaimed { key, .. }
        | Event::TaskSucceeded { key, .. }
        | Event::TaskFailed { key, .. } => Some(key),
        Event::OffersMade { .. } => None,
    }
}

async fn send(bus: SharedBus, worker: WorkerId, event: Event) -> Sent {
    let renewed = transient(&event).cloned();
    let mut event = event;
    loop {
        let began = Instant::now();
        match publish_command(&*bus, &Queue::Events, &event).await {
            Ok(()) => return Sent { renewed, began },
            Err(bus::Error::TooLarge(bytes)) => match too_large(&worker, &event, bytes) {
                Some(failed) => event = failed,
                None => return Sent { renewed: None, began },
            },
            Err(error @ (bus::Error::Closed | bus::Error::Invalid(_))) => {
                tracing::error!(%error, "an event can not be said; its lease will expire");
                return Sent { renewed: None, began };
            }
            Err(error) => {
                tracing::warn!(%error, "the bus does not take an event yet");
                tokio::time::sleep(PUBLISH_PAUSE).await;
            }
        }
    }
}

/// An answer that no message can carry becomes a failure that says so.
fn too_large(worker: &WorkerId, event: &Event, bytes: usize) -> Option<Event> {
    if matches!(event, Event::TaskFailed { .. }) {
        return None;
    }
    let failure = Failure::never(
        Code::Internal,
        format!("the answer takes {bytes} bytes, more than a message carries"),
        "split the rewrite rules over smaller files",
    );
    Some(Event::TaskFailed { key: key_of(event)?.clone(), worker: worker.clone(), failure })
}
