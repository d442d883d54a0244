//! What holds when the bus goes away without a word and comes back.

use super::{Bench, WITHIN, message, next, own_queue, own_worker, text};
use crate::bus::SharedBus;

pub(super) async fn publishes_during_an_outage_complete_after_it(bench: &dyn Bench) {
    const MESSAGES: usize = 10;
    let (sender, receiver) = (bench.connect().await, bench.connect().await);
    let queue = own_queue();
    let mut subscription = receiver.subscribe(&queue, 4).await.expect("subscribed");
    bench.go_away().await;
    connected(&sender, false).await;
    let publishing = {
        let (sender, queue) = (sender.clone(), queue.clone());
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                sender.publish(&queue, message(number.to_string())).await.expect("published in the end");
            }
        })
    };
    tokio::task::yield_now().await;
    assert!(!publishing.is_finished(), "confirmed by nobody");
    bench.come_back().await;
    connected(&sender, true).await;
    // Each may come twice, and none before the one sent before it.
    let mut expected = 0;
    while expected < MESSAGES {
        let delivery = next(&mut subscription).await;
        let number: usize = text(&delivery).parse().expect("a number");
        assert!(number <= expected, "{number} came before {expected}");
        expected = expected.max(number + 1);
        delivery.ack().await.expect("settled");
    }
    publishing.await.expect("every publish was confirmed");
}

pub(super) async fn a_subscription_outlives_an_outage_and_what_it_held_comes_again(bench: &dyn Bench) {
    let (sender, receiver) = (bench.connect().await, bench.connect().await);
    for queue in [own_queue(), own_worker()] {
        let mut subscription = receiver.subscribe(&queue, 1).await.expect("subscribed");
        sender.publish(&queue, message("held")).await.expect("published");
        let held = next(&mut subscription).await;
        bench.go_away().await;
        connected(&receiver, false).await;
        held.ack().await.expect("settling on a lost connection is no error");
        bench.come_back().await;
        let again = next(&mut subscription).await;
        assert_eq!(text(&again), "held");
        again.ack().await.expect("settled");
        sender.publish(&queue, message("after")).await.expect("published");
        let after = next(&mut subscription).await;
        assert_eq!(text(&after), "after");
        after.ack().await.expect("settled");
    }
}

pub(super) async fn watchers_outlive_an_outage(bench: &dyn Bench) {
    let (sender, watching) = (bench.connect().await, bench.connect().await);
    let mut watcher = watching.watch().await.expect("watching");
    bench.go_away().await;
    connected(&watching, false).await;
    bench.come_back().await;
    connected(&sender, true).await;
    // Nobody promises when a watcher is back, only that a later notice says what an earlier one said.
    let notice = message("seen again");
    let seeing = async {
        loop {
            match tokio::time::timeout(super::LOOK_EVERY, watcher.recv()).await {
                Ok(seen) => return seen.expect("open"),
                Err(_) => sender.notify(notice.clone()).await.expect("sent"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(WITHIN, seeing).await.expect("in time"), notice);
}

async fn connected(bus: &SharedBus, expected: bool) {
    let mut connected = bus.connected();
    let changed = connected.wait_for(|connected| *connected == expected);
    tokio::time::timeout(WITHIN, changed).await.expect("noticed in time").expect("an open bus");
}
