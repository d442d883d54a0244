//! The broker dies under load. Every message that was handed to `publish` arrives, confirmed before the death or
//! waiting in the outbox during it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fluidcloud_proto::bus::amqp::{AmqpBus, AmqpOptions};
use fluidcloud_proto::bus::{Message, Queue, SharedBus};
use fluidcloud_tests::rabbitmq::RabbitMq;
use tokio::task::JoinHandle;
use uuid::Uuid;

const PUBLISHERS: usize = 8;
const MESSAGES_EACH: usize = 750;
const CONSUMERS: usize = 3;
const ALL: usize = PUBLISHERS * MESSAGES_EACH;
const ENDS_WITHIN: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(5);

#[derive(Default)]
struct Tally {
    confirmed: AtomicUsize,
    /// How often each message arrived.
    arrived: Mutex<HashMap<Uuid, usize>>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_killed_twice_under_load_loses_nothing() {
    let Some(mut rabbit) = RabbitMq::start() else { return };
    let tally = Arc::new(Tally::default());
    let first = connect(&rabbit).await;
    let mut consumers = Vec::new();
    for _ in 0..CONSUMERS {
        consumers.push(consumer(connect(&rabbit).await, tally.clone()));
    }
    let started = Instant::now();
    let mut publishers = Vec::new();
    for _ in 0..PUBLISHERS {
        publishers.push(publisher(connect(&rabbit).await, tally.clone()));
    }
    let mut deaths = Vec::new();
    for death in 1..=2 {
        reached(&tally, ALL * death / 3).await;
        let confirmed = tally.confirmed.load(Ordering::SeqCst);
        tokio::task::block_in_place(|| {
            rabbit.kill9();
            rabbit.start_again();
        });
        deaths.push(format!("killed at {confirmed} confirmed"));
    }
    let mut sent = Vec::new();
    for publisher in publishers {
        let ids =
            tokio::time::timeout(ENDS_WITHIN, publisher).await.expect("publishers end").expect("no panic");
        sent.extend(ids);
    }
    let published = started.elapsed();
    let deadline = tokio::time::Instant::now() + ENDS_WITHIN;
    let missing = || {
        let arrived = tally.arrived.lock().expect("not poisoned");
        sent.iter().filter(|id| !arrived.contains_key(*id)).count()
    };
    while missing() > 0 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let dead = first.depth(&Queue::DeadLetters).await.expect("a depth").ready;
    let again: usize = tally.arrived.lock().expect("not poisoned").values().map(|times| times - 1).sum();
    println!(
        "{} sent and confirmed in {:.1} s by {PUBLISHERS} publishers ({}); {} arrived at {CONSUMERS} consumers, \
         {again} of them again; {} lost, {dead} dead letters",
        sent.len(),
        published.as_secs_f64(),
        deaths.join(", "),
        sent.len() - missing(),
        missing(),
    );
    assert_eq!(sent.len(), ALL);
    assert_eq!(missing(), 0, "messages lost");
    assert_eq!(dead, 0, "nothing here is poison");
    consumers.iter().for_each(JoinHandle::abort);
}

async fn connect(rabbit: &RabbitMq) -> SharedBus {
    let options = AmqpOptions::from_url(&rabbit.url()).expect("a valid url");
    AmqpBus::connect(options).await.expect("a broker that answers")
}

/// Returns the ids it sent.
fn publisher(bus: SharedBus, tally: Arc<Tally>) -> JoinHandle<Vec<Uuid>> {
    tokio::spawn(async move {
        let mut ids = Vec::new();
        for number in 0..MESSAGES_EACH {
            let message = Message::new(format!("message {number} with some text to it").into_bytes());
            ids.push(message.id);
            bus.publish(&Queue::Events, message).await.expect("an outage is no error");
            tally.confirmed.fetch_add(1, Ordering::SeqCst);
        }
        ids
    })
}

fn consumer(bus: SharedBus, tally: Arc<Tally>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut subscription = bus.subscribe(&Queue::Events, 32).await.expect("subscribed");
        while let Some(delivery) = subscription.next().await {
            *tally.arrived.lock().expect("not poisoned").entry(delivery.message.id).or_default() += 1;
            delivery.ack().await.expect("settled");
        }
    })
}

async fn reached(tally: &Tally, confirmed: usize) {
    let waiting = async {
        while tally.confirmed.load(Ordering::SeqCst) < confirmed {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(ENDS_WITHIN, waiting).await.expect("publishing goes on");
}
