//! The bus over RabbitMQ. Owns its reconnects: a lost connection is replaced for as long as the bus lives, publishes
//! wait in the outbox meanwhile, subscriptions and watchers take part again by themselves. Nothing outside this
//! module knows AMQP, and nothing in it knows what the messages say.
//!
//! ```text
//! publish --> outbox --> link (channel pool, confirms) --> broker
//!                          ^ replaced by the keeper
//! Subscription <-- feed (one channel each, own prefetch) <-- broker
//! ```

mod backoff;
mod consume;
mod declare;
mod headers;
mod keeper;
mod link;
mod notices;
mod options;
mod outbox;
mod settle;
mod trouble;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{Bus, Depth, Error, Message, PREFETCH_MAX, Queue, Subscription, check_size};
use consume::Feed;
use notices::Watchers;
use outbox::{Outbox, Parcel};

pub use options::AmqpOptions;

/// A RabbitMQ (3.10 or later) as a bus. Dropping it closes the connection and ends every subscription.
pub struct AmqpBus {
    url: String,
    outbox: Arc<Outbox>,
    watchers: Watchers,
    connected: watch::Receiver<bool>,
    closed: CancellationToken,
}

impl AmqpBus {
    /// Connects, and makes the standing queues if they are not there. Errors: unreachable within the patience of
    /// the options, login refused, or a queue that exists with other arguments.
    pub async fn connect(options: AmqpOptions) -> Result<Arc<Self>, Error> {
        let url = options.display_url();
        let closed = CancellationToken::new();
        let first = keeper::connect_first(&options).await?;
        let (links, link) = watch::channel(Some(first.clone()));
        let (connected, is_connected) = watch::channel(true);
        tokio::spawn(keeper::keep(options, first, links, connected, closed.clone()));
        let outbox = Arc::new(Outbox::new(link, closed.clone()));
        Ok(Arc::new(Self {
            url,
            watchers: Watchers::new(outbox.clone()),
            outbox,
            connected: is_connected,
            closed,
        }))
    }
}

/// How long the broker may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(3);

impl Drop for AmqpBus {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl fmt::Debug for AmqpBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpBus")
            .field("url", &self.url)
            .field("connected", &*self.connected.borrow())
            .finish()
    }
}

#[async_trait]
impl Bus for AmqpBus {
    async fn publish(&self, queue: &Queue, message: Message) -> Result<(), Error> {
        check_size(&message)?;
        self.outbox.send(Parcel::to_queue(queue, message)).await
    }

    async fn notify(&self, message: Message) -> Result<(), Error> {
        check_size(&message)?;
        self.outbox.send(Parcel::to_watchers(message)).await
    }

    async fn subscribe(&self, queue: &Queue, prefetch: u16) -> Result<Subscription, Error> {
        let prefetch = prefetch.clamp(1, PREFETCH_MAX);
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch));
        let gone = self.closed.child_token();
        let membership = Box::new(gone.clone().drop_guard());
        Feed::start(self.outbox.clone(), queue.clone(), prefetch, sender, gone).await?;
        Ok(Subscription { _membership: membership, deliveries })
    }

    async fn watch(&self) -> Result<broadcast::Receiver<Message>, Error> {
        self.watchers.watch().await
    }

    async fn depth(&self, queue: &Queue) -> Result<Depth, Error> {
        let link = self.outbox.link().await?;
        match declare::depth(&link, queue).await {
            Ok(depth) => Ok(depth),
            Err(trouble) => Err(trouble.into_error(&self.url, format!("tell the depth of queue `{queue}`"))),
        }
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }

    async fn close(&self) {
        self.closed.cancel();
        let mut connected = self.connected.clone();
        // The keeper is the only one who sends; it ends when the connection is closed.
        let ended = async { while connected.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(GOODBYE_MAX, ended).await;
    }
}
