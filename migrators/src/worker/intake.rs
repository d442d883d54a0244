//! Where tasks come in. Open, it takes part in every task queue of the worker; closed, in none, so that no task
//! waits in the hands of a worker that is busy. Between the two it is left open, unread, until nothing is held of it.

use std::time::Duration;

use fluidcloud_proto::bus::{self, Queue, Received, SharedBus, Subscription, receive};
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::task::Task;
use futures::future::{BoxFuture, FutureExt, select_all, try_join_all};

/// One at a time of each queue: the rest stays for other workers.
const PREFETCH: u16 = 1;
/// A delivery that came this often is taken even without a free slot.
const ATTEMPTS_BEFORE_OVERCOMMIT: u32 = 3;
/// Between two attempts to subscribe while the bus refuses.
const SUBSCRIBE_PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Intake {
    bus: SharedBus,
    queues: Vec<Queue>,
    state: State,
}

enum State {
    Closed,
    Opening(BoxFuture<'static, Result<Vec<Subscription>, bus::Error>>),
    Open(Vec<Subscription>),
}

impl Intake {
    pub fn new(bus: SharedBus, kinds: &[MigratorKind], sites: &[ProviderId]) -> Self {
        let queues = kinds
            .iter()
            .flat_map(|kind| sites.iter().map(|site| Queue::Tasks { kind: *kind, site: site.clone() }))
            .collect();
        Self { bus, queues, state: State::Closed }
    }

    pub fn open(&mut self) {
        if !matches!(self.state, State::Closed) {
            return;
        }
        let bus = self.bus.clone();
        let queues = self.queues.clone();
        let opening = async move {
            try_join_all(queues.into_iter().map(|queue| subscribe(&bus, queue, PREFETCH))).await
        };
        self.state = State::Opening(opening.boxed());
    }

    /// Of what was prefetched and not read: what must not be given back once more, or the bus might bury it.
    pub fn urgent(&mut self) -> Vec<Received<Task>> {
        let State::Open(subscriptions) = &mut self.state else { return Vec::new() };
        let mut urgent = Vec::new();
        for queue in subscriptions {
            while let Some(Some(received)) = receive::<Task>(queue).now_or_never() {
                if received.delivery.attempt >= ATTEMPTS_BEFORE_OVERCOMMIT {
                    urgent.push(received);
                }
            }
        }
        urgent
    }

    /// What was prefetched, and what is held unsettled, goes back to its queue.
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// The next task, from whichever queue; an error names the queue that ended. Cancel-safe.
    pub async fn next(&mut self) -> Result<Received<Task>, String> {
        if let State::Opening(opening) = &mut self.state {
            let opened = opening.await.map_err(|error| format!("task queues: {error}"))?;
            self.state = State::Open(opened);
        }
        match &mut self.state {
            State::Open(subscriptions) if !subscriptions.is_empty() => {
                let waiting = subscriptions.iter_mut().map(|queue| receive::<Task>(queue).boxed());
                let (received, at, _) = select_all(waiting).await;
                // The queue that gave is asked last the next time, so that none starves.
                let turn = (at + 1) % subscriptions.len();
                subscriptions.rotate_left(turn);
                received.ok_or_else(|| "a task queue".to_owned())
            }
            _ => futures::future::pending().await,
        }
    }
}

/// Keeps asking while the bus is away or refuses; gives up only when it is closed.
pub(super) async fn subscribe(
    bus: &SharedBus,
    queue: Queue,
    prefetch: u16,
) -> Result<Subscription, bus::Error> {
    loop {
        match bus.subscribe(&queue, prefetch).await {
            Ok(subscription) => return Ok(subscription),
            Err(bus::Error::Closed) => return Err(bus::Error::Closed),
            Err(error) => {
                tracing::warn!(%queue, %error, "cannot take part in the queue yet");
                tokio::time::sleep(SUBSCRIBE_PAUSE).await;
            }
        }
    }
}
