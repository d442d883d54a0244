//! A broker that runs on a memory bus with two simulated clouds, and the test in the place of the conduit.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_broker::access::Access;
use fluidcloud_broker::placement::Placement;
use fluidcloud_broker::{Broker, BrokerOptions, Error, Handed, HttpOptions, KeyDesk};
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::bus::{Queue, SharedBus, Subscription, publish_command, publish_notice, receive};
use fluidcloud_proto::command::{BrokerCommand, Control, WorkerNeed};
use fluidcloud_proto::event::{Event, Notice, WorkerSeen};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ProviderId, RelocationId, WorkerId};
use fluidcloud_proto::kept::KeyReport;
use fluidcloud_proto::offer::{Need, Offer};
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::request::Needs;
use fluidcloud_proto::status::{Phase, RelocationStatus, StatusDocument};
use fluidcloud_providers::Registry;
use fluidcloud_providers::memory::MemoryProvider;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(20);

pub const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n";

/// Of whatever relocation, called `ops`.
#[derive(Debug, Default)]
pub struct OneKey {
    pub taken: Mutex<bool>,
}

impl KeyDesk for OneKey {
    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Failure> {
        if name.is_some_and(|name| name != "ops key") {
            return Err(Failure::never(
                Code::UnknownKey,
                format!("{relocation} has no such key"),
                "name another",
            ));
        }
        if std::mem::replace(&mut *self.taken.lock().unwrap(), true) {
            return Err(Failure::never(Code::KeyTaken, "it was handed out", "ask whoever took it"));
        }
        Ok(Handed { name: "ops key".into(), private: PRIVATE.into() })
    }

    fn standing(&self, _relocation: RelocationId) -> Vec<KeyReport> {
        let taken_at = self.taken.lock().unwrap().then_some(time::OffsetDateTime::UNIX_EPOCH);
        vec![KeyReport { component: "app".parse().unwrap(), name: "ops key".into(), taken_at }]
    }
}

#[derive(Debug)]
pub struct Harness {
    pub bus: SharedBus,
    pub base: String,
    pub client: reqwest::Client,
    pub cloud_b: Arc<MemoryProvider>,
    pub placement: Arc<Noted>,
    pub keys: Arc<OneKey>,
    /// What the broker tells the conduit, after its first call for a report.
    pub control: Subscription,
    shutdown: CancellationToken,
    running: JoinHandle<Result<(), Error>>,
}

impl Harness {
    pub async fn start() -> Self {
        Self::start_on(MemoryBus::new()).await
    }

    pub async fn start_on(bus: SharedBus) -> Self {
        Self::start_with(bus, Access::Development, None).await
    }

    pub async fn start_with(bus: SharedBus, access: Access, audit: Option<std::path::PathBuf>) -> Self {
        let cloud_b = Arc::new(MemoryProvider::builder("cloud-b").build());
        let cloud_a = Arc::new(MemoryProvider::builder("cloud-a").build());
        let placement = Arc::new(Noted::default());
        let keys = Arc::new(OneKey::default());
        let options = BrokerOptions {
            bus: bus.clone(),
            registry: Registry::default().with(cloud_a).with(cloud_b.clone()),
            providers: vec![],
            http: HttpOptions { listen: "127.0.0.1:0".parse().unwrap(), tls: None },
            access,
            audit,
            placement: placement.clone(),
            keys: keys.clone(),
        };
        let mut control = bus.subscribe(&Queue::Control, 16).await.unwrap();
        let broker = Broker::new(options).await.unwrap();
        let base = format!("http://{}", broker.http().unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(broker.run(shutdown.clone()));
        let report = receive::<Control>(&mut control).await.unwrap();
        assert_eq!(report.body, Control::Report);
        report.delivery.ack().await.unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
        Self { bus, base, client, cloud_b, placement, keys, control, shutdown, running }
    }

    /// Ends the broker, which must end well.
    pub async fn end(self) {
        self.shutdown.cancel();
        tokio::time::timeout(SOON, self.running).await.unwrap().unwrap().unwrap();
        assert!(*self.placement.drained.lock().unwrap());
    }

    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.base)).send().await.unwrap()
    }

    pub async fn get_owned(&self, path: String) -> reqwest::Response {
        self.get(&path).await
    }

    pub async fn post(&self, path: &str, body: String) -> reqwest::Response {
        self.client.post(format!("{}{path}", self.base)).body(body).send().await.unwrap()
    }

    /// Sends a notice and returns when the broker has taken it in.
    pub async fn notify(&self, notice: Notice) {
        let mut events = self.get("/v1/events").await;
        publish_notice(&*self.bus, &notice).await.unwrap();
        let expected = serde_json::to_string(&notice).unwrap();
        let line = events.chunk().await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&line).trim(), expected);
    }

    pub async fn ask_offers(&self, relocation: RelocationId, fixed: Option<ProviderId>) -> Vec<Offer> {
        let need = Need {
            fixed,
            source: "cloud-a".parse().unwrap(),
            wants: Needs::default(),
            vcpus: 1,
            memory_bytes: 1,
            disk_bytes: 1,
        };
        let mut events = self.bus.subscribe(&Queue::Events, 1).await.unwrap();
        let command = BrokerCommand::MakeOffers { relocation, need };
        publish_command(&*self.bus, &Queue::Broker, &command).await.unwrap();
        let received = receive::<Event>(&mut events).await.unwrap();
        received.delivery.ack().await.unwrap();
        match received.body {
            Event::OffersMade { relocation: answered, offers } if answered == relocation => offers,
            other => panic!("expected offers, got {other:?}"),
        }
    }

    /// Asks for the status until it is as it should be.
    pub async fn until(&self, is_so: impl Fn(&StatusDocument) -> bool) -> StatusDocument {
        let asking = async {
            loop {
                let document: StatusDocument = self.get("/v1/status").await.json().await.unwrap();
                if is_so(&document) {
                    return document;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, asking).await.expect("the status becomes as it should be")
    }
}

/// A placement that notes its orders.
#[derive(Debug)]
pub struct Noted {
    placed: tokio::sync::mpsc::UnboundedSender<WorkerNeed>,
    pub orders: tokio::sync::Mutex<tokio::sync::mpsc::UnboundedReceiver<WorkerNeed>>,
    pub drained: Mutex<bool>,
}

impl Default for Noted {
    fn default() -> Self {
        let (placed, orders) = tokio::sync::mpsc::unbounded_channel();
        Self { placed, orders: tokio::sync::Mutex::new(orders), drained: Mutex::new(false) }
    }
}

impl Noted {
    pub async fn next(&self) -> WorkerNeed {
        let mut orders = self.orders.lock().await;
        tokio::time::timeout(SOON, orders.recv()).await.expect("a worker is placed").unwrap()
    }
}

#[async_trait]
impl Placement for Noted {
    async fn place(&self, need: &WorkerNeed) -> Result<(), Error> {
        self.placed.send(need.clone()).unwrap();
        Ok(())
    }

    async fn retire(&self, _need: &WorkerNeed) {}

    async fn drain(&self) {
        *self.drained.lock().unwrap() = true;
    }

    fn pid(&self, _worker: &WorkerId) -> Option<u32> {
        None
    }
}

pub fn status(id: RelocationId, phase: Phase) -> RelocationStatus {
    let at = time::OffsetDateTime::UNIX_EPOCH;
    RelocationStatus {
        id,
        revision: 1,
        service: "shop".parse().unwrap(),
        source: "cloud-a".parse().unwrap(),
        target: None,
        phase,
        conditions: vec![],
        parts: vec![],
        steps: vec![],
        transfers: vec![],
        rate_bytes_per_sec: None,
        eta_seconds: None,
        failure: None,
        created_at: at,
        changed_at: at,
        report: None,
    }
}

pub fn worker(name: &str) -> WorkerSeen {
    WorkerSeen {
        worker: name.parse().unwrap(),
        kinds: vec![MigratorKind::Image],
        sites: vec!["cloud-b".parse().unwrap()],
        slots: 4,
        busy: vec![],
        version: "0.1.0".into(),
        draining: false,
    }
}

pub fn request_json(id: RelocationId) -> String {
    serde_json::json!({
        "version": 1,
        "id": id,
        "service": {
            "name": "shop",
            "provider": "cloud-a",
            "components": [{"name": "app", "instance": {"id": "shop"}}],
        },
        "target": {"provider": "cloud-b"},
    })
    .to_string()
}
