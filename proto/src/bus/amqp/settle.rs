//! A delivery in our hands until settled. On a channel that is gone settling does nothing, as the broker delivers
//! the message again.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::Acker;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use tokio::runtime::Handle;

use super::outbox::{Outbox, Parcel};
use super::trouble::{Trouble, ask};
use crate::bus::{Error, Message, Settle};

#[derive(Debug)]
pub(super) struct Held {
    acker: Acker,
    outbox: Arc<Outbox>,
    /// The queue it came from, the first one if it is a dead letter.
    origin: String,
    runtime: Handle,
    settled: bool,
}

impl Held {
    pub fn new(acker: Acker, outbox: Arc<Outbox>, origin: String) -> Self {
        Self { acker, outbox, origin, runtime: Handle::current(), settled: false }
    }

    async fn give_back(&mut self) {
        self.settled = true;
        settle(self.acker.nack(again())).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.settled && self.acker.usable() {
            let acker = self.acker.clone();
            self.runtime.spawn(async move { settle(acker.nack(again())).await });
        }
    }
}

#[async_trait]
impl Settle for Held {
    async fn ack(mut self: Box<Self>) -> Result<(), Error> {
        self.settled = true;
        settle(self.acker.ack(BasicAckOptions::default())).await;
        Ok(())
    }

    async fn retry(mut self: Box<Self>) -> Result<(), Error> {
        self.give_back().await;
        Ok(())
    }

    async fn reject(mut self: Box<Self>, message: Message, reason: &str) -> Result<(), Error> {
        let parcel = Parcel::to_dead_letters(message, reason, &self.origin);
        // Its copy is safe before the message goes: killed in between, there are two, never none. One attempt, as
        // a connection that fails here brings the message again anyway.
        if self.outbox.send_once(&parcel).await {
            self.settled = true;
            settle(self.acker.ack(BasicAckOptions::default())).await;
        } else {
            self.give_back().await;
        }
        Ok(())
    }
}

fn again() -> BasicNackOptions {
    BasicNackOptions { requeue: true, multiple: false }
}

async fn settle(settlement: impl Future<Output = lapin::Result<bool>>) {
    match ask(settlement).await {
        Ok(_) => {}
        Err(Trouble::Lost(error) | Trouble::Refused(error)) => {
            tracing::debug!(%error, "could not settle a delivery; it comes again");
        }
        Err(Trouble::Silent) => tracing::debug!("no channel to settle a delivery on; it comes again"),
    }
}
