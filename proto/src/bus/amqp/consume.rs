//! Feeds one subscription from its own channel, and takes part again on the next channel when that one fails.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::declare::{self, Made};
use super::headers;
use super::link::Link;
use super::outbox::Outbox;
use super::settle::Held;
use super::trouble::{Trouble, ask};
use crate::bus::{Delivery, Error, MESSAGE_BYTES_MAX, Message, Queue, Settle};

/// How often a feed looks whether its channel still lives: a consumer can go silent instead of ending.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Feed {
    outbox: Arc<Outbox>,
    queue: Queue,
    prefetch: u16,
    sender: mpsc::Sender<Delivery>,
    /// Cancelled when the subscription is dropped or the bus is closed.
    gone: CancellationToken,
}

/// One channel that consumes.
struct Tap {
    channel: Channel,
    consumer: Consumer,
    made: Made,
}

enum Ended {
    /// Nobody wants more.
    Gone,
    /// The channel failed.
    Lost,
}

impl Feed {
    /// Returns when the queue is there and we take part in it; from then on the feed runs by itself.
    pub async fn start(
        outbox: Arc<Outbox>,
        queue: Queue,
        prefetch: u16,
        sender: mpsc::Sender<Delivery>,
        gone: CancellationToken,
    ) -> Result<(), Error> {
        let feed = Self { outbox, queue, prefetch, sender, gone };
        let mut first = feed.open().await?;
        // The standing ones have settled before the bus was connected.
        while first.made == Made::PerhapsNow && !Queue::STANDING.contains(&feed.queue) {
            declare::settle().await;
            if first.channel.status().connected() {
                break;
            }
            first = feed.open().await?;
        }
        tokio::spawn(feed.run(first));
        Ok(())
    }

    async fn run(self, first: Tap) {
        let mut tap = first;
        loop {
            match self.pump(&mut tap).await {
                Ended::Gone => return self.farewell(&tap.channel).await,
                Ended::Lost => {}
            }
            // Torn down by us, whatever state it is in: a channel left half open would hold deliveries.
            let _ = ask(tap.channel.close(200, "lost".into())).await;
            tracing::debug!(queue = %self.queue, "consumer lost; taking part again");
            tap = match self.reopen().await {
                Some(tap) => tap,
                None => return,
            };
        }
    }

    async fn pump(&self, tap: &mut Tap) -> Ended {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.gone.cancelled() => return Ended::Gone,
                item = tap.consumer.next() => match item {
                    Some(Ok(delivery)) => delivery,
                    Some(Err(_)) | None => return Ended::Lost,
                },
                _ = look.tick() => {
                    if tap.channel.status().connected() { continue } else { return Ended::Lost }
                }
            };
            let Some(delivery) = self.accept(delivery).await else { continue };
            // Room there is, unless what an earlier channel brought still waits to be looked at.
            tokio::select! {
                () = self.gone.cancelled() => return Ended::Gone,
                sent = self.sender.send(delivery) => if sent.is_err() { return Ended::Gone },
            }
        }
    }

    /// `None` for one that is too large and goes straight to the dead letters.
    async fn accept(&self, delivery: lapin::message::Delivery) -> Option<Delivery> {
        let is_dead_letter = self.queue == Queue::DeadLetters;
        let properties = &delivery.properties;
        let origin = if is_dead_letter { headers::origin(properties) } else { None };
        let held_from = origin.clone().unwrap_or_else(|| self.queue.to_string());
        let held = Box::new(Held::new(delivery.acker, self.outbox.clone(), held_from));
        let message = Message { id: headers::id(properties), body: delivery.data };
        if message.body.len() > MESSAGE_BYTES_MAX && !is_dead_letter {
            let reason = Error::TooLarge(message.body.len()).to_string();
            tracing::warn!(message = %message.id, %reason, "message goes to the dead-letter queue");
            let _ = held.reject(message, &reason).await;
            return None;
        }
        Some(Delivery {
            message,
            attempt: headers::attempt(properties, delivery.redelivered),
            reason: if is_dead_letter { headers::reason(properties) } else { None },
            origin,
            settle: held,
        })
    }

    /// Takes part, on whichever link comes. An error only when the broker refuses.
    async fn open(&self) -> Result<Tap, Error> {
        let mut backoff = Backoff::new();
        loop {
            let link = self.outbox.link().await?;
            match self.open_on(&link).await {
                Ok(tap) => return Ok(tap),
                Err(trouble @ Trouble::Refused(_)) => {
                    return Err(declare::refused(trouble, "", "queue", &self.queue.to_string()));
                }
                Err(Trouble::Silent) => tracing::warn!(
                    queue = %self.queue,
                    "the queue does not answer; trying on. If other queues do, RabbitMQ was killed as it made this \
                     one: remove it with `rabbitmqctl delete_queue {}`, it is made anew",
                    self.queue
                ),
                Err(trouble) => {
                    tracing::debug!(queue = %self.queue, ?trouble, "could not consume; trying on")
                }
            }
            backoff.wait(&self.gone).await.map_err(|_| Error::Closed)?;
        }
    }

    async fn open_on(&self, link: &Link) -> Result<Tap, Trouble> {
        let channel = link.channel().await?;
        let made = declare::queue(&channel, &self.queue).await?;
        ask(channel.basic_qos(self.prefetch, BasicQosOptions::default())).await?;
        let name = self.queue.to_string();
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer =
            ask(channel.basic_consume(name.as_str().into(), "".into(), options, arguments)).await?;
        Ok(Tap { channel, consumer, made })
    }

    /// `None` when nobody wants more.
    async fn reopen(&self) -> Option<Tap> {
        let mut backoff = Backoff::new();
        loop {
            let attempt = tokio::select! {
                attempt = self.open() => attempt,
                () = self.gone.cancelled() => return None,
            };
            match attempt {
                Ok(tap) => return Some(tap),
                Err(Error::Closed) => return None,
                // Somebody made the queue anew with other arguments; a person can mend it while we wait.
                Err(error) => tracing::error!(queue = %self.queue, %error, "cannot take part in the queue"),
            }
            backoff.wait(&self.gone).await.ok()?;
        }
    }

    /// What is not settled goes back as the channel closes; a worker's queue goes with its worker.
    async fn farewell(&self, channel: &Channel) {
        if self.queue.is_transient() {
            let _ = declare::delete(channel, &self.queue).await;
        }
        let _ = ask(channel.close(200, "left".into())).await;
    }
}
