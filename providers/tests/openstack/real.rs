//! A real cloud, and what its user does there without our driver. Where there is none: a loud skip, but a failure for
//! `deploy/test --openstack`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::conformance::{Content, Fixture, MEMORY_BYTES};
use fluidcloud_providers::openstack::api::{Api, CLOUD, Call, Service};
use fluidcloud_providers::openstack::{HelperConfig, OpenstackConfig, OpenstackProvider};
use fluidcloud_providers::{Moment, Provider};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use crate::eye::Eye;

/// Prints the seconds of its test at the end, however that comes: where the time of a suite goes.
pub struct Timed(std::time::Instant);

impl Timed {
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        println!("{:6.1} s  {test}", self.0.elapsed().as_secs_f64());
    }
}

static TURN: Mutex<()> = Mutex::const_new(());
/// Set by who wants a failure instead of a skip.
const MUST: &str = "FLUIDCLOUD_TEST_OPENSTACK";
const LOOK: Duration = Duration::from_millis(500);
const DONE_MAX: u32 = 600;
const MIB: u64 = 1 << 20;

pub struct Real {
    config: OpenstackConfig,
    image: String,
    flavor: String,
    provider: OpenstackProvider,
    /// Opened when something is to be seen.
    eye: OnceCell<Eye>,
    /// Servers and volumes made here, removed by `clear`.
    made: Mutex<Vec<(String, Option<String>)>>,
    /// Listings of the project are compared: one test at a time.
    _turn: MutexGuard<'static, ()>,
    _timed: Timed,
    _key: tempfile::TempDir,
}

/// What of the lab's names is other elsewhere.
fn variable(name: &str, lab: String) -> String {
    std::env::var(format!("FLUIDCLOUD_TEST_{name}")).unwrap_or(lab)
}

/// The cloud that is meant to be tested on.
fn named() -> Option<String> {
    let Ok(cloud) = std::env::var(CLOUD) else {
        assert!(std::env::var_os(MUST).is_none(), "no cloud to test on: {CLOUD} is not set");
        eprintln!("SKIPPED: no cloud to test on: set {CLOUD} to an entry of clouds.yaml");
        return None;
    };
    Some(cloud)
}

fn helper(config: &OpenstackConfig) -> &HelperConfig {
    config.helper.as_ref().expect("a helper")
}

fn config(cloud: String, key: PathBuf) -> OpenstackConfig {
    let helper = HelperConfig {
        image: variable("IMAGE", "lab-guest".into()),
        flavor: variable("HELPER_FLAVOR", "lab.small".into()),
        network: variable("NETWORK", format!("{cloud}-net")),
        floating_network: Some(variable("FLOATING", "public".into())),
        user: "root".into(),
        key,
        guest_tools: false,
        dir: PathBuf::from("/var/lib/fluidcloud-site"),
    };
    OpenstackConfig {
        network: Some(helper.network.clone()),
        networks: BTreeMap::new(),
        external_network: None,
        cloud,
        clouds_file: None,
        region: None,
        security_groups: Vec::new(),
        floating_network: None,
        volume_type: None,
        volume_types: BTreeMap::new(),
        flavors: BTreeMap::new(),
        availability_zone: None,
        helper: Some(helper),
        dir: PathBuf::from("/var/lib/fluidcloud-site"),
    }
}

/// The same cloud without anything of the tests' own in it, configured to make what a source's instances stood in; and its
/// external network.
pub fn furnishing() -> Option<(OpenstackProvider, String)> {
    let config = config(named()?, PathBuf::from("/nowhere"));
    let outside = helper(&config).floating_network.clone().expect("the helper has one");
    Some((open(&OpenstackConfig { network: None, ..config }), outside))
}

impl Real {
    pub async fn start() -> Option<Self> {
        let cloud = named()?;
        let turn = TURN.lock().await;
        let keys = tempfile::tempdir().unwrap();
        let key: PathBuf = keys.path().join("key");
        let path = key.to_str().unwrap();
        let made = std::process::Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f", path])
            .status();
        assert!(made.expect("ssh-keygen").success());
        let config = config(cloud, key);
        let provider = open(&config);
        let image = id_of(provider.api(), Service::Image, "images", &helper(&config).image).await;
        let flavor = variable("FLAVOR", "lab.tiny".into());
        let flavor = id_of(provider.api(), Service::Compute, "flavors", &flavor).await;
        let eye = OnceCell::new();
        Some(Self {
            config,
            image,
            flavor,
            provider,
            eye,
            made: Mutex::default(),
            _turn: turn,
            _timed: Timed::start(),
            _key: keys,
        })
    }

    async fn eye(&self) -> &Eye {
        self.eye.get_or_init(|| Eye::open(&self.provider)).await
    }

    pub fn config(&self) -> &OpenstackConfig {
        &self.config
    }

    /// The driver, told otherwise how to reach the cloud.
    pub fn open(&self, config: &OpenstackConfig) -> OpenstackProvider {
        open(config)
    }

    pub fn api(&self) -> &Api {
        self.provider.api()
    }

    /// A server whose root disk is on its hypervisor, running.
    pub async fn make_from_image(&self, name: &InstanceName) {
        let network = id_of(self.api(), Service::Network, "networks", &helper(&self.config).network).await;
        let server = json!({"name": name, "flavorRef": self.flavor, "imageRef": self.image, "networks": [{"uuid": network}]});
        self.make_server(server, None).await;
    }

    async fn make_server(&self, server: Value, volume: Option<String>) -> String {
        let call = Call::post(Service::Compute, "/servers", "make a server").json(json!({"server": server}));
        let id = self.api().call(call).await.unwrap()["server"]["id"].as_str().unwrap().to_owned();
        self.made.lock().await.push((id.clone(), volume));
        self.server_is(&id, "ACTIVE").await;
        id
    }

    async fn server_is(&self, id: &str, status: &str) {
        for _ in 0..DONE_MAX {
            let call = Call::get(Service::Compute, format!("/servers/{id}"), "look at a server");
            let found = self.api().call(call).await.unwrap()["server"]["status"].clone();
            assert_ne!(found, "ERROR");
            if found == status {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        panic!("server {id} is not {status}");
    }

    /// Removes what was made here; also what a relocation left is then seen in the listing.
    pub async fn clear(&self) {
        if let Some(eye) = self.eye.get() {
            eye.close(&self.provider).await;
        }
        for (server, volume) in self.made.lock().await.drain(..) {
            let call = Call::delete(Service::Compute, format!("/servers/{server}"), "delete a server");
            let _ = self.api().call(call).await;
            for _ in 0..DONE_MAX {
                let call = Call::get(Service::Compute, format!("/servers/{server}"), "look at a server");
                if self.api().call(call).await.is_err() {
                    break;
                }
                tokio::time::sleep(LOOK).await;
            }
            if let Some(volume) = volume {
                self.eye().await.delete_volume(self.api(), &volume).await;
            }
        }
    }

    /// Everything in the project by kind and id, but what the tests' own eye needs.
    pub async fn listing(&self) -> BTreeSet<String> {
        const KINDS: [(Service, &str, &str); 8] = [
            (Service::Compute, "/servers", "servers"),
            (Service::Volume, "/volumes", "volumes"),
            (Service::Volume, "/snapshots", "snapshots"),
            (Service::Image, "/images", "images"),
            (Service::Network, "/ports", "ports"),
            (Service::Network, "/floatingips", "floatingips"),
            (Service::Network, "/security-groups", "security_groups"),
            (Service::Network, "/networks", "networks"),
        ];
        let mut all = BTreeSet::new();
        for (service, path, key) in KINDS {
            let answer = self.api().call(Call::get(service, path, "list")).await.unwrap();
            for thing in answer[key].as_array().unwrap() {
                let described = thing.to_string();
                if self.eye.get().is_none_or(|eye| !eye.has(&described)) {
                    all.insert(format!("{key} {} {}", thing["id"], thing["name"]));
                }
            }
        }
        all
    }
}

fn open(config: &OpenstackConfig) -> OpenstackProvider {
    let shape = json!({"machine": "pc", "disk_bus": "virtio", "nic": "virtio", "format": "raw"});
    let (id, shape) = ("real".parse().unwrap(), serde_json::from_value(shape).unwrap());
    OpenstackProvider::from_config(&id, &shape, config).unwrap()
}

pub async fn id_of(api: &Api, service: Service, key: &str, name: &str) -> String {
    let found = api.call(Call::get(service, format!("/{key}"), format!("list {key}"))).await.unwrap();
    let found =
        found[key].as_array().unwrap().iter().find(|thing| thing["name"] == name || thing["id"] == name);
    found.unwrap_or_else(|| panic!("no {key} `{name}`"))["id"].as_str().unwrap().to_owned()
}

#[async_trait]
impl Fixture for Real {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.provider.clone())
    }

    fn another(&self) -> Arc<dyn Provider> {
        Arc::new(open(&self.config))
    }

    /// It boots from a volume: what is on it can be looked at by a snapshot.
    async fn make_foreign(&self, name: &InstanceName, autostart: bool) {
        let network = id_of(self.api(), Service::Network, "networks", &helper(&self.config).network).await;
        let volume =
            self.eye().await.make_volume(self.api(), json!({"size": 1, "imageRef": self.image})).await;
        let disk =
            json!({"boot_index": 0, "uuid": volume, "source_type": "volume", "destination_type": "volume"});
        let metadata = if autostart { json!({"fluidcloud_autostart": "true"}) } else { json!({}) };
        let server = json!({
            "name": name, "flavorRef": self.flavor, "networks": [{"uuid": network}], "metadata": metadata,
            "block_device_mapping_v2": [disk],
        });
        let id = self.make_server(server, Some(volume)).await;
        let call = Call::post(Service::Compute, format!("/servers/{id}/action"), "stop a server");
        self.api().call(call.json(json!({"os-stop": null}))).await.unwrap();
        self.server_is(&id, "SHUTOFF").await;
    }

    /// Nova has no such thing: by the note that our driver keeps of it.
    async fn starts_by_itself(&self, name: &InstanceName) -> bool {
        let notes = self.notes(name).await;
        notes["fluidcloud_autostart"] == "true" && notes.get("fluidcloud_kept").is_none()
    }

    async fn memory_bytes(&self) -> u64 {
        let flavors =
            self.api().call(Call::get(Service::Compute, "/flavors/detail", "list flavors")).await.unwrap();
        let all = flavors["flavors"].as_array().unwrap().iter();
        let fits = all.filter(|flavor| flavor["vcpus"] == 1).filter_map(|flavor| flavor["ram"].as_u64());
        fits.map(|mib| mib * MIB).filter(|bytes| *bytes >= MEMORY_BYTES).min().expect("a flavor that fits")
    }

    fn surroundings(&self, label: &str) -> Option<Surroundings> {
        let outside = helper(&self.config).floating_network.clone()?;
        Some(crate::stand::surroundings(label, &outside))
    }

    fn sees_writing(&self) -> bool {
        false
    }

    async fn read(&self, place: &DiskPlace) -> Content {
        self.eye().await.read(self.api(), volume_of(place)).await
    }

    async fn write(&self, place: &DiskPlace, bytes: &[u8]) {
        self.eye().await.write(self.api(), volume_of(place), bytes).await;
    }

    async fn leave_scraps(&self, relocation: RelocationId, beside: &DiskPlace) {
        let site =
            self.provider.open(relocation, std::slice::from_ref(beside), Moment::Stopped).await.unwrap();
        for suffix in [".viaduct", ".work.qcow2", ".lock"] {
            let path = PathBuf::from(format!("{}{suffix}", beside.path));
            site.put_bytes(b"j", &path, 0o600).await.unwrap();
        }
    }
}

impl Real {
    /// Metadata of the server, or of the root volume of one that was never started.
    async fn notes(&self, name: &InstanceName) -> Value {
        let servers =
            self.api().call(Call::get(Service::Compute, "/servers/detail", "list servers")).await.unwrap();
        let servers = servers["servers"].as_array().unwrap();
        if let Some(server) = servers.iter().find(|server| server["name"] == name.as_str()) {
            return server["metadata"].clone();
        }
        let volumes =
            self.api().call(Call::get(Service::Volume, "/volumes/detail", "list volumes")).await.unwrap();
        let volumes = volumes["volumes"].as_array().unwrap().iter().map(|volume| &volume["metadata"]);
        let mut roots = volumes.filter(|notes| notes["fluidcloud_place"] == "0");
        roots.find(|notes| notes["fluidcloud_instance"] == name.as_str()).expect("the instance").clone()
    }
}

fn volume_of(place: &DiskPlace) -> &str {
    place.path.rsplit('/').next().unwrap()
}
