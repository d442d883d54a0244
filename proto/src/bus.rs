//! The seam between the parts: named queues and a topic for watchers. What a bus promises is written on [`Bus`];
//! `bus/conformance.rs` holds every implementation to it.

pub mod amqp;
pub mod conformance;
pub mod memory;
mod queue;
mod typed;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use uuid::Uuid;

pub use queue::Queue;
pub use typed::{Received, publish_command, publish_notice, receive};

/// Largest message body. A larger one is refused before it is sent, and dead-lettered when it arrives.
pub const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// Unacknowledged deliveries one subscription may hold.
pub const PREFETCH_MAX: u16 = 256;
/// Messages waiting for the bus to come back; when it is full, `publish` waits.
pub const OUTBOX_MESSAGES_MAX: usize = 10_000;
/// Deliveries of one message before it goes to the dead-letter queue.
pub const DELIVERIES_MAX: u32 = 5;
/// Messages one queue holds; when it is full, `publish` waits.
pub const QUEUE_MESSAGES_MAX: usize = 10_000;
/// Dead letters kept for a person to read; the oldest go first.
pub const DEAD_LETTERS_MAX: usize = 10_000;
/// Notices a watcher may lag behind before it loses the oldest.
pub const NOTICES_MAX: usize = 1024;
/// Longest reason kept with a dead letter; the rest is cut.
pub const REASON_BYTES_MAX: usize = 4096;

pub type SharedBus = Arc<dyn Bus>;

/// At-least-once messages between parts that may each be killed at any instant.
///
/// - `publish` returns when the bus has taken the message over durably (a confirmation), and not before. While the
///   bus is away the message waits in the outbox and the call with it; dropping the call may or may not send it.
/// - A message for a queue that does not exist is [`Error::Unroutable`], never lost in silence.
/// - Messages of one publisher to one queue arrive in order unless redelivered. A message may arrive twice.
/// - A delivery belongs to its subscription until it is settled; when the subscription or its connection goes, what
///   is not settled is delivered again, to whoever subscribes. Settling on a lost connection is not an error: the
///   message comes again.
/// - After [`DELIVERIES_MAX`] deliveries without `ack`, a message is moved to the dead-letter queue with the reason.
/// - Nobody holds a delivery for long: settle within seconds, by recording what is to be done.
#[async_trait]
pub trait Bus: Send + Sync + std::fmt::Debug {
    /// Sends to one queue.
    async fn publish(&self, queue: &Queue, message: Message) -> Result<(), Error>;

    /// Sends to every watcher subscribed now; to none is no error.
    async fn notify(&self, message: Message) -> Result<(), Error>;

    /// Takes part in a queue, which is made if it is not there. Survives reconnects by itself. The stream ends when
    /// the subscription is dropped or the bus is closed.
    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error>;

    /// Sees every notice from now on. No settlement: a slow watcher loses the oldest ones.
    async fn watch(&self) -> Result<tokio::sync::broadcast::Receiver<Message>, Error>;

    /// Ready messages and consumers of a queue; zeros for one that does not exist.
    async fn depth(&self, queue: &Queue) -> Result<Depth, Error>;

    /// Whether the bus is reachable now. Leases are not counted down while it is not.
    fn connected(&self) -> watch::Receiver<bool>;

    /// Before the process ends: takes leave of the broker, if there is one, and ends this bus's subscriptions.
    /// What was published is safe already.
    async fn close(&self) {}
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The same id again is the same message.
    pub id: Uuid,
    pub body: Vec<u8>,
}

impl Message {
    pub fn new(body: Vec<u8>) -> Self {
        Self { id: Uuid::new_v4(), body }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub ready: u64,
    pub consumers: u64,
}

/// Deliveries of one queue, in order. Dropping it gives back what is not settled.
#[derive(Debug)]
pub struct Subscription {
    /// Dropping it ends the feeding and gives back what is not settled. Before the channel, so that what still
    /// waits in there is given back with the rest, in order.
    pub(crate) _membership: Box<dyn std::fmt::Debug + Send + Sync>,
    pub(crate) deliveries: tokio::sync::mpsc::Receiver<Delivery>,
}

impl Subscription {
    /// `None` when the bus is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Delivery> {
        self.deliveries.recv().await
    }
}

/// One message in our hands until settled. Dropped unsettled, it is delivered again.
#[derive(Debug)]
pub struct Delivery {
    pub message: Message,
    /// 1 at first; a hint, as a broker may lose count.
    pub attempt: u32,
    /// On the dead-letter queue: why it is there.
    pub reason: Option<String>,
    /// On the dead-letter queue: the name of the queue it came from.
    pub origin: Option<String>,
    pub(crate) settle: Box<dyn Settle>,
}

impl Delivery {
    /// Done with: it is not delivered again.
    pub async fn ack(self) -> Result<(), Error> {
        self.settle.ack().await
    }

    /// Not now: delivered again, and counted.
    pub async fn retry(self) -> Result<(), Error> {
        self.settle.retry().await
    }

    /// Never: moved to the dead-letter queue with `reason`, which names the cause and the remedy.
    pub async fn reject(self, reason: &str) -> Result<(), Error> {
        self.settle.reject(self.message, reason).await
    }
}

#[async_trait]
pub(crate) trait Settle: Send + Sync + std::fmt::Debug {
    async fn ack(self: Box<Self>) -> Result<(), Error>;
    async fn retry(self: Box<Self>) -> Result<(), Error>;
    async fn reject(self: Box<Self>, message: Message, reason: &str) -> Result<(), Error>;
}

/// What stands with a dead letter whose consumers never settled it.
pub(crate) fn delivery_limit_reason(queue: &str) -> String {
    format!(
        "delivered {DELIVERIES_MAX} times on `{queue}` and never settled: \
         see in the log what its consumer stumbled over, then publish it again"
    )
}

/// A reason as it is kept: at most [`REASON_BYTES_MAX`], cut between characters.
pub(crate) fn bounded_reason(reason: &str) -> String {
    let mut end = reason.len().min(REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    reason[..end].to_owned()
}

pub(crate) fn check_size(message: &Message) -> Result<(), Error> {
    match message.body.len() {
        bytes if bytes > MESSAGE_BYTES_MAX => Err(Error::TooLarge(bytes)),
        _ => Ok(()),
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("queue `{0}` does not exist: start the part that serves it (see `fluidcloud status`)")]
    Unroutable(String),
    #[error("message of {0} bytes is larger than the {MESSAGE_BYTES_MAX} bytes a bus carries: shorten it")]
    TooLarge(usize),
    #[error("the bus at {url} does not answer: check that RabbitMQ runs there and that the url is right")]
    Unreachable {
        /// Without its password.
        url: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the bus refused to {what}")]
    Refused {
        what: String,
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("message is not valid: {0}")]
    Invalid(String),
    #[error(
        "the url of the bus is not valid, {0}: write it as amqp://USER@HOST:PORT/VHOST, or amqps:// for TLS"
    )]
    InvalidUrl(String),
    #[error("the bus is closed")]
    Closed,
}

impl Error {
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}
