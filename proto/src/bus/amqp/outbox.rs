//! Where a message waits until the broker has confirmed it. One that was under way when its connection died is sent
//! again on the next: it may arrive twice, it is never lost.

use std::sync::Arc;

use lapin::BasicProperties;
use lapin::types::FieldTable;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::declare::NOTICES;
use super::headers;
use super::keeper::Links;
use super::link::{Link, Receipt};
use super::trouble::Trouble;
use crate::bus::{Error, Message, OUTBOX_MESSAGES_MAX, Queue};

/// AMQP's delivery modes.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

#[derive(Debug)]
pub(super) struct Outbox {
    links: Links,
    room: Arc<Semaphore>,
    pub closed: CancellationToken,
}

/// A message with its address.
#[derive(Debug)]
pub(super) struct Parcel {
    pub exchange: &'static str,
    pub routing_key: String,
    pub mandatory: bool,
    pub message: Message,
    delivery_mode: u8,
    headers: FieldTable,
}

impl Outbox {
    pub fn new(links: Links, closed: CancellationToken) -> Self {
        Self { links, room: Arc::new(Semaphore::new(OUTBOX_MESSAGES_MAX)), closed }
    }

    /// Waits for room, then for the confirmation, however many connections that takes.
    pub async fn send(self: &Arc<Self>, parcel: Parcel) -> Result<(), Error> {
        let room = self.room.clone().acquire_owned().await.map_err(|_| Error::Closed)?;
        // A task of its own: a caller that stops waiting must not leave a confirmation half read on a channel.
        let sending = tokio::spawn(self.clone().deliver(parcel, room));
        sending.await.unwrap_or(Err(Error::Closed))
    }

    async fn deliver(self: Arc<Self>, parcel: Parcel, _room: OwnedSemaphorePermit) -> Result<(), Error> {
        let mut backoff = Backoff::new();
        let mut full = false;
        loop {
            let link = self.link().await?;
            match link.publish(&parcel).await {
                Ok(Receipt::Taken) => return Ok(()),
                Ok(Receipt::Unroutable) if parcel.mandatory => {
                    return Err(Error::Unroutable(parcel.routing_key));
                }
                Ok(Receipt::Unroutable) => return Ok(()),
                Ok(Receipt::NotNow) => {
                    if !std::mem::replace(&mut full, true) {
                        tracing::warn!(queue = %parcel.routing_key, "the queue is full; the message waits");
                    }
                }
                Err(Trouble::Refused(error)) => {
                    let what = format!("take a message for `{}{}`", parcel.exchange, parcel.routing_key);
                    return Err(Error::Refused { what, cause: Box::new(error) });
                }
                Err(trouble @ (Trouble::Lost(_) | Trouble::Silent)) => {
                    tracing::debug!(message = %parcel.message.id, ?trouble, "not confirmed; it is sent again");
                    if !link.is_up() {
                        // Gone for good; `link` above waits for the next one.
                        backoff = Backoff::new();
                    }
                }
            }
            backoff.wait(&self.closed).await.map_err(|_| Error::Closed)?;
        }
    }

    /// The current link, waiting for one that is up.
    pub async fn link(&self) -> Result<Arc<Link>, Error> {
        let mut links = self.links.clone();
        let waiting = links.wait_for(|link| link.as_ref().is_some_and(|link| link.is_up()));
        let link = tokio::select! {
            biased;
            () = self.closed.cancelled() => return Err(Error::Closed),
            link = waiting => link.map_err(|_| Error::Closed)?.clone(),
        };
        link.ok_or(Error::Closed)
    }

    /// One attempt on the current link, for what need not survive it. Whether it was confirmed.
    pub async fn send_once(&self, parcel: &Parcel) -> bool {
        let link = self.links.borrow().clone();
        match link {
            Some(link) => matches!(link.publish(parcel).await, Ok(Receipt::Taken)),
            None => false,
        }
    }
}

impl Parcel {
    pub fn to_queue(queue: &Queue, message: Message) -> Self {
        Self {
            exchange: "",
            routing_key: queue.to_string(),
            mandatory: true,
            message,
            delivery_mode: PERSISTENT,
            headers: FieldTable::default(),
        }
    }

    pub fn to_watchers(message: Message) -> Self {
        Self {
            exchange: NOTICES,
            routing_key: String::new(),
            mandatory: false,
            message,
            delivery_mode: TRANSIENT,
            headers: FieldTable::default(),
        }
    }

    pub fn to_dead_letters(message: Message, reason: &str, origin: &str) -> Self {
        Self {
            headers: headers::of_dead_letter(reason, origin),
            ..Self::to_queue(&Queue::DeadLetters, message)
        }
    }

    pub fn properties(&self) -> BasicProperties {
        BasicProperties::default()
            .with_message_id(self.message.id.to_string().into())
            .with_content_type("application/json".into())
            .with_delivery_mode(self.delivery_mode)
            .with_headers(self.headers.clone())
    }
}
