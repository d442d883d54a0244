//! Other clients at the same broker: what they publish is served, what they break is told.

use std::time::Duration;

use fluidcloud_proto::bus::amqp::{AmqpBus, AmqpOptions};
use fluidcloud_proto::bus::{Bus, Delivery, Error, MESSAGE_BYTES_MAX, Queue, Subscription, receive};
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_tests::rabbitmq::RabbitMq;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

const WITHIN: Duration = Duration::from_secs(30);
const REQUESTS: &str = "fluidcloud.requests";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_stock_client_publishes_is_served_and_its_poison_becomes_a_dead_letter() {
    let Some(rabbit) = RabbitMq::start() else { return };
    let bus =
        AmqpBus::connect(AmqpOptions::from_url(&rabbit.url()).expect("a url")).await.expect("connected");
    let (_connection, stock) = stock_client(&rabbit).await;
    let good = include_str!("../../../proto/examples/request.json");
    for body in [b"{not json".to_vec(), vec![b'x'; MESSAGE_BYTES_MAX + 1], good.as_bytes().to_vec()] {
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        let confirm = stock.basic_publish("".into(), REQUESTS.into(), options, &body, properties).await;
        assert!(confirm.expect("published").await.expect("confirmed").is_ack());
    }
    let mut requests = bus.subscribe(&Queue::Requests, 4).await.expect("subscribed");
    let received = receive::<RelocationRequest>(&mut requests);
    let received = tokio::time::timeout(WITHIN, received).await.expect("in time").expect("open");
    assert_eq!(
        received.body,
        fluidcloud_proto::request::from_json(good.as_bytes()).expect("the example is valid")
    );
    received.delivery.ack().await.expect("settled");

    let mut dead = bus.subscribe(&Queue::DeadLetters, 1).await.expect("subscribed");
    let mut reasons = Vec::new();
    for _ in 0..2 {
        let letter = next(&mut dead).await;
        assert_eq!(letter.origin.as_deref(), Some(REQUESTS));
        reasons.push(letter.reason.clone().expect("a reason"));
        letter.ack().await.expect("settled");
    }
    reasons.sort();
    assert!(reasons[0].starts_with("message of 1048577 bytes is larger than"), "{reasons:?}");
    assert!(reasons[1].starts_with("not a ") && reasons[1].contains("line 1 column 2"), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_somebody_made_otherwise_is_told_with_the_remedy() {
    let Some(rabbit) = RabbitMq::start() else { return };
    let (_connection, stock) = stock_client(&rabbit).await;
    let declared =
        stock.queue_declare(REQUESTS.into(), QueueDeclareOptions::durable(), FieldTable::default());
    declared.await.expect("declared as a classic queue");
    let options = AmqpOptions::from_url(&rabbit.url()).expect("a url");
    let error = AmqpBus::connect(options.clone()).await.expect_err("it cannot serve that queue");
    let text = error.to_string();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(text.contains("`fluidcloud.requests`, which exists with other arguments"), "{text}");
    assert!(text.contains("rabbitmqctl delete_queue fluidcloud.requests"), "{text}");

    println!("{}", rabbit.ctl(&["delete_queue", REQUESTS]));
    AmqpBus::connect(options).await.expect("the remedy helps");
}

async fn stock_client(rabbit: &RabbitMq) -> (Connection, Channel) {
    let connection =
        Connection::connect(&rabbit.url(), ConnectionProperties::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    (connection, channel)
}

async fn next(subscription: &mut Subscription) -> Delivery {
    tokio::time::timeout(WITHIN, subscription.next()).await.expect("a delivery in time").expect("an open bus")
}
