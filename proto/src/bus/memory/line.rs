//! One queue of the memory bus: messages in order of arrival and the consumers that take turns. Pure bookkeeping;
//! it never waits, and whoever calls it holds the lock.

use std::collections::{BTreeMap, HashMap, VecDeque};

use tokio::sync::mpsc;

use crate::bus::{DELIVERIES_MAX, Delivery, Depth, Message, QUEUE_MESSAGES_MAX, Queue};

/// Where a message stands in its queue; it keeps its place when it is given back.
pub(super) type Place = u64;
pub(super) type ConsumerId = u64;

#[derive(Debug)]
pub(super) struct Line {
    queue: Queue,
    ready: BTreeMap<Place, Entry>,
    held: HashMap<u64, Taken>,
    /// The one whose turn it is comes first.
    consumers: VecDeque<Consumer>,
    next_place: Place,
    next_tag: u64,
    next_consumer: ConsumerId,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub message: Message,
    pub deliveries: u32,
    pub reason: Option<String>,
    pub origin: Option<String>,
}

/// Names one delivery: what was given, and to whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given {
    tag: u64,
    consumer: ConsumerId,
}

#[derive(Debug)]
struct Taken {
    by: ConsumerId,
    place: Place,
    entry: Entry,
}

#[derive(Debug)]
pub(super) struct Consumer {
    id: ConsumerId,
    sender: mpsc::Sender<Delivery>,
    prefetch: usize,
    /// Deliveries not yet settled or dropped. Stays at most `prefetch`, so the channel never overflows.
    holds: usize,
}

impl Entry {
    pub fn new(message: Message) -> Self {
        Self { message, deliveries: 0, reason: None, origin: None }
    }

    pub fn is_spent(&self) -> bool {
        self.deliveries >= DELIVERIES_MAX
    }
}

impl Line {
    pub fn new(queue: Queue) -> Self {
        Self {
            queue,
            ready: BTreeMap::new(),
            held: HashMap::new(),
            consumers: VecDeque::new(),
            next_place: 0,
            next_tag: 0,
            next_consumer: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.ready.len() >= QUEUE_MESSAGES_MAX
    }

    pub fn is_attended(&self) -> bool {
        !self.consumers.is_empty()
    }

    pub fn depth(&self) -> Depth {
        Depth { ready: self.ready.len() as u64, consumers: self.consumers.len() as u64 }
    }

    pub fn push(&mut self, entry: Entry) {
        self.ready.insert(self.next_place, entry);
        self.next_place += 1;
    }

    /// Pushes, and gives the oldest out when there are more than `max`.
    pub fn push_bounded(&mut self, entry: Entry, max: usize) -> Option<Entry> {
        self.push(entry);
        if self.ready.len() > max { self.ready.pop_first().map(|(_, oldest)| oldest) } else { None }
    }

    pub fn join(&mut self, sender: mpsc::Sender<Delivery>, prefetch: usize) -> ConsumerId {
        let id = self.next_consumer;
        self.next_consumer += 1;
        self.consumers.push_back(Consumer { id, sender, prefetch, holds: 0 });
        id
    }

    /// The consumer, to be dropped outside the lock, and what it held.
    pub fn leave(&mut self, id: ConsumerId) -> Option<(Consumer, Vec<(Place, Entry)>)> {
        let index = self.consumers.iter().position(|consumer| consumer.id == id)?;
        let gone = self.consumers.remove(index)?;
        Some((gone, self.take_back_where(|taken| taken.by == id)))
    }

    pub fn leave_all(&mut self) -> Vec<Consumer> {
        self.consumers.drain(..).collect()
    }

    /// Ends one delivery. `None` when the message was taken back before.
    pub fn take_back(&mut self, given: Given) -> Option<(Place, Entry)> {
        if let Some(consumer) = self.consumers.iter_mut().find(|consumer| consumer.id == given.consumer) {
            consumer.holds -= 1;
        }
        self.held.remove(&given.tag).map(|taken| (taken.place, taken.entry))
    }

    /// Takes every held message back. The deliveries still count against the prefetch of their consumers.
    pub fn take_all_back(&mut self) -> Vec<(Place, Entry)> {
        self.take_back_where(|_| true)
    }

    /// In order.
    fn take_back_where(&mut self, which: impl Fn(&Taken) -> bool) -> Vec<(Place, Entry)> {
        let mut taken: Vec<_> = self
            .held
            .extract_if(|_, taken| which(taken))
            .map(|(_, taken)| (taken.place, taken.entry))
            .collect();
        taken.sort_by_key(|(place, _)| *place);
        taken
    }

    pub fn put_back(&mut self, place: Place, entry: Entry) {
        self.ready.insert(place, entry);
    }

    /// Gives ready messages to consumers with room, in turn. What could not be sent is returned, to be dropped
    /// outside the lock: its subscription is just going and takes its messages back in `leave`.
    pub fn hand_out(&mut self, deliver: impl Fn(&Queue, &Entry, Given) -> Delivery) -> Vec<Delivery> {
        let mut unsent = Vec::new();
        while let Some(index) = self.consumers.iter().position(|consumer| consumer.holds < consumer.prefetch)
        {
            let Some((place, mut entry)) = self.ready.pop_first() else { break };
            let consumer = &mut self.consumers[index];
            let given = Given { tag: self.next_tag, consumer: consumer.id };
            self.next_tag += 1;
            entry.deliveries += 1;
            let delivery = deliver(&self.queue, &entry, given);
            self.held.insert(given.tag, Taken { by: consumer.id, place, entry });
            consumer.holds += 1;
            if let Err(error) = consumer.sender.try_send(delivery) {
                unsent.push(error.into_inner());
            }
            // Whoever was served, and those before who were busy, go to the end.
            self.consumers.rotate_left(index + 1);
        }
        unsent
    }
}
