//! One connection to the broker and the channels that publish on it. A link is never repaired: when it fails it is
//! dropped and the keeper makes the next one.

use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection, ConnectionProperties, DefaultConnectionBuilder, Event};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use super::options::AmqpOptions;
use super::outbox::Parcel;
use super::trouble::{ANSWER_MAX, Trouble, ask};

/// Publishes under way at once. Each has a channel to itself: on a shared one the client library hands a message
/// that came back unroutable to whichever publish is confirmed next, and the wrong one learns of it.
const PUBLISHES_MAX: usize = 16;
/// How often the connection is looked at, besides when it says something.
const LOOK_EVERY: Duration = Duration::from_secs(1);

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

pub(super) struct Link {
    connection: Connection,
    events: AsyncMutex<Events>,
    turns: Semaphore,
    idle: Mutex<Vec<Channel>>,
}

/// What became of a publish.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Receipt {
    Taken,
    /// No queue of that name.
    Unroutable,
    /// The queue is full, or could not take it now.
    NotNow,
}

impl Link {
    pub async fn open(options: &AmqpOptions) -> Result<Self, Trouble> {
        let properties =
            ConnectionProperties::default().with_connection_name(options.client_name.as_str().into());
        let builder = DefaultConnectionBuilder::new()?
            .with_uri(options.uri.clone())
            .with_properties(properties)
            .with_tls_config(options.tls());
        let connection = ask(builder.connect()).await?;
        let events: Events = Box::pin(connection.events_listener());
        Ok(Self {
            connection,
            events: AsyncMutex::new(events),
            turns: Semaphore::new(PUBLISHES_MAX),
            idle: Mutex::new(Vec::new()),
        })
    }

    pub fn is_up(&self) -> bool {
        self.connection.status().connected()
    }

    /// Returns when the connection is gone.
    pub async fn lost(&self) {
        let mut events = self.events.lock().await;
        while self.is_up() {
            // Not only on events: one may be missed, and then nobody would reconnect.
            if let Ok(None) = tokio::time::timeout(LOOK_EVERY, events.next()).await {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
    }

    pub async fn close(&self) {
        // It is on its way out; what goes wrong now changes nothing.
        let _ = ask(self.connection.close(200, "closed".into())).await;
    }

    pub async fn channel(&self) -> Result<Channel, Trouble> {
        ask(self.connection.create_channel()).await
    }

    /// Publishes and waits for the confirmation.
    pub async fn publish(&self, parcel: &Parcel) -> Result<Receipt, Trouble> {
        // Never closed.
        let _turn = self.turns.acquire().await.ok();
        let channel = match self.take_idle() {
            Some(channel) => channel,
            None => {
                let channel = self.channel().await?;
                ask(channel.confirm_select(ConfirmSelectOptions::default())).await?;
                channel
            }
        };
        let receipt = self.publish_on(&channel, parcel).await?;
        // After an error the channel is dropped instead, and closes.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        Ok(receipt)
    }

    fn take_idle(&self) -> Option<Channel> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|channel| channel.status().connected())
    }

    async fn publish_on(&self, channel: &Channel, parcel: &Parcel) -> Result<Receipt, Trouble> {
        let options = BasicPublishOptions { mandatory: parcel.mandatory, ..BasicPublishOptions::default() };
        let confirmation = async {
            channel
                .basic_publish(
                    parcel.exchange.into(),
                    parcel.routing_key.as_str().into(),
                    options,
                    &parcel.message.body,
                    parcel.properties(),
                )
                .await?
                .await
        };
        tokio::pin!(confirmation);
        loop {
            match tokio::time::timeout(ANSWER_MAX, &mut confirmation).await {
                Ok(Ok(confirmation)) => return Ok(receipt(confirmation)),
                Ok(Err(error)) => return Err(error.into()),
                // The broker is short of memory or disk and said so: it takes nothing until that is over.
                Err(_) if self.is_up() && self.connection.status().blocked() => {
                    tracing::warn!(
                        "the broker is out of memory or disk and takes no messages: make room there"
                    );
                }
                Err(_) => return Err(Trouble::Silent),
            }
        }
    }
}

fn receipt(confirmation: Confirmation) -> Receipt {
    match confirmation {
        // Confirmed and yet nowhere: this is how an unroutable message comes back.
        Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Receipt::Unroutable,
        Confirmation::Ack(None) => Receipt::Taken,
        Confirmation::Nack(None) | Confirmation::NotRequested => Receipt::NotNow,
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("up", &self.is_up()).finish_non_exhaustive()
    }
}
