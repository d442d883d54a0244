//! The memory bus keeps every promise of the suite, and the bounds that are its own.

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::bus::conformance::{Bench, check_all};
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::bus::{Bus, Message, NOTICES_MAX, QUEUE_MESSAGES_MAX, Queue, SharedBus};
use tokio::sync::broadcast::error::RecvError;

#[derive(Debug)]
struct InProcess(Arc<MemoryBus>);

#[async_trait]
impl Bench for InProcess {
    async fn connect(&self) -> SharedBus {
        self.0.clone()
    }

    async fn go_away(&self) {
        self.0.set_connected(false);
    }

    async fn come_back(&self) {
        self.0.set_connected(true);
    }
}

#[tokio::test]
async fn the_memory_bus_keeps_every_promise() {
    check_all(&InProcess(MemoryBus::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_memory_bus_keeps_every_promise_on_many_threads() {
    check_all(&InProcess(MemoryBus::new())).await;
}

#[tokio::test]
async fn a_full_queue_lets_publishers_wait_for_room() {
    let bus = MemoryBus::new();
    for _ in 0..QUEUE_MESSAGES_MAX {
        bus.publish(&Queue::Events, Message::new(b"one of many".to_vec())).await.unwrap();
    }
    let publishing = {
        let bus = bus.clone();
        tokio::spawn(async move { bus.publish(&Queue::Events, Message::new(b"one too many".to_vec())).await })
    };
    tokio::task::yield_now().await;
    assert!(!publishing.is_finished());
    let mut subscription = bus.subscribe(&Queue::Events, 1).await.unwrap();
    subscription.next().await.unwrap().ack().await.unwrap();
    publishing.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_slow_watcher_loses_the_oldest_notices() {
    let bus = MemoryBus::new();
    let mut watcher = bus.watch().await.unwrap();
    for number in 0..=NOTICES_MAX {
        bus.notify(Message::new(number.to_string().into_bytes())).await.unwrap();
    }
    assert_eq!(watcher.recv().await, Err(RecvError::Lagged(1)));
    assert_eq!(watcher.recv().await.unwrap().body, b"1");
}

#[tokio::test]
async fn streams_end_when_the_bus_is_dropped() {
    let bus = MemoryBus::new();
    let mut subscription = bus.subscribe(&Queue::Events, 4).await.unwrap();
    bus.publish(&Queue::Events, Message::new(b"unread".to_vec())).await.unwrap();
    drop(bus);
    drop(subscription.next().await.expect("what was delivered before can be read"));
    assert!(subscription.next().await.is_none());
}

/// Ten consumers come and go and settle at random while four publishers publish: nothing is lost, nothing stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn consumers_that_come_and_go_lose_nothing() {
    const EACH: usize = 200;
    const PUBLISHERS: usize = 4;
    let bus = MemoryBus::new();
    let seen = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
    let consumers: Vec<_> = (0..10_usize)
        .map(|seed| {
            let (bus, seen) = (bus.clone(), seen.clone());
            tokio::spawn(async move {
                let mut turn = seed;
                loop {
                    let mut subscription = bus.subscribe(&Queue::Events, 3).await.unwrap();
                    for _ in 0..7 {
                        let Some(delivery) = subscription.next().await else { return };
                        turn += 1;
                        // Never twice in a row for one message, or the delivery limit would rightly take it.
                        if turn % 5 == 0 && delivery.attempt == 1 {
                            drop(delivery);
                            continue;
                        }
                        seen.lock().unwrap().insert(delivery.message.id);
                        delivery.ack().await.unwrap();
                    }
                }
            })
        })
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    bus.publish(&Queue::Events, Message::new(b"one".to_vec())).await.unwrap();
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let settled = || async {
        let dead = bus.depth(&Queue::DeadLetters).await.unwrap().ready as usize;
        seen.lock().unwrap().len() + dead
    };
    let all = EACH * PUBLISHERS;
    tokio::time::timeout(std::time::Duration::from_secs(30), async {
        while settled().await < all {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("every message is seen or a dead letter");
    consumers.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(settled().await, all);
}
