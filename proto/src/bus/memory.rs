//! The bus inside one process: what `fluidcloud up` runs on, and what tests of the parts run on. It holds messages
//! in memory and keeps every promise of [`Bus`] but one: it ends with the process. Recovery after a restart is the
//! relocation log's work, not the bus's.

mod line;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{Notify, broadcast, mpsc, watch};

use super::{
    Bus, DEAD_LETTERS_MAX, Delivery, Depth, Error, Message, NOTICES_MAX, PREFETCH_MAX, Queue, Settle,
    Subscription, bounded_reason, check_size, delivery_limit_reason,
};
use line::{Consumer, ConsumerId, Entry, Given, Line, Place};

#[derive(Debug)]
pub struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told whenever a queue may have room again.
    room: Notify,
    connected: watch::Sender<bool>,
    notices: broadcast::Sender<Message>,
}

#[derive(Debug)]
struct State {
    lines: HashMap<Queue, Line>,
    connected: bool,
    closed: bool,
}

/// What becomes of a held message.
enum Outcome {
    Done,
    Again,
    Never(String),
}

impl MemoryBus {
    pub fn new() -> Arc<Self> {
        let lines = Queue::STANDING.into_iter().map(|queue| (queue.clone(), Line::new(queue))).collect();
        let shared = Shared {
            state: Mutex::new(State { lines, connected: true, closed: false }),
            room: Notify::new(),
            connected: watch::Sender::new(true),
            notices: broadcast::Sender::new(NOTICES_MAX),
        };
        Arc::new(Self { shared: Arc::new(shared) })
    }

    /// For tests: an outage as a broker would have it. Going away returns every unsettled message to its queue, and
    /// what its holders then settle counts for nothing; `publish` waits until the bus is back.
    pub fn set_connected(&self, connected: bool) {
        self.shared.change_and_tell(|state| {
            if state.connected && !connected {
                state.return_everything();
            }
            state.connected = connected;
            self.shared.connected.send_replace(connected);
        });
    }
}

impl Drop for MemoryBus {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // Ends the streams. Dropped below, outside the lock: deliveries still in a channel lock it to go back.
        let consumers: Vec<_> = state.lines.values_mut().flat_map(Line::leave_all).collect();
        drop(state);
        drop(consumers);
        self.shared.room.notify_waiters();
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn publish(&self, queue: &Queue, message: Message) -> Result<(), Error> {
        check_size(&message)?;
        let mut message = Some(message);
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            // Listening before looking, or a change between the two would be missed.
            room.as_mut().enable();
            if let Some(result) = self.shared.change(|state| state.try_publish(queue, &mut message)) {
                return result;
            }
            room.await;
        }
    }

    async fn notify(&self, message: Message) -> Result<(), Error> {
        check_size(&message)?;
        let mut connected = self.shared.connected.subscribe();
        connected.wait_for(|connected| *connected).await.map_err(|_| Error::Closed)?;
        // An error only says that nobody watches.
        let _ = self.shared.notices.send(message);
        Ok(())
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error> {
        let prefetch = usize::from(prefetch.clamp(1, PREFETCH_MAX));
        let (sender, deliveries) = mpsc::channel(prefetch);
        let consumer = self.shared.change_and_tell(|state| {
            state
                .lines
                .entry(queue.clone())
                .or_insert_with(|| Line::new(queue.clone()))
                .join(sender, prefetch)
        });
        let membership = Membership { shared: self.shared.clone(), queue: queue.clone(), consumer };
        Ok(Subscription { _membership: Box::new(membership), deliveries })
    }

    async fn watch(&self) -> Result<broadcast::Receiver<Message>, Error> {
        Ok(self.shared.notices.subscribe())
    }

    async fn depth(&self, queue: &Queue) -> Result<Depth, Error> {
        Ok(self.shared.change(|state| state.lines.get(queue).map(Line::depth).unwrap_or_default()))
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.shared.connected.subscribe()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under this lock can leave the state half changed, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies one change, then hands out what can be handed out. Every change of the state goes through here.
    fn change<T>(self: &Arc<Self>, apply: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let answer = apply(&mut state);
        let unsent = if state.connected && !state.closed { self.hand_out(&mut state) } else { Vec::new() };
        drop(state);
        // Outside the lock, which dropped deliveries take to give their messages back.
        drop(unsent);
        answer
    }

    /// A change that may make room or open the bus, so that publishers who wait look again. Never for a publish:
    /// it would wake itself, forever.
    fn change_and_tell<T>(self: &Arc<Self>, apply: impl FnOnce(&mut State) -> T) -> T {
        let answer = self.change(apply);
        self.room.notify_waiters();
        answer
    }

    fn hand_out(self: &Arc<Self>, state: &mut State) -> Vec<Delivery> {
        let deliver = |queue: &Queue, entry: &Entry, given| Delivery {
            message: entry.message.clone(),
            attempt: entry.deliveries,
            reason: entry.reason.clone(),
            origin: entry.origin.clone(),
            settle: Box::new(Held { shared: self.clone(), queue: queue.clone(), given, settled: false }),
        };
        state.lines.values_mut().flat_map(|line| line.hand_out(deliver)).collect()
    }
}

impl State {
    /// `None` when it must wait: for the bus or for room.
    fn try_publish(&mut self, queue: &Queue, message: &mut Option<Message>) -> Option<Result<(), Error>> {
        if self.closed {
            return Some(Err(Error::Closed));
        }
        if !self.connected {
            return None;
        }
        let Some(line) = self.lines.get_mut(queue) else {
            return Some(Err(Error::Unroutable(queue.to_string())));
        };
        if line.is_full() {
            return None;
        }
        if let Some(message) = message.take() {
            line.push(Entry::new(message));
        }
        Some(Ok(()))
    }

    fn settle(&mut self, queue: &Queue, given: Given, outcome: Outcome) {
        // The queue may be gone, or the message returned already by an outage: then there is nothing to settle.
        let Some(line) = self.lines.get_mut(queue) else { return };
        let Some((place, entry)) = line.take_back(given) else { return };
        match outcome {
            Outcome::Done => {}
            Outcome::Again => self.give_back(queue, place, entry),
            Outcome::Never(reason) => self.bury(queue, entry, &reason),
        }
    }

    fn give_back(&mut self, queue: &Queue, place: Place, entry: Entry) {
        if entry.is_spent() && *queue != Queue::DeadLetters {
            let reason = delivery_limit_reason(&queue.to_string());
            self.bury(queue, entry, &reason);
        } else if let Some(line) = self.lines.get_mut(queue) {
            line.put_back(place, entry);
        }
    }

    fn bury(&mut self, queue: &Queue, entry: Entry, reason: &str) {
        let Some(dead) = self.lines.get_mut(&Queue::DeadLetters) else { return };
        let origin = entry.origin.unwrap_or_else(|| queue.to_string());
        if let Some(oldest) = dead.push_bounded(
            Entry {
                deliveries: 0,
                message: entry.message,
                reason: Some(bounded_reason(reason)),
                origin: Some(origin),
            },
            DEAD_LETTERS_MAX,
        ) {
            tracing::warn!(message = %oldest.message.id, "too many dead letters: the oldest is dropped");
        }
    }

    fn leave(&mut self, queue: &Queue, consumer: ConsumerId) -> Option<Consumer> {
        let line = self.lines.get_mut(queue)?;
        let (gone, held) = line.leave(consumer)?;
        for (place, entry) in held {
            self.give_back(queue, place, entry);
        }
        // A worker's queue is gone with the worker.
        self.lines.retain(|queue, line| !queue.is_transient() || line.is_attended());
        Some(gone)
    }

    fn return_everything(&mut self) {
        let held: Vec<_> = self
            .lines
            .iter_mut()
            .flat_map(|(queue, line)| {
                line.take_all_back().into_iter().map(|(place, entry)| (queue.clone(), place, entry))
            })
            .collect();
        for (queue, place, entry) in held {
            self.give_back(&queue, place, entry);
        }
    }
}

/// The part a subscription takes in its queue.
#[derive(Debug)]
struct Membership {
    shared: Arc<Shared>,
    queue: Queue,
    consumer: ConsumerId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let gone = self.shared.change_and_tell(|state| state.leave(&self.queue, self.consumer));
        drop(gone);
    }
}

/// A message in a consumer's hands.
#[derive(Debug)]
struct Held {
    shared: Arc<Shared>,
    queue: Queue,
    given: Given,
    settled: bool,
}

impl Held {
    fn settle(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.settled, true) {
            self.shared.change_and_tell(|state| state.settle(&self.queue, self.given, outcome));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.settle(Outcome::Again);
    }
}

#[async_trait]
impl Settle for Held {
    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.settle(Outcome::Done);
        Ok(())
    }

    async fn retry(mut self: Box<Self>) -> Result<(), Error> {
        self.settle(Outcome::Again);
        Ok(())
    }

    async fn reject(mut self: Box<Self>, _message: Message, reason: &str) -> Result<(), Error> {
        self.settle(Outcome::Never(reason.to_owned()));
        Ok(())
    }
}
