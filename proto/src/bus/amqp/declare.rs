//! The queues and exchanges as RabbitMQ knows them. Every queue is a quorum queue: it counts deliveries, survives a
//! `kill -9` of the broker with what was confirmed, and gives what it cannot settle to the dead-letter exchange.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::link::Link;
use super::trouble::{Trouble, ask};
use crate::bus::{DEAD_LETTERS_MAX, DELIVERIES_MAX, Depth, Error, NOTICES_MAX, QUEUE_MESSAGES_MAX, Queue};

/// Takes what queues give up; leads to the dead-letter queue.
const DEAD: &str = "fluidcloud.dead";
/// Copies each notice to every watcher.
pub(super) const NOTICES: &str = "fluidcloud.notices";
/// How long the queue of a worker outlives its connection: longer than a broker takes to restart.
const WORKER_QUEUE_EXPIRES_MS: i64 = 5 * 60 * 1000;
/// RabbitMQ writes down where the log of a new quorum queue is only when half a second has passed in which it looked
/// nothing up in that table, twice that at most on a quiet broker, and longer on a slow disk or while further queues
/// are made. A broker killed before has the queue afterwards, and it never answers again. Nobody is told of a queue,
/// and so nobody relies on it, before this has passed.
const QUEUE_SETTLES: Duration = Duration::from_secs(3);

/// Exchanges and standing queues, made if they are not there.
pub(super) async fn standing(link: &Link, url: &str) -> Result<(), Error> {
    let channel = link.channel().await.map_err(|trouble| trouble.into_error(url, "open a channel".into()))?;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for exchange in [DEAD, NOTICES] {
        let declared = ask(channel.exchange_declare(
            exchange.into(),
            ExchangeKind::Fanout,
            durable,
            FieldTable::default(),
        ));
        declared.await.map_err(|trouble| refused(trouble, url, "exchange", exchange))?;
    }
    let mut found = false;
    for standing in &Queue::STANDING {
        let declared = queue(&channel, standing).await;
        let made = declared.map_err(|trouble| refused(trouble, url, "queue", &standing.to_string()))?;
        found |= made == Made::Before;
    }
    let dead = Queue::DeadLetters.to_string();
    let bound = ask(channel.queue_bind(
        dead.as_str().into(),
        DEAD.into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    ));
    bound.await.map_err(|trouble| refused(trouble, url, "queue", &dead))?;
    if !found {
        settle().await;
    }
    // Closed by being dropped otherwise; this way its number is free again before the next one is asked for.
    let _ = ask(channel.close(200, "done".into())).await;
    Ok(())
}

/// When a queue was made, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    Before,
    /// Nothing in it and nobody there: it may be new.
    PerhapsNow,
}

/// Makes a queue if it is not there. One that may be new is relied on after [`settle`].
pub(super) async fn queue(channel: &Channel, queue: &Queue) -> Result<Made, Trouble> {
    let name = queue.to_string();
    let made =
        ask(channel.queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments(queue)))
            .await?;
    Ok(if made.message_count() + made.consumer_count() > 0 { Made::Before } else { Made::PerhapsNow })
}

/// Until a queue just made is on the broker's disk.
pub(super) async fn settle() {
    tokio::time::sleep(QUEUE_SETTLES).await;
}

/// A queue of this connection's own, bound to the notices. Returns its name, which the broker chose.
pub(super) async fn watcher(channel: &Channel) -> Result<String, Trouble> {
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(NOTICES_MAX as i64));
    arguments.insert("x-overflow".into(), text("drop-head"));
    let made = ask(channel.queue_declare("".into(), options, arguments)).await?;
    let name = made.name().clone();
    let (bind, none) = (QueueBindOptions::default(), FieldTable::default());
    ask(channel.queue_bind(name.clone(), NOTICES.into(), "".into(), bind, none)).await?;
    Ok(name.to_string())
}

pub(super) async fn delete(channel: &Channel, queue: &Queue) -> Result<(), Trouble> {
    let name = queue.to_string();
    ask(channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default())).await?;
    Ok(())
}

/// Asked on a channel of its own, which a missing queue closes.
pub(super) async fn depth(link: &Link, queue: &Queue) -> Result<Depth, Trouble> {
    let channel = link.channel().await?;
    let name = queue.to_string();
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    match ask(channel.queue_declare(name.as_str().into(), passive, FieldTable::default())).await {
        Ok(found) => {
            let depth =
                Depth { ready: found.message_count().into(), consumers: found.consumer_count().into() };
            let _ = ask(channel.close(200, "done".into())).await;
            Ok(depth)
        }
        Err(trouble) if trouble.is_not_found() => Ok(Depth::default()),
        Err(trouble) => Err(trouble),
    }
}

/// The error for what exists already and differs, or for anything else that stops a declaration.
pub(super) fn refused(trouble: Trouble, url: &str, kind: &str, name: &str) -> Error {
    let what = if trouble.is_precondition() {
        format!(
            "declare {kind} `{name}`, which exists with other arguments than FluidCloud's: let it run empty, \
             remove it with `rabbitmqctl delete_queue {name}` (an exchange in the management page), start again"
        )
    } else {
        format!(
            "declare {kind} `{name}`: give the user the right to configure, write and read `fluidcloud.*`"
        )
    };
    trouble.into_error(url, what)
}

fn arguments(queue: &Queue) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    if *queue == Queue::DeadLetters {
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(DEAD_LETTERS_MAX as i64));
        arguments.insert("x-overflow".into(), text("drop-head"));
        return arguments;
    }
    // RabbitMQ counts returns: a limit of N is N + 1 deliveries.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(DELIVERIES_MAX) - 1));
    arguments.insert("x-dead-letter-exchange".into(), text(DEAD));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(QUEUE_MESSAGES_MAX as i64));
    // A full queue says no to the publisher, which waits, instead of dropping what others were promised.
    arguments.insert("x-overflow".into(), text("reject-publish"));
    if queue.is_transient() {
        arguments.insert("x-expires".into(), AMQPValue::LongLongInt(WORKER_QUEUE_EXPIRES_MS));
    }
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}
