//! `fluidcloud relocate --wait` against all parts on simulated clouds, which run inside the test.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_broker::access::Access;
use fluidcloud_broker::placement::{Embedded, WorkerBody};
use fluidcloud_broker::{Broker, BrokerOptions, HttpOptions};
use fluidcloud_conduit::{Conduit, ConduitOptions, MemoryKeys, MemoryStore, Store};
use fluidcloud_migrators::Migrators;
use fluidcloud_migrators::worker::{DRAIN, Worker, WorkerOptions, new_id};
use fluidcloud_proto::bus::SharedBus;
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::report::Report;
use fluidcloud_proto::status::{Phase, RelocationStatus};
use fluidcloud_providers::Registry;
use fluidcloud_providers::memory::{Guest, MemoryProvider};
use harness::{Lone, PROVIDERS, REQUEST, exit, stderr, stdout};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(60);

/// What outlives a restart of the parts: the bus, the log, and the clouds.
struct World {
    lone: Lone,
    bus: SharedBus,
    store: Arc<dyn Store>,
    registry: Registry,
    cloud_a: MemoryProvider,
    cloud_b: MemoryProvider,
}

/// The parts that run.
struct Parts {
    end: CancellationToken,
    running: JoinSet<()>,
}

impl Parts {
    async fn end(mut self) {
        self.end.cancel();
        let all = async { while self.running.join_next().await.is_some_and(|ended| ended.is_ok()) {} };
        tokio::time::timeout(SOON, all).await.expect("the parts end");
    }
}

impl World {
    fn new() -> Self {
        let root: Vec<u8> = (0..3 << 20).map(|n: u32| (n / 4096) as u8).collect();
        let shop = Guest::new("shop").running().disk("hda", root).nic("52:54:00:00:00:01");
        let cloud_a = MemoryProvider::builder("cloud-a").guest(shop).build();
        let cloud_b = MemoryProvider::builder("cloud-b").build();
        let registry = Registry::default().with(Arc::new(cloud_a.clone())).with(Arc::new(cloud_b.clone()));
        let lone = Lone::new(PROVIDERS);
        Self {
            lone,
            bus: MemoryBus::new(),
            store: Arc::new(MemoryStore::default()),
            registry,
            cloud_a,
            cloud_b,
        }
    }

    async fn broker(&self, parts: &mut Parts) {
        let clouds = [self.cloud_a.clone(), self.cloud_b.clone()];
        let (bus, migrators) =
            (self.bus.clone(), Migrators::of(fluidcloud_migrators::memory::migrators(&clouds)));
        let body: WorkerBody = Arc::new(move |need, end| {
            let options = WorkerOptions {
                bus: bus.clone(),
                id: new_id(),
                kinds: vec![need.kind],
                sites: vec![need.site],
                slots: 2,
                drain: DRAIN,
                migrators: migrators.clone(),
            };
            Box::pin(async move { Worker::new(options).run(end).await.map_err(|error| error.to_string()) })
        });
        let options = BrokerOptions {
            bus: self.bus.clone(),
            registry: self.registry.clone(),
            providers: vec![],
            http: HttpOptions { listen: self.lone.listen().parse().unwrap(), tls: None },
            access: Access::Development,
            audit: None,
            placement: Arc::new(Embedded::new(body)),
            keys: Arc::new(fluidcloud_broker::NoKeys),
        };
        let broker = Broker::new(options).await.unwrap();
        let end = parts.end.clone();
        parts.running.spawn(async move { broker.run(end).await.unwrap() });
    }

    fn conduit(&self, parts: &mut Parts) {
        let options = ConduitOptions::new(
            self.bus.clone(),
            self.store.clone(),
            self.registry.clone(),
            Arc::new(MemoryKeys::default()),
        );
        let end = parts.end.clone();
        parts.running.spawn(async move { Conduit::new(options).run(end).await.unwrap() });
    }

    async fn all(&self) -> Parts {
        let mut parts = nothing();
        self.broker(&mut parts).await;
        self.conduit(&mut parts);
        parts
    }

    /// Runs the binary beside the parts.
    async fn run(&self, args: &[&str]) -> std::process::Output {
        let mut command = tokio::process::Command::from(self.lone.command(args));
        let output = command.kill_on_drop(true).output();
        tokio::time::timeout(SOON, output).await.expect("the command ends").unwrap()
    }

    fn request(&self, id: RelocationId) -> String {
        format!("id: {id}\n{REQUEST}")
    }

    fn moved(&self) -> bool {
        self.cloud_a.running_instances().is_empty() && self.cloud_b.running_instances().len() == 1
    }
}

fn nothing() -> Parts {
    Parts { end: CancellationToken::new(), running: JoinSet::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_ends_with_the_report_as_one_json_object() {
    let world = World::new();
    let parts = world.all().await;
    world.lone.write("r.yaml", REQUEST);
    let told = world.run(&["relocate", "r.yaml", "--wait", "--output", "json"]).await;
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    let report: Report = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report.state, Phase::Succeeded);
    assert!(report.transfers[0].verified, "{report:?}");
    assert_eq!(report.target.unwrap().provider.as_str(), "cloud-b");
    assert!(report.downtime_seconds.is_some());
    assert!(world.moved());
    let progress = stderr(&told);
    assert!(progress.contains("Succeeded") && progress.contains("commit: done"), "{progress}");

    let id = report.id.to_string();
    let told = world.run(&["status", &id, "--output", "json"]).await;
    let status: RelocationStatus = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(status.phase, Phase::Succeeded);
    let told = world.run(&["cancel", &id]).await;
    assert_eq!(exit(&told), 2, "{}", stderr(&told));
    let told = world.run(&["events"]).await;
    let lines = stdout(&told);
    assert!(lines.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{lines}");
    assert!(lines.contains("Succeeded"));
    parts.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_is_readable_too() {
    let world = World::new();
    let parts = world.all().await;
    let id = RelocationId::new();
    world.lone.write("r.yaml", &world.request(id));
    let told =
        world.run(&["relocate", "r.yaml", "--wait", "--report", "report.json", "--addresses", "hosts"]).await;
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    let text = stdout(&told);
    assert!(text.starts_with(&format!("relocation {id}\n")), "{text}");
    for part in
        ["Succeeded", "downtime: ", "\nsync app/hda ", "\napp/hda ", "equal", "app runs as shop in cloud-b"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let report: Report = serde_json::from_str(&world.lone.read("report.json")).unwrap();
    assert_eq!((report.id, report.state), (id, Phase::Succeeded));
    let hosts = world.lone.read("hosts");
    assert_eq!(hosts, format!("# addresses after relocation {id}\n10.0.0.1\tapp shop\t# fixed, as before\n"));
    let told = world.run(&["addresses", &id.to_string(), "--format", "csv"]).await;
    assert_eq!(
        stdout(&told).lines().nth(1).unwrap(),
        "app,shop,shop,default,52:54:00:00:00:01,10.0.0.1,10.0.0.1,fixed"
    );
    // The clouds live in this test, and the command simulates its own: it looks for the right instance in vain.
    let told = world.run(&["usage", &id.to_string()]).await;
    assert!(stderr(&told).contains("provider `cloud-b` has no instance `shop`"), "{}", stderr(&told));
    parts.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_file_again_is_the_same_relocation_and_another_body_is_refused() {
    let world = World::new();
    let parts = world.all().await;
    let id = RelocationId::new();
    world.lone.write("r.yaml", &world.request(id));
    let wait = ["relocate", "r.yaml", "--wait", "--output", "json"];
    let first = world.run(&wait).await;
    assert_eq!(exit(&first), 0, "{}", stderr(&first));
    let again = world.run(&wait).await;
    assert_eq!((exit(&again), stdout(&again)), (0, stdout(&first)));

    world.lone.write("r.yaml", &world.request(id).replace("name: shop", "name: store"));
    let other = world.run(&wait).await;
    assert_eq!((exit(&other), stdout(&other)), (2, String::new()));
    assert!(world.lone.error(&other).contains(&id.to_string()), "{}", stderr(&other));
    parts.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_survives_that_everything_is_started_again() {
    let world = World::new();
    // Without a conduit the request stays in its queue.
    let mut parts = nothing();
    world.broker(&mut parts).await;
    world.lone.write("r.yaml", REQUEST);
    let mut command = tokio::process::Command::from(
        world.lone.command(&["relocate", "r.yaml", "--wait", "--output", "json"]),
    );
    let waiting =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let waiting = waiting.spawn().unwrap();
    let requests = fluidcloud_proto::bus::Queue::Requests;
    let published = async {
        while world.bus.depth(&requests).await.unwrap().ready == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, published).await.expect("the request is published");
    parts.end().await;
    let parts = world.all().await;
    let told = tokio::time::timeout(SOON, waiting.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    assert!(world.moved());
    parts.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_ends_at_its_timeout_and_the_relocation_goes_on() {
    let world = World::new();
    let mut parts = nothing();
    world.broker(&mut parts).await;
    world.lone.write("r.yaml", REQUEST);
    let told = world.run(&["relocate", "r.yaml", "--wait", "--timeout", "1s"]).await;
    assert_eq!(exit(&told), 5, "{}", stderr(&told));
    assert!(stderr(&told).contains("it goes on"), "{}", stderr(&told));
    parts.end().await;
}

/// Waits until `fluidcloud status ID` says so.
async fn says(world: &World, id: &str, what: &str) -> String {
    let look = async {
        loop {
            let told = stdout(&world.run(&["status", id]).await);
            if told.contains(what) {
                return told;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, look).await.unwrap_or_else(|_| panic!("`{what}` is never said"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manual_cutover_is_paused_resumed_and_approved_with_the_commands_that_are_told() {
    let world = World::new();
    let parts = world.all().await;
    let id = RelocationId::new().to_string();
    world.lone.write("r.yaml", &format!("id: {id}\ncutover: manual\n{REQUEST}"));
    let mut command = tokio::process::Command::from(world.lone.command(&["relocate", "r.yaml", "--wait"]));
    let followed = world.lone.config().with_file_name("followed");
    command.stderr(std::fs::File::create(&followed).unwrap()).stdout(std::process::Stdio::piped());
    let waiting = command.kill_on_drop(true).spawn().unwrap();
    let approve = format!("`fluidcloud approve {id}`");
    let told = says(&world, &id, "AwaitingCutover").await;
    assert!(told.contains(&approve), "{told}");
    // Who follows it looks every now and then.
    let followed = async {
        while !world.lone.read("followed").contains(&approve) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(SOON, followed).await.expect("who follows it is told what to do");
    let all = stdout(&world.run(&["status"]).await);
    assert!(all.contains(&approve), "{all}");
    assert_eq!(world.cloud_a.running_instances().len(), 1);

    assert_eq!(exit(&world.run(&["pause", &id]).await), 0);
    let told = says(&world, &id, "(paused)").await;
    assert!(told.contains(&format!("`fluidcloud resume {id}`")), "{told}");
    assert_eq!(exit(&world.run(&["approve", &id]).await), 0);
    assert_eq!(exit(&world.run(&["resume", &id]).await), 0);
    let told = tokio::time::timeout(SOON, waiting.wait_with_output()).await.expect("it ends").unwrap();
    assert_eq!(exit(&told), 0, "{}", world.lone.read("followed"));
    assert!(world.moved());
    for order in ["approve", "pause", "resume"] {
        let late = world.run(&[order, &id]).await;
        assert_eq!(exit(&late), 2, "{}", stderr(&late));
    }
    parts.end().await;
}
