//! One simulated world: two clouds, a service of two instances in the first, a bus, a store, a broker, workers, a web
//! that answers from disks, and the conduit that is killed and started as the script says.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fluidcloud_conduit::relocation::{Fact, Relocation, Stage};
use fluidcloud_conduit::web::{Answer, Error as WebError, Web};
use fluidcloud_conduit::{Clock, Conduit, ConduitOptions, MemoryKeys, MemoryStore, Store};
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::bus::{Bus, Message, Queue, SharedBus, publish_command, receive};
use fluidcloud_proto::command::{BrokerCommand, Control};
use fluidcloud_proto::event::Event;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::request::{Cutover, RelocationRequest, from_json};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::task::{Task, TaskKey, Work};
use fluidcloud_proto::topology::{DiskPlace, Power};
use fluidcloud_providers::memory::{Guest, MemoryProvider, Witness};
use fluidcloud_providers::{Provider, Registry};
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::pauses;
use crate::points::{Act, Points};
use crate::worker;
use crate::wrapped::{EchoBus, PointedBus, PointedProvider, PointedStore};

/// Bytes of a disk that a move must not change; behind them is room for what it is meant to change.
pub const CONTENT: usize = 48;
pub const ADAPTED: usize = 48;
pub const REWRITTEN: usize = 49;
pub const FOLDED: usize = 50;
const DISK: usize = 64;

pub const APP_MAC: &str = "52:54:00:00:00:01";
pub const DB_MAC: &str = "52:54:00:00:00:02";
/// No case takes longer, whatever happens in it.
const ENDS_WITHIN: Duration = Duration::from_secs(3 * 3600);

/// What makes one case differ from the next.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub acts: Vec<(usize, Act)>,
    pub workers: worker::Faults,
    /// Everything is said twice, the second time late by up to so many milliseconds.
    pub echo: Option<(u64, u64)>,
    /// The service gives a wrong answer at the target.
    pub wrong_at_target: bool,
    /// The source is stopped from the beginning.
    pub stopped: bool,
    /// A source does not listen when it is asked to shut down.
    pub deaf: bool,
    pub active_max: Option<usize>,
    /// The cutover is approved by a person, who does so a while after all is ready.
    pub manual: bool,
}

#[derive(Clone, Debug)]
pub struct World {
    pub a: MemoryProvider,
    pub b: MemoryProvider,
    pub witness: Witness,
    pub bus: Arc<MemoryBus>,
    pub store: Arc<dyn Store>,
    pub keys: MemoryKeys,
    pub points: Points,
    pub script: Arc<Script>,
    pub id: RelocationId,
    born: tokio::time::Instant,
    clock_offset: Arc<AtomicI64>,
    counts: Arc<Mutex<worker::Counts>>,
    locks: Arc<Mutex<HashMap<String, TaskKey>>>,
    crossed: Arc<Mutex<HashMap<String, u64>>>,
    objections: Arc<Mutex<Vec<String>>>,
    workers: Arc<Mutex<JoinSet<()>>>,
    workers_made: Arc<AtomicU64>,
    offers: Arc<Mutex<Option<Vec<Offer>>>>,
}

/// What the harness keeps for itself.
pub struct Play {
    pub world: World,
    acts: tokio::sync::mpsc::UnboundedReceiver<Act>,
    /// A conduit, each time it is started: the number of its starts.
    pub starts: u32,
}

pub fn content(seed: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..CONTENT as u8).map(|at| at.wrapping_mul(7).wrapping_add(seed) | 1).collect();
    bytes.resize(DISK, 0);
    bytes
}

pub fn digest(bytes: &[u8]) -> String {
    let sum = bytes.iter().fold(17_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    format!("{sum:016x}")
}

pub fn request(id: RelocationId) -> RelocationRequest {
    let json = serde_json::json!({
        "version": 1,
        "id": id,
        "service": {"name": "shop", "provider": "cloud-a", "components": [
            {"name": "app", "needs": ["db", "store"], "instance": {
                "id": "shop",
                "volumes": [{"disk": "hdb", "fold_into": "/srv/data"}],
                "rewrite": [{"file": "/etc/shop.json", "match": "a", "replace": "{{address:db}} {{address:store}}"}],
            }},
            {"name": "db", "instance": {
                "id": "shop-db",
                "snapshot": "db-before",
                "image": {"name": "db-golden", "format": "raw"},
                "launch": {"floating_ip": "new"},
            }},
            {"name": "store", "stays": {"kind": "object-store", "url": "http://10.9.9.9:9000/"}},
        ]},
        "target": {},
        "verify": [{"component": "app", "http": {
            "port": 8080, "path": "/digest", "contains": "digest", "unchanged": "digest", "within_secs": 60,
        }}],
    });
    from_json(&serde_json::to_vec(&json).unwrap()).unwrap()
}

/// What the instances stand in.
pub fn surroundings() -> Surroundings {
    let group = serde_json::json!({"name": "web", "rules": []});
    let network = serde_json::json!({"name": "default", "subnets": []});
    let pair = serde_json::json!({"name": "ops", "fingerprint": "f", "public_key": "k"});
    let all = serde_json::json!({"networks": [network], "security_groups": [group], "keypairs": [pair]});
    serde_json::from_value(all).unwrap()
}

impl Play {
    pub fn new(script: Script) -> Self {
        Self::on(script, Arc::new(MemoryStore::default()))
    }

    pub fn on(script: Script, store: Arc<dyn Store>) -> Self {
        let witness = Witness::default();
        let power = |guest: Guest| if script.stopped { guest } else { guest.running().autostart() };
        let app = Guest::new("shop").disk("hda", content(3)).disk("hdb", content(5)).nic(APP_MAC);
        let app = if script.deaf { app.deaf() } else { app };
        let db = Guest::new("shop-db").disk("hda", content(11)).nic(DB_MAC);
        let a = MemoryProvider::builder("cloud-a").witness(&witness).guest(power(app)).guest(power(db));
        let a = a.surroundings(surroundings()).build();
        let b = MemoryProvider::builder("cloud-b").witness(&witness).build();
        let (points, acts) = Points::new(script.acts.clone());
        let world = World {
            a,
            b,
            witness,
            bus: MemoryBus::new(),
            store,
            keys: MemoryKeys::default(),
            points,
            script: Arc::new(script),
            id: RelocationId::new(),
            born: tokio::time::Instant::now(),
            clock_offset: Arc::default(),
            counts: Arc::default(),
            locks: Arc::default(),
            crossed: Arc::default(),
            objections: Arc::default(),
            workers: Arc::default(),
            workers_made: Arc::default(),
            offers: Arc::default(),
        };
        Self { world, acts, starts: 0 }
    }

    /// Requests the move and lets the world run until the relocation can do nothing more by itself, and a while
    /// longer. Panics when it does not end.
    pub async fn run(&mut self) -> Relocation {
        let id = self.world.id;
        let mut request = request(id);
        if self.world.script.manual {
            request.cutover = Cutover::Manual;
        }
        let request = serde_json::to_vec(&request).unwrap();
        self.world.bus.publish(&Queue::Requests, Message::new(request)).await.unwrap();
        self.run_until_ended(&[id]).await.remove(0)
    }

    /// The same world later on: the conduit is started again.
    pub async fn run_again(&mut self, ids: &[RelocationId]) -> Vec<Relocation> {
        self.run_until_ended(ids).await
    }

    pub async fn run_until_ended(&mut self, ids: &[RelocationId]) -> Vec<Relocation> {
        let mut around = JoinSet::new();
        around.spawn(broker(self.world.clone()));
        if self.world.script.manual {
            around.spawn(pauses::approve_when_ready(self.world.clone()));
        }
        self.world.start_worker();
        self.world.start_worker();
        let mut conduit = self.start_conduit();
        let (mut ended_since, mut known) = (None, HashMap::new());
        let begun = tokio::time::Instant::now();
        loop {
            let act = tokio::select! {
                act = self.acts.recv() => act,
                ended = &mut conduit => panic!("the conduit ended by itself: {ended:?}"),
                () = tokio::time::sleep(Duration::from_secs(1)) => None,
            };
            match act {
                Some(Act::Crash) => conduit = self.crash(conduit, 1).await,
                Some(Act::CrashFor(secs)) => conduit = self.crash(conduit, secs).await,
                Some(act) => self.act(act, &mut around).await,
                None => {}
            }
            if self.world.counts.lock().unwrap().died {
                self.world.counts.lock().unwrap().died = false;
                self.world.start_worker();
            }
            if !self.world.all_ended(ids, &mut known).await {
                ended_since = None;
                let seen = self.world.points.seen();
                assert!(
                    begun.elapsed() < ENDS_WITHIN,
                    "does not end; last points: {:?}",
                    seen.last_chunk::<20>()
                );
            } else if ended_since.get_or_insert_with(tokio::time::Instant::now).elapsed() > self.afterwards()
            {
                break;
            }
        }
        conduit.abort();
        let _ = conduit.await;
        let mut states = Vec::new();
        for id in ids {
            states.push(Relocation::replay(*id, &self.world.store.load(*id).await.unwrap()).unwrap());
        }
        states
    }

    /// Long enough for whatever is late in this script to come and be refused.
    fn afterwards(&self) -> Duration {
        Duration::from_secs(if self.world.script.workers.silent.is_some() { 300 } else { 60 })
    }

    async fn crash(
        &mut self,
        conduit: tokio::task::JoinHandle<Result<(), fluidcloud_conduit::Error>>,
        secs: u64,
    ) -> tokio::task::JoinHandle<Result<(), fluidcloud_conduit::Error>> {
        conduit.abort();
        assert!(conduit.await.unwrap_err().is_cancelled());
        tokio::time::sleep(Duration::from_secs(secs)).await;
        self.start_conduit()
    }

    fn start_conduit(&mut self) -> tokio::task::JoinHandle<Result<(), fluidcloud_conduit::Error>> {
        self.starts += 1;
        let world = &self.world;
        let points = world.points.clone();
        let pointed =
            |inner: &MemoryProvider| PointedProvider { inner: inner.clone(), points: points.clone() };
        let registry =
            Registry::default().with(Arc::new(pointed(&world.a))).with(Arc::new(pointed(&world.b)));
        let bus = PointedBus { inner: world.said_over(), points: points.clone() };
        let store = PointedStore { inner: world.store.clone(), points: points.clone() };
        let mut options =
            ConduitOptions::new(Arc::new(bus), Arc::new(store), registry, Arc::new(world.keys.clone()));
        let (offset, born) = (world.clock_offset.clone(), world.born);
        options.web = Arc::new(world.clone());
        options.active_max = world.script.active_max.unwrap_or(options.active_max);
        options.clock = Clock::new(move || {
            let jumped = time::Duration::seconds(offset.load(Ordering::Relaxed));
            OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000) + born.elapsed() + jumped
        });
        tokio::spawn(Conduit::new(options).run(CancellationToken::new()))
    }

    async fn act(&self, act: Act, around: &mut JoinSet<()>) {
        let world = self.world.clone();
        match act {
            Act::Cancel => {
                let cancel = Control::Cancel { relocation: world.id };
                publish_command(&*world.bus, &Queue::Control, &cancel).await.unwrap();
            }
            Act::PauseFor(secs) => {
                around.spawn(pauses::pause(world, secs, pauses::Then::Resume));
            }
            Act::PauseAndCancel(secs) => {
                around.spawn(pauses::pause(world, secs, pauses::Then::Cancel));
            }
            Act::Approve => {
                let approve = Control::Approve { relocation: world.id };
                publish_command(&*world.bus, &Queue::Control, &approve).await.unwrap();
            }
            Act::ClockJump(secs) => {
                world.clock_offset.fetch_add(secs, Ordering::Relaxed);
            }
            Act::Outage(secs) => {
                world.bus.set_connected(false);
                around.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(secs)).await;
                    world.bus.set_connected(true);
                });
            }
            Act::SourceReboots => world.a.reboot(),
            Act::WorkersDie => {
                world.workers.lock().unwrap().abort_all();
                world.start_worker();
            }
            Act::Crash | Act::CrashFor(_) => unreachable!("handled by the caller"),
        }
    }
}

impl World {
    /// By its log; none before there is one.
    pub async fn state(&self) -> Option<Relocation> {
        Relocation::replay(self.id, &self.store.load(self.id).await.unwrap()).ok()
    }

    pub fn worker_faults(&self) -> worker::Faults {
        self.script.workers.clone()
    }

    pub fn worker_counts(&self) -> Arc<Mutex<worker::Counts>> {
        self.counts.clone()
    }

    pub fn answer_offers(&self, offers: Vec<Offer>) {
        *self.offers.lock().unwrap() = Some(offers);
    }

    /// Something happened that must never happen.
    pub fn object(&self, what: String) {
        self.objections.lock().unwrap().push(what);
    }

    pub fn objections(&self) -> Vec<String> {
        let mut all = self.witness.illegal_acts();
        all.extend(self.objections.lock().unwrap().iter().cloned());
        all
    }

    /// As workers lock the disks they work on: a later holder ends an earlier one.
    pub fn lock_disks(&self, task: &Task) {
        let mut locks = self.locks.lock().unwrap();
        let place = match &task.work {
            Work::SyncDisk(sync) => &sync.to,
            Work::AdaptGuest(adapt) => &adapt.disks[0].place,
            Work::FoldVolume(fold) => &fold.root.place,
            Work::RewriteConfig(config) => &config.disks[0].place,
            Work::PrepareDisk(_) | Work::RehearseGuest(_) | Work::CopyImage(_) | Work::CopyContainer(_) => {
                return;
            }
        };
        locks.insert(place.path.clone(), task.key.clone());
    }

    pub fn write(&self, key: &TaskKey, place: &DiskPlace, offset: usize, bytes: &[u8]) {
        let holds = self.locks.lock().unwrap().get(&place.path) == Some(key);
        if holds && self.b.disk_bytes(place).is_some() {
            self.b.write_disk(place, offset, bytes);
        }
    }

    /// Counts what was sent to a disk; returns the sum over all attempts.
    pub fn crossed(&self, place: &DiskPlace, bytes: usize) -> u64 {
        let mut crossed = self.crossed.lock().unwrap();
        let sum = crossed.entry(place.path.clone()).or_default();
        *sum += bytes as u64;
        *sum
    }

    /// The instance whose disk this is, when it runs.
    pub fn runs_on(&self, place: &DiskPlace) -> Option<String> {
        let running = self.a.running_instances();
        running.iter().map(ToString::to_string).find(|name| {
            let disk = place.path.strip_prefix(&format!("/own/{name}-"));
            disk.is_some_and(|disk| !disk.contains('-'))
        })
    }

    /// Folded anew only when a log has grown.
    async fn all_ended(
        &self,
        ids: &[RelocationId],
        known: &mut HashMap<RelocationId, (usize, bool)>,
    ) -> bool {
        for id in ids {
            let log = self.store.load(*id).await.unwrap();
            let (facts, ended) = known.entry(*id).or_default();
            if *facts != log.len() {
                let state = Relocation::replay(*id, &log).unwrap();
                (*facts, *ended) =
                    (log.len(), state.is_ended() || matches!(state.stage, Stage::Stuck { .. }));
            }
            if !*ended {
                return false;
            }
        }
        true
    }

    fn said_over(&self) -> SharedBus {
        match self.script.echo {
            Some((step_ms, turn_ms)) => {
                Arc::new(EchoBus { inner: self.bus.clone(), step_ms, turn_ms, count: AtomicU64::new(0) })
            }
            None => self.bus.clone(),
        }
    }

    fn start_worker(&self) {
        let number = self.workers_made.fetch_add(1, Ordering::Relaxed);
        let work = worker::run(self.clone(), self.said_over(), format!("worker-{number}"));
        self.workers.lock().unwrap().spawn(work);
    }

    /// Somebody does something behind our back as soon as such a fact is in the log.
    pub fn as_soon_as(
        &self,
        seen: impl Fn(&Fact) -> bool + Send + 'static,
        act: impl FnOnce(&World) + Send + 'static,
    ) -> tokio::task::JoinHandle<()> {
        let world = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                if world.facts().await.iter().any(&seen) {
                    return act(&world);
                }
            }
        })
    }

    pub async fn facts(&self) -> Vec<Fact> {
        self.store.load(self.id).await.unwrap().into_iter().map(|entry| entry.fact).collect()
    }
}

/// Offers what it is told to, at first the second cloud.
async fn broker(world: World) {
    let bus = world.said_over();
    let mut commands = bus.subscribe(&Queue::Broker, 16).await.unwrap();
    while let Some(command) = receive::<BrokerCommand>(&mut commands).await {
        if let BrokerCommand::MakeOffers { relocation, .. } = command.body {
            let fits = Offer { provider: world.b.id().clone(), fits: true, reasons: vec!["has room".into()] };
            let offers = world.offers.lock().unwrap().clone().unwrap_or_else(|| vec![fits]);
            publish_command(&*bus, &Queue::Events, &Event::OffersMade { relocation, offers }).await.unwrap();
        }
        command.delivery.ack().await.unwrap();
    }
}

/// The service answers from the disks of whatever instance has the address and runs.
#[async_trait::async_trait]
impl Web for World {
    async fn get(&self, url: &str) -> Result<Answer, WebError> {
        for cloud in [&self.a, &self.b] {
            for name in cloud.running_instances() {
                let Ok(instance) = cloud.inspect(&name).await else { continue };
                let here = instance
                    .addresses
                    .iter()
                    .any(|address| url.starts_with(&format!("http://{address}:8080/")));
                if !here || instance.power != Power::Running {
                    continue;
                }
                let disks: Vec<Vec<u8>> =
                    instance.disks.iter().filter_map(|disk| cloud.disk_bytes(&disk.place)).collect();
                let mut told = disks[0][..CONTENT].to_vec();
                match disks.get(1) {
                    Some(volume) => told.extend_from_slice(&volume[..8]),
                    None => told.extend_from_slice(&disks[0][FOLDED..FOLDED + 8]),
                }
                if self.script.wrong_at_target && cloud.id() == self.b.id() {
                    told.push(1);
                }
                let body = format!(r#"{{"digest": "{}"}}"#, digest(&told));
                return Ok(Answer { status: 200, body: body.into_bytes() });
            }
        }
        Err(WebError::Silent { url: url.to_owned(), cause: "nobody has this address".into() })
    }
}
