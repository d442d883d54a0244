//! The suite, with outages that are a `kill -9` of the broker.

use std::sync::Mutex;

use async_trait::async_trait;
use fluidcloud_proto::bus::SharedBus;
use fluidcloud_proto::bus::amqp::{AmqpBus, AmqpOptions};
use fluidcloud_proto::bus::conformance::{Bench, check_all};
use fluidcloud_tests::rabbitmq::RabbitMq;

struct Broker {
    url: String,
    rabbit: Mutex<RabbitMq>,
}

#[async_trait]
impl Bench for Broker {
    async fn connect(&self) -> SharedBus {
        let options = AmqpOptions::from_url(&self.url).expect("a valid url");
        AmqpBus::connect(options).await.expect("a broker that answers")
    }

    async fn go_away(&self) {
        tokio::task::block_in_place(|| self.rabbit.lock().expect("not poisoned").kill9());
    }

    async fn come_back(&self) {
        tokio::task::block_in_place(|| self.rabbit.lock().expect("not poisoned").start_again());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_amqp_bus_keeps_every_promise() {
    let Some(rabbit) = RabbitMq::start() else { return };
    check_all(&Broker { url: rabbit.url(), rabbit: Mutex::new(rabbit) }).await;
}
