//! Getting in: wrong passwords, nobody there, and TLS.

use std::error::Error as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use fluidcloud_proto::bus::amqp::{AmqpBus, AmqpOptions};
use fluidcloud_proto::bus::{Bus, Error, Message, Queue};
use fluidcloud_tests::rabbitmq::RabbitMq;
use tempfile::TempDir;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_at_once_and_not_shown() {
    let Some(rabbit) = RabbitMq::start() else { return };
    let options = AmqpOptions::from_url(&rabbit.url()).expect("a url").password("wrong-and-secret");
    let error = AmqpBus::connect(options).await.expect_err("not let in");
    assert!(matches!(error, Error::Refused { .. }) && !error.retryable(), "{error:?}");
    let text = format!("{error} {error:?}");
    assert!(text.contains("let user `ferry` in at amqp://127.0.0.1:"), "{text}");
    assert!(!text.contains("wrong-and-secret") && !text.contains(rabbit.password()), "{text}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told_when_patience_ends() {
    let port = free_port();
    let options = AmqpOptions::from_url(&format!("amqp://ferry:secret@127.0.0.1:{port}")).expect("a url");
    let error =
        AmqpBus::connect(options.patience(Duration::from_millis(300))).await.expect_err("nobody there");
    assert!(error.retryable(), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "the bus at amqp://127.0.0.1:{port}/ does not answer: check that RabbitMQ runs there and that the url is right"
        )
    );
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bus_over_tls_trusts_only_the_given_certificate() {
    let dir = TempDir::new().expect("a temporary directory");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let port = free_port();
    let config = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.certfile = {}\nssl_options.keyfile = {}",
        certificate.display(),
        key.display()
    );
    let Some(rabbit) = RabbitMq::start_with(&config, "[].") else { return };
    let url = format!("amqps://ferry:{}@127.0.0.1:{port}", rabbit.password());
    let options = AmqpOptions::from_url(&url).expect("a url").patience(Duration::from_secs(1));
    let error = AmqpBus::connect(options.clone()).await.expect_err("a stranger's certificate");
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("certificate"), "{error}: {cause}");

    let patient = options.patience(Duration::from_secs(10)).ca_pem(made.cert.pem());
    let bus = AmqpBus::connect(patient).await.expect("a certificate it was told to trust");
    let mut subscription = bus.subscribe(&Queue::Events, 1).await.expect("subscribed");
    let sent = Message::new(b"in private".to_vec());
    bus.publish(&Queue::Events, sent.clone()).await.expect("published");
    let delivery = subscription.next().await.expect("a delivery");
    assert_eq!(delivery.message, sent);
    delivery.ack().await.expect("settled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_bus_ends_its_streams_and_takes_nothing_more() {
    let Some(rabbit) = RabbitMq::start() else { return };
    let bus =
        AmqpBus::connect(AmqpOptions::from_url(&rabbit.url()).expect("a url")).await.expect("connected");
    let mut subscription = bus.subscribe(&Queue::Events, 1).await.expect("subscribed");
    bus.close().await;
    assert!(subscription.next().await.is_none());
    let late = bus.publish(&Queue::Events, Message::new(b"too late".to_vec())).await;
    assert!(matches!(late, Err(Error::Closed)), "{late:?}");
    let log = rabbit.log();
    assert!(!log.contains("client unexpectedly closed TCP connection"), "{log}");
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}
