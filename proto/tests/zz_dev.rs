extern crate self as fluidcloud_tests;
#[path = "../../tests/src/rabbitmq.rs"]
pub mod rabbitmq;
#[path = "../../tests/src/wait.rs"]
pub mod wait0;
pub mod wait {
    pub fn until<T>(what: &str, within: std::time::Duration, look: impl FnMut() -> Option<T>) -> T {
        let _ = tracing_subscriber::fmt()
            .with_env_filter("fluidcloud_proto=trace,lapin=debug")
            .with_writer(std::io::stderr)
            .try_init();
        crate::wait0::until(what, within, look)
    }
}
#[path = "../../tests/tests/bus_on_rabbitmq/conformance.rs"]
mod conformance;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dev() {
    use fluidcloud_proto::bus::{amqp::*, *};
    tracing_subscriber::fmt()
        .with_env_filter("fluidcloud_proto=trace,lapin=debug")
        .with_writer(std::io::stderr)
        .init();
    let mut rabbit = rabbitmq::RabbitMq::start().unwrap();
    let bus = AmqpBus::connect(AmqpOptions::from_url(&rabbit.url()).unwrap()).await.unwrap();
    let mut sub = bus.subscribe(&Queue::Events, 4).await.unwrap();
    rabbit.kill9();
    let mut c = bus.connected();
    c.wait_for(|c| !c).await.unwrap();
    let b = bus.clone();
    let p = tokio::spawn(async move { b.publish(&Queue::Events, Message::new(b"x".to_vec())).await });
    rabbit.start_again();
    eprintln!("{:?}", tokio::time::timeout(std::time::Duration::from_secs(45), p).await);
    eprintln!("{:?}", tokio::time::timeout(std::time::Duration::from_secs(10), sub.next()).await);
    eprintln!("{}", rabbit.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn young() {
    use fluidcloud_proto::bus::{amqp::*, *};
    tracing_subscriber::fmt()
        .with_env_filter("fluidcloud_proto=trace,lapin=warn")
        .with_writer(std::io::stderr)
        .init();
    let mut rabbit = rabbitmq::RabbitMq::start().unwrap();
    let ms: u64 = std::env::var("MS").unwrap().parse().unwrap();
    let bus = AmqpBus::connect(AmqpOptions::from_url(&rabbit.url()).unwrap()).await.unwrap();
    let q: Queue =
        Queue::Tasks { kind: fluidcloud_proto::plan::MigratorKind::Image, site: "young".parse().unwrap() };
    let mut sub = bus.subscribe(&q, 4).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    rabbit.kill9();
    let mut c = bus.connected();
    c.wait_for(|c| !c).await.unwrap();
    let b = bus.clone();
    let qq = q.clone();
    let p = tokio::spawn(async move { b.publish(&qq, Message::new(b"x".to_vec())).await });
    rabbit.start_again();
    eprintln!("{:?}", tokio::time::timeout(std::time::Duration::from_secs(15), p).await);
    eprintln!("{:?}", tokio::time::timeout(std::time::Duration::from_secs(5), sub.next()).await.is_ok());
    eprintln!("{}", rabbit.log());
}
