//! What holds from `publish` and `notify` to the first delivery.

use std::collections::HashSet;

use super::{Bench, message, next, own_queue, own_worker, text, until};
use crate::bus::{Depth, Error, MESSAGE_BYTES_MAX, Message};

pub(super) async fn a_published_message_is_delivered_with_its_id(bench: &dyn Bench) {
    let (sender, receiver) = (bench.connect().await, bench.connect().await);
    let queue = own_queue();
    let mut subscription = receiver.subscribe(&queue, 4).await.expect("subscribed");
    let sent = message("the first");
    sender.publish(&queue, sent.clone()).await.expect("published");
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message, sent);
    assert_eq!(delivery.attempt, 1);
    assert_eq!(delivery.reason, None);
    assert_eq!(delivery.origin, None);
    delivery.ack().await.expect("settled");
}

pub(super) async fn messages_of_one_publisher_arrive_in_order(bench: &dyn Bench) {
    const MESSAGES: usize = 60;
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 8).await.expect("subscribed");
    for number in 0..MESSAGES {
        bus.publish(&queue, message(number.to_string())).await.expect("published");
    }
    for number in 0..MESSAGES {
        let delivery = next(&mut subscription).await;
        assert_eq!(text(&delivery), number.to_string());
        delivery.ack().await.expect("settled");
    }
}

pub(super) async fn a_message_for_no_queue_is_an_error(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_worker();
    match bus.publish(&queue, message("for nobody")).await {
        Err(Error::Unroutable(name)) => assert_eq!(name, queue.to_string()),
        other => panic!("expected it to be unroutable, got {other:?}"),
    }
}

pub(super) async fn an_unroutable_message_is_told_to_its_own_publisher(bench: &dyn Bench) {
    const EACH: usize = 40;
    let bus = bench.connect().await;
    let (there, missing) = (own_queue(), own_worker());
    let mut subscription = bus.subscribe(&there, 16).await.expect("subscribed");
    let publishes = (0..EACH * 2).map(|number| {
        let (bus, queue) = (bus.clone(), if number % 2 == 0 { there.clone() } else { missing.clone() });
        async move { (number, bus.publish(&queue, message(number.to_string())).await) }
    });
    for (number, published) in futures::future::join_all(publishes).await {
        match published {
            Ok(()) => assert_eq!(number % 2, 0, "{number} went nowhere and was confirmed"),
            Err(Error::Unroutable(_)) => assert_eq!(number % 2, 1, "{number} was called unroutable"),
            Err(error) => panic!("{number}: {error}"),
        }
    }
    let mut arrived = HashSet::new();
    while arrived.len() < EACH {
        let delivery = next(&mut subscription).await;
        arrived.insert(text(&delivery).to_owned());
        delivery.ack().await.expect("settled");
    }
}

pub(super) async fn a_message_of_the_largest_size_passes_and_a_larger_one_is_refused(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    let largest = Message::new((0..MESSAGE_BYTES_MAX).map(|index| index as u8).collect());
    bus.publish(&queue, largest.clone()).await.expect("published");
    let delivery = next(&mut subscription).await;
    assert!(delivery.message == largest, "the largest message arrived changed");
    delivery.ack().await.expect("settled");
    let larger = Message::new(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
    for refused in [bus.publish(&queue, larger.clone()).await, bus.notify(larger.clone()).await] {
        assert!(
            matches!(refused, Err(Error::TooLarge(bytes)) if bytes == MESSAGE_BYTES_MAX + 1),
            "{refused:?}"
        );
    }
}

pub(super) async fn notices_reach_every_watcher_and_none_is_no_error(bench: &dyn Bench) {
    let (sender, first, second) = (bench.connect().await, bench.connect().await, bench.connect().await);
    sender.notify(message("to nobody")).await.expect("nobody has to watch");
    let mut watchers = [
        first.watch().await.expect("watching"),
        first.watch().await.expect("watching twice"),
        second.watch().await.expect("watching"),
    ];
    let sent = message("to all");
    sender.notify(sent.clone()).await.expect("sent");
    for watcher in &mut watchers {
        let seen = tokio::time::timeout(super::WITHIN, watcher.recv()).await.expect("in time").expect("open");
        assert_eq!(seen, sent);
    }
}

pub(super) async fn the_depth_of_a_queue_counts_what_waits_and_who_serves(bench: &dyn Bench) {
    let bus = bench.connect().await;
    let queue = own_queue();
    assert_eq!(bus.depth(&queue).await.expect("a depth"), Depth::default(), "of a queue that does not exist");
    let subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    for number in 0..3 {
        bus.publish(&queue, message(number.to_string())).await.expect("published");
    }
    // One is in the hands of the consumer.
    let expected = Depth { ready: 2, consumers: 1 };
    until("two ready and one consumer", async || bus.depth(&queue).await.expect("a depth") == expected).await;
    drop(subscription);
    let expected = Depth { ready: 3, consumers: 0 };
    until("three ready and no consumer", async || bus.depth(&queue).await.expect("a depth") == expected)
        .await;
}
