//! The one suite that every bus passes: each promise of [`Bus`](super::Bus) as a check that panics, with the name of
//! the promise, when it is broken. An implementation brings a [`Bench`] and calls [`check_all`].

mod deliveries;
mod outages;
mod publishing;

use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Delivery, Message, Queue, SharedBus, Subscription};
use crate::plan::MigratorKind;

/// What the suite waits for comes within this, restarts of a broker included.
const WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at something that cannot be waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What an implementation lends to the suite.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The bus as one more part of FluidCloud would use it. All of them meet in the same queues.
    async fn connect(&self) -> SharedBus;
    /// Cuts everybody off, as hard as it can happen.
    async fn go_away(&self);
    async fn come_back(&self);
}

type Check = for<'a> fn(&'a dyn Bench) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

macro_rules! checks {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((stringify!($name), (|bench| Box::pin($module::$name(bench))) as Check)),*]
    };
}

/// Runs every check, one after the other; a check that does not end is a failure too.
pub async fn check_all(bench: &dyn Bench) {
    let checks = checks![
        publishing::a_published_message_is_delivered_with_its_id,
        publishing::messages_of_one_publisher_arrive_in_order,
        publishing::a_message_for_no_queue_is_an_error,
        publishing::an_unroutable_message_is_told_to_its_own_publisher,
        publishing::a_message_of_the_largest_size_passes_and_a_larger_one_is_refused,
        publishing::notices_reach_every_watcher_and_none_is_no_error,
        publishing::the_depth_of_a_queue_counts_what_waits_and_who_serves,
        deliveries::a_dropped_delivery_is_delivered_again,
        deliveries::a_dropped_subscription_gives_back_what_it_held,
        deliveries::an_acknowledged_message_never_returns,
        deliveries::a_retry_is_counted,
        deliveries::a_message_nobody_settles_becomes_a_dead_letter_with_the_reason,
        deliveries::a_rejected_message_becomes_a_dead_letter_with_our_reason,
        deliveries::a_dead_letter_can_be_rejected_and_stays_one,
        deliveries::no_more_than_the_prefetch_is_delivered_unsettled,
        deliveries::two_consumers_of_a_queue_share_its_messages,
        deliveries::the_queue_of_a_worker_goes_with_it,
        outages::publishes_during_an_outage_complete_after_it,
        outages::a_subscription_outlives_an_outage_and_what_it_held_comes_again,
        outages::watchers_outlive_an_outage,
    ];
    for (name, check) in checks {
        let started = std::time::Instant::now();
        match tokio::time::timeout(WITHIN * 2, check(bench)).await {
            Ok(()) => println!("ok {name} ({:.2} s)", started.elapsed().as_secs_f64()),
            Err(_) => panic!("{name}: did not end"),
        }
    }
}

/// A queue that no other check uses.
fn own_queue() -> Queue {
    let name = format!("check-{}", Uuid::new_v4().simple());
    Queue::Tasks { kind: MigratorKind::Image, site: name.parse().expect("a valid name") }
}

fn own_worker() -> Queue {
    Queue::Worker(format!("check-{}", Uuid::new_v4().simple()).parse().expect("a valid name"))
}

fn message(body: impl Into<String>) -> Message {
    Message::new(body.into().into_bytes())
}

fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.message.body).expect("what was sent is text")
}

/// The next delivery, which must come.
async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(WITHIN, subscription.next()).await.expect("a delivery in time").expect("an open bus")
}

#[derive(Debug)]
struct DeadLetter {
    reason: Option<String>,
    origin: Option<String>,
}

/// The dead letter with this body, taken out; others found on the way are of other checks and are cleared.
async fn dead_letter(bus: &SharedBus, body: &str) -> DeadLetter {
    let mut dead = bus.subscribe(&Queue::DeadLetters, 16).await.expect("dead letters can be read");
    loop {
        let letter = next(&mut dead).await;
        let found = text(&letter) == body;
        let looked = DeadLetter { reason: letter.reason.clone(), origin: letter.origin.clone() };
        letter.ack().await.expect("settled");
        if found {
            return looked;
        }
    }
}

/// Waits until `look` says so.
async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + WITHIN;
    while !look().await {
        assert!(tokio::time::Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
