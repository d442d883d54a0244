//! Notices for whoever watches in this process: one queue per connection, made when the first watcher comes, fed
//! into a bounded broadcast. What is sent during an outage, or faster than a watcher looks, is lost to it.

use std::sync::Arc;

use futures::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};
use tokio::sync::{OnceCell, broadcast};
use tokio::time::MissedTickBehavior;

use super::backoff::Backoff;
use super::consume::LOOK_EVERY;
use super::declare;
use super::headers;
use super::link::Link;
use super::outbox::Outbox;
use super::trouble::{Trouble, ask};
use crate::bus::{Error, Message, NOTICES_MAX};

#[derive(Debug)]
pub(super) struct Watchers {
    outbox: Arc<Outbox>,
    sender: broadcast::Sender<Message>,
    started: OnceCell<()>,
}

impl Watchers {
    pub fn new(outbox: Arc<Outbox>) -> Self {
        Self { outbox, sender: broadcast::Sender::new(NOTICES_MAX), started: OnceCell::new() }
    }

    /// Returns when notices flow.
    pub async fn watch(&self) -> Result<broadcast::Receiver<Message>, Error> {
        let receiver = self.sender.subscribe();
        let start = async {
            let first = open(&self.outbox).await?;
            tokio::spawn(run(self.outbox.clone(), self.sender.clone(), first));
            Ok::<(), Error>(())
        };
        self.started.get_or_try_init(|| start).await?;
        Ok(receiver)
    }
}

async fn run(outbox: Arc<Outbox>, sender: broadcast::Sender<Message>, first: (Channel, Consumer)) {
    let closed = outbox.closed.clone();
    let mut next = Some(first);
    while let Some((channel, consumer)) = next {
        tokio::select! {
            () = pump(&channel, consumer, &sender) => {}
            () = closed.cancelled() => return,
        }
        let _ = ask(channel.close(200, "lost".into())).await;
        next = tokio::select! {
            opened = open(&outbox) => opened
                .inspect_err(|error| tracing::error!(%error, "no more notices until a restart"))
                .ok(),
            () = closed.cancelled() => return,
        };
    }
}

/// Returns when the channel is lost.
async fn pump(channel: &Channel, mut consumer: Consumer, sender: &broadcast::Sender<Message>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            item = consumer.next() => match item {
                Some(Ok(delivery)) => {
                    let message = Message { id: headers::id(&delivery.properties), body: delivery.data };
                    // An error only says that nobody watches at the moment.
                    let _ = sender.send(message);
                }
                Some(Err(_)) | None => return,
            },
            _ = look.tick() => if !channel.status().connected() { return },
        }
    }
}

async fn open(outbox: &Outbox) -> Result<(Channel, Consumer), Error> {
    let mut backoff = Backoff::new();
    loop {
        let link = outbox.link().await?;
        match open_on(&link).await {
            Ok(opened) => return Ok(opened),
            Err(trouble @ Trouble::Refused(_)) => {
                return Err(declare::refused(trouble, "", "exchange", declare::NOTICES));
            }
            Err(trouble) => tracing::debug!(?trouble, "could not watch notices; trying on"),
        }
        backoff.wait(&outbox.closed).await.map_err(|_| Error::Closed)?;
    }
}

async fn open_on(link: &Link) -> Result<(Channel, Consumer), Trouble> {
    let channel = link.channel().await?;
    let queue = declare::watcher(&channel).await?;
    let unsettled = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let arguments = FieldTable::default();
    let consumer = ask(channel.basic_consume(queue.as_str().into(), "".into(), unsettled, arguments)).await?;
    Ok((channel, consumer))
}
