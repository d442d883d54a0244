//! What the conduit asks of the broker, over the bus: offers and workers.

mod harness;

use fluidcloud_broker::access::{Access, Tokens};
use fluidcloud_broker::{Broker, BrokerOptions, Error, HttpOptions, TlsFiles};
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::bus::{Message, Queue, SharedBus, publish_command};
use fluidcloud_proto::command::{BrokerCommand, WorkerNeed};
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_providers::Registry;
use harness::{Harness, worker};

fn need(kind: MigratorKind, site: &str) -> WorkerNeed {
    WorkerNeed { kind, site: site.parse().unwrap() }
}

async fn place(harness: &Harness, workers: Vec<WorkerNeed>) {
    let command = BrokerCommand::PlaceWorkers { relocation: RelocationId::new(), workers };
    publish_command(&*harness.bus, &Queue::Broker, &command).await.unwrap();
}

#[tokio::test]
async fn offers_are_made_of_what_providers_have_free_now() {
    let harness = Harness::start().await;
    let offers = harness.ask_offers(RelocationId::new(), None).await;
    let told: Vec<_> = offers.iter().map(|offer| (offer.provider.as_str(), offer.fits)).collect();
    assert_eq!(told, [("cloud-b", true)]);
    harness.cloud_b.set_reachable(false);
    let offers = harness.ask_offers(RelocationId::new(), None).await;
    assert!(!offers[0].fits, "{offers:?}");
    assert!(offers[0].reasons[0].contains("cannot be reached"), "{offers:?}");
    harness.end().await;
}

#[tokio::test]
async fn workers_are_placed_only_where_none_serves_whoever_started_it() {
    let harness = Harness::start().await;
    harness.notify(Notice::WorkerSeen(worker("started-by-hand"))).await;
    let served = need(MigratorKind::Image, "cloud-b");
    let missing = need(MigratorKind::Volume, "cloud-b");
    place(&harness, vec![served, missing.clone()]).await;
    assert_eq!(harness.placement.next().await, missing);
    // The needs are looked at in order: were the served one placed, it would have come first.
    assert_eq!(harness.placement.next().await, missing, "it is asked for until somebody serves");
    harness.end().await;
}

#[tokio::test]
async fn a_site_that_is_not_configured_gets_no_worker() {
    let harness = Harness::start().await;
    let known = need(MigratorKind::Rewrite, "cloud-a");
    place(&harness, vec![need(MigratorKind::Image, "atlantis"), known.clone()]).await;
    assert_eq!(harness.placement.next().await, known);
    harness.end().await;
}

#[tokio::test]
async fn tasks_that_wait_get_a_worker_though_the_broker_was_not_asked() {
    let bus: SharedBus = MemoryBus::new();
    let waiting = need(MigratorKind::Image, "cloud-a");
    let queue = Queue::Tasks { kind: waiting.kind, site: waiting.site.clone() };
    drop(bus.subscribe(&queue, 1).await.unwrap());
    bus.publish(&queue, Message::new(b"{}".to_vec())).await.unwrap();
    let harness = Harness::start_on(bus).await;
    assert_eq!(harness.placement.next().await, waiting);
    harness.end().await;
}

#[tokio::test]
async fn an_address_that_other_hosts_can_reach_is_refused_with_the_remedy() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:7411"] {
        let bus: SharedBus = MemoryBus::new();
        let options = BrokerOptions {
            bus,
            registry: Registry::default(),
            providers: vec![],
            http: HttpOptions { listen: address.parse().unwrap(), tls: None },
            access: Access::Development,
            audit: None,
            placement: std::sync::Arc::new(fluidcloud_broker::placement::ByHand),
            keys: std::sync::Arc::new(fluidcloud_broker::NoKeys),
        };
        let error = Broker::new(options).await.unwrap_err();
        assert!(matches!(error, Error::NotLoopback(_)), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}

#[tokio::test]
async fn tokens_never_cross_the_network_readable() {
    let dir = tempfile::tempdir().unwrap();
    let tokens = || Access::Tokens(Tokens::at(dir.path().join("tokens.json")));
    let options = HttpOptions { listen: "192.0.2.1:7411".parse().unwrap(), tls: None };
    let error = options.check(&tokens()).unwrap_err();
    assert!(matches!(error, Error::NotEncrypted(_)) && error.to_string().contains("http.tls"), "{error}");
    let file = || dir.path().join("missing.pem");
    let tls = Some(TlsFiles { certificate: file(), key: file() });
    HttpOptions { tls: tls.clone(), ..options }.check(&tokens()).unwrap();
    let options = BrokerOptions {
        bus: MemoryBus::new(),
        registry: Registry::default(),
        providers: vec![],
        http: HttpOptions { listen: "127.0.0.1:0".parse().unwrap(), tls },
        access: tokens(),
        audit: None,
        placement: std::sync::Arc::new(fluidcloud_broker::placement::ByHand),
        keys: std::sync::Arc::new(fluidcloud_broker::NoKeys),
    };
    let error = Broker::new(options).await.unwrap_err();
    assert!(error.to_string().contains("missing.pem"), "{error}");
}
