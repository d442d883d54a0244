//! What the broker does to clients that hold deliveries, fill queues or are thrown out.

use std::time::Duration;

use fluidcloud_proto::bus::amqp::{AmqpBus, AmqpOptions};
use fluidcloud_proto::bus::{Delivery, Message, Queue, SharedBus, Subscription};
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_tests::rabbitmq::RabbitMq;

const WITHIN: Duration = Duration::from_secs(60);
/// Instead of RabbitMQ's half hour, so that a test can see it.
const CONSUMER_TIMEOUT: &str = "consumer_timeout = 2000";
const LOOKS_EACH_SECOND: &str = "[{rabbit, [{channel_tick_interval, 1000}]}].";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_held_too_long_is_taken_away_and_the_subscription_goes_on() {
    let Some(rabbit) = RabbitMq::start_with(CONSUMER_TIMEOUT, LOOKS_EACH_SECOND) else { return };
    let bus = connect(&rabbit).await;
    let mut subscription = bus.subscribe(&Queue::Events, 1).await.expect("subscribed");
    bus.publish(&Queue::Events, Message::new(b"held".to_vec())).await.expect("published");
    let held = next(&mut subscription).await;
    // The broker closes the channel on us; the feed takes part again on a new one.
    let again = next(&mut subscription).await;
    assert_eq!(again.message, held.message);
    assert_eq!(again.attempt, 2);
    held.ack().await.expect("settling what was taken away is no error");
    again.ack().await.expect("settled");
    bus.publish(&Queue::Events, Message::new(b"after".to_vec())).await.expect("published");
    let after = next(&mut subscription).await;
    assert_eq!(after.message.body, b"after");
    after.ack().await.expect("settled");
    assert!(*bus.connected().borrow(), "a channel was lost, not the bus");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_thrown_out_by_the_broker_comes_back() {
    let Some(rabbit) = RabbitMq::start() else { return };
    let bus = connect(&rabbit).await;
    let mut subscription = bus.subscribe(&Queue::Events, 4).await.expect("subscribed");
    rabbit.ctl(&["close_all_connections", "drill"]);
    for number in 0..20 {
        bus.publish(&Queue::Events, Message::new(vec![number])).await.expect("published");
    }
    let mut expected = 0;
    while expected < 20 {
        let delivery = next(&mut subscription).await;
        expected = expected.max(delivery.message.body[0] + 1);
        delivery.ack().await.expect("settled");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_lets_publishers_wait_for_room() {
    const MESSAGES: u8 = 60;
    let Some(rabbit) = RabbitMq::start() else { return };
    let policy = r#"{"max-length": 5, "overflow": "reject-publish"}"#;
    rabbit.ctl(&["set_policy", "small", "^fluidcloud.tasks", policy, "--apply-to", "queues"]);
    let bus = connect(&rabbit).await;
    let queue = Queue::Tasks { kind: MigratorKind::Volume, site: "cloud-a".parse().expect("a name") };
    drop(bus.subscribe(&queue, 1).await.expect("subscribed"));
    let publishing = {
        let (bus, queue) = (bus.clone(), queue.clone());
        tokio::spawn(async move {
            for number in 0..MESSAGES {
                bus.publish(&queue, Message::new(vec![number])).await.expect("published in the end");
            }
        })
    };
    // It fills up to about its limit and no further, however long one waits.
    let filled = async {
        while bus.depth(&queue).await.expect("a depth").ready < 5 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WITHIN, filled).await.expect("filled");
    assert!(!publishing.is_finished());
    let mut subscription = bus.subscribe(&queue, 1).await.expect("subscribed");
    for number in 0..MESSAGES {
        let delivery = next(&mut subscription).await;
        assert_eq!(delivery.message.body, [number]);
        delivery.ack().await.expect("settled");
    }
    publishing.await.expect("every publish was confirmed");
}

/// A quorum queue of RabbitMQ 3.10 whose broker dies within half a second of making it may never answer again.
/// Nobody was told of the queue by then; the log tells the remedy, and it helps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_lost_in_a_crash_at_its_birth_is_made_anew_once_removed() {
    const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
    let Some(mut rabbit) = RabbitMq::start() else { return };
    let (bus, looking) = (connect(&rabbit).await, connect(&rabbit).await);
    let queue = Queue::Tasks { kind: MigratorKind::Image, site: "cloud-a".parse().expect("a name") };
    let mut subscribing = {
        let (bus, queue) = (bus.clone(), queue.clone());
        tokio::spawn(async move { bus.subscribe(&queue, 1).await.expect("subscribed in the end") })
    };
    while looking.depth(&queue).await.expect("a depth").consumers == 0 {
        assert!(!subscribing.is_finished(), "told of before it was safe");
    }
    tokio::task::block_in_place(|| {
        rabbit.kill9();
        rabbit.start_again();
    });
    let mut subscription = match tokio::time::timeout(ANSWERS_WITHIN, &mut subscribing).await {
        Ok(survived) => survived.expect("no panic"),
        Err(_) => {
            println!("lost: {}", rabbit.ctl(&["delete_queue", &queue.to_string()]));
            tokio::time::timeout(WITHIN, subscribing).await.expect("made anew in time").expect("no panic")
        }
    };
    bus.publish(&queue, Message::new(b"served".to_vec())).await.expect("published");
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.message.body, b"served");
    delivery.ack().await.expect("settled");
}

async fn connect(rabbit: &RabbitMq) -> SharedBus {
    let options = AmqpOptions::from_url(&rabbit.url()).expect("a valid url");
    AmqpBus::connect(options).await.expect("a broker that answers")
}

async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(WITHIN, subscription.next()).await.expect("a delivery in time").expect("an open bus")
}
