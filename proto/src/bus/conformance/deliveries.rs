//! What holds from the first delivery to the last.

use std::collections::HashSet;

use super::{Bench, dead_letter, message, next, own_queue, own_worker, text, until};
use crate::bus::{DELIVERIES_MAX, Error, Queue, REASON_BYTES_MAX};

pub(super) async fn a_dropped_delivery_is_delivered_again(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    let sent = message("dropped once");
    bus.publish(&queue, sent.clone()).await.expect("published");
    drop(next(&mut subscription).await);
    let again = next(&mut subscription).await;
    assert_eq!(again.message, sent);
    assert_eq!(again.attempt, 2);
    again.ack().await.expect("settled");
}

pub(super) async fn a_dropped_subscription_gives_back_what_it_held(bench: &dyn Bench) {
    let (first, second) = (bench.connect().await, bench.connect().await);
    let queue = own_queue();
    let mut gone = first.subscribe(&queue, 2).await.expect("subscribed");
    for body in ["in hand", "in the channel", "in the queue"] {
        first.publish(&queue, message(body)).await.expect("published");
    }
    let in_hand = next(&mut gone).await;
    drop(gone);
    let mut subscription = second.subscribe(&queue, 8).await.expect("subscribed");
    let mut again = HashSet::new();
    while again.len() < 3 {
        let delivery = next(&mut subscription).await;
        again.insert(text(&delivery).to_owned());
        delivery.ack().await.expect("settled");
    }
    in_hand.ack().await.expect("settling what was taken back is no error");
}

pub(super) async fn an_acknowledged_message_never_returns(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    bus.publish(&queue, message("settled")).await.expect("published");
    next(&mut subscription).await.ack().await.expect("settled");
    drop(subscription);
    bus.publish(&queue, message("the one after")).await.expect("published");
    let other = bench.connect().await;
    let mut subscription = other.subscribe(&queue, 1).await.expect("subscribed");
    let delivery = next(&mut subscription).await;
    assert_eq!(text(&delivery), "the one after");
    delivery.ack().await.expect("settled");
}

pub(super) async fn a_retry_is_counted(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    bus.publish(&queue, message("not now")).await.expect("published");
    for attempt in 1..DELIVERIES_MAX {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.attempt, attempt);
        delivery.retry().await.expect("given back");
    }
    let last = next(&mut subscription).await;
    assert_eq!(last.attempt, DELIVERIES_MAX);
    last.ack().await.expect("settled");
}

pub(super) async fn a_message_nobody_settles_becomes_a_dead_letter_with_the_reason(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    let poison = format!("poison for {queue}");
    bus.publish(&queue, message(&poison)).await.expect("published");
    bus.publish(&queue, message("healthy")).await.expect("published");
    for attempt in 1..=DELIVERIES_MAX {
        let delivery = next(&mut subscription).await;
        assert_eq!((text(&delivery), delivery.attempt), (poison.as_str(), attempt));
        drop(delivery);
    }
    let after = next(&mut subscription).await;
    assert_eq!(text(&after), "healthy", "a poison message must not stop the queue");
    after.ack().await.expect("settled");
    let letter = dead_letter(&bus, &poison).await;
    let reason = letter.reason.expect("a reason");
    assert!(reason.contains(&format!("delivered {DELIVERIES_MAX} times on `{queue}`")), "{reason}");
    assert_eq!(letter.origin, Some(queue.to_string()));
}

pub(super) async fn a_rejected_message_becomes_a_dead_letter_with_our_reason(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    let body = format!("not understood by {queue}");
    bus.publish(&queue, message(&body)).await.expect("published");
    let reason = "field `target` is missing: name a provider";
    next(&mut subscription).await.reject(reason).await.expect("rejected");
    let letter = dead_letter(&bus, &body).await;
    assert_eq!(letter.reason.as_deref(), Some(reason));
    assert_eq!(letter.origin, Some(queue.to_string()));

    let body = format!("with a long story, on {queue}");
    bus.publish(&queue, message(&body)).await.expect("published");
    let long = "ä".repeat(REASON_BYTES_MAX);
    next(&mut subscription).await.reject(&long).await.expect("rejected");
    let kept = dead_letter(&bus, &body).await.reason.expect("a reason");
    assert!(kept.len() <= REASON_BYTES_MAX && long.starts_with(&kept), "{} bytes kept", kept.len());
}

pub(super) async fn a_dead_letter_can_be_rejected_and_stays_one(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let body = format!("dead twice, on {queue}");
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    bus.publish(&queue, message(&body)).await.expect("published");
    next(&mut subscription).await.reject("first reason").await.expect("rejected");
    let mut dead = bus.subscribe(&Queue::DeadLetters, 1).await.expect("dead letters can be read");
    let letter = next(&mut dead).await;
    assert_eq!(text(&letter), body);
    letter.reject("second reason").await.expect("rejected");
    drop(dead);
    let letter = dead_letter(&bus, &body).await;
    assert_eq!(letter.reason.as_deref(), Some("second reason"));
    assert_eq!(letter.origin, Some(queue.to_string()), "where it came from at first");
}

pub(super) async fn no_more_than_the_prefetch_is_delivered_unsettled(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 2).await.expect("subscribed");
    for number in 0..5 {
        bus.publish(&queue, message(number.to_string())).await.expect("published");
    }
    let (first, second) = (next(&mut subscription).await, next(&mut subscription).await);
    until("three wait", async || bus.depth(&queue).await.expect("a depth").ready == 3).await;
    first.ack().await.expect("settled");
    let third = next(&mut subscription).await;
    assert_eq!(text(&third), "2");
    until("two wait", async || bus.depth(&queue).await.expect("a depth").ready == 2).await;
    second.ack().await.expect("settled");
    third.ack().await.expect("settled");
    for number in 3..5 {
        let delivery = next(&mut subscription).await;
        assert_eq!(text(&delivery), number.to_string());
        delivery.ack().await.expect("settled");
    }
}

pub(super) async fn two_consumers_of_a_queue_share_its_messages(bench: &dyn Bench) {
    const MESSAGES: usize = 20;
    let (first, second) = (bench.connect().await, bench.connect().await);
    let queue = own_queue();
    let mut one = first.subscribe(&queue, 1).await.expect("subscribed");
    let mut two = second.subscribe(&queue, 1).await.expect("subscribed");
    for number in 0..MESSAGES {
        first.publish(&queue, message(number.to_string())).await.expect("published");
    }
    let mut seen = HashSet::new();
    let (mut by_one, mut by_two) = (0, 0);
    while seen.len() < MESSAGES {
        let (delivery, count) = tokio::select! {
            delivery = next(&mut one) => (delivery, &mut by_one),
            delivery = next(&mut two) => (delivery, &mut by_two),
        };
        *count += 1;
        assert!(seen.insert(text(&delivery).to_owned()), "{} came twice", text(&delivery));
        delivery.ack().await.expect("settled");
    }
    assert!(by_one > 0 && by_two > 0, "{by_one} and {by_two}");
}

pub(super) async fn the_queue_of_a_worker_goes_with_it(bench: &dyn Bench) {
    let (worker, conduit) = (bench.connect().await, bench.connect().await);
    let queue = own_worker();
    let mut subscription = worker.subscribe(&queue, 4).await.expect("subscribed");
    conduit.publish(&queue, message("an order")).await.expect("published");
    next(&mut subscription).await.ack().await.expect("settled");
    drop(subscription);
    until("the worker's queue is gone", async || {
        matches!(conduit.publish(&queue, message("too late")).await, Err(Error::Unroutable(_)))
    })
    .await;
}
