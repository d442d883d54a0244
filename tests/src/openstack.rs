//! Two real OpenStack projects, as their user works with them without FluidCloud: what a story needs is made by name and
//! removed when it ends. Without a cloud a story is skipped loudly, but fails where `deploy/test --openstack` runs it.

mod admin;
mod make;
mod objects;
pub mod proxy;
mod store;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use fluidcloud_providers::openstack::api::{Api, CLOUD, Call, Service};
use fluidcloud_providers::openstack::{HelperConfig, OpenstackConfig, OpenstackProvider};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use admin::Admin;
pub use make::Server;
pub use proxy::{Fault, Gate, Proxy};
pub use store::Public;

/// Set by who wants a failure instead of a skip.
const MUST: &str = "FLUIDCLOUD_TEST_OPENSTACK";
/// A cloud makes a helper, snapshots and servers meanwhile, maybe without hardware to help it.
pub const ENDS_WITHIN: Duration = Duration::from_secs(1200);
const DONE_WITHIN: Duration = Duration::from_secs(300);

/// One project of a cloud. What was made in it goes when it is dropped.
#[derive(Debug)]
pub struct Cloud {
    /// Its entry in clouds.yaml.
    pub name: String,
    pub network: String,
    api: Api,
    runtime: tokio::runtime::Runtime,
    made: Mutex<Vec<(Service, String)>>,
    /// An image whose guests are turned off at once.
    hasty: OnceLock<String>,
}

/// Two projects, as two clouds.
#[derive(Debug)]
pub struct Clouds {
    pub a: Cloud,
    pub b: Cloud,
    key: TempDir,
}

/// What of the lab's names is other elsewhere.
fn variable(name: &str, usual: &str) -> String {
    std::env::var(format!("FLUIDCLOUD_TEST_{name}")).unwrap_or_else(|_| usual.to_owned())
}

pub fn image() -> String {
    variable("IMAGE", "lab-guest")
}

pub fn flavor() -> String {
    variable("FLAVOR", "lab.tiny")
}

pub fn helper_flavor() -> String {
    variable("HELPER_FLAVOR", "lab.small")
}

fn outside() -> String {
    variable("FLOATING", "public")
}

impl Clouds {
    pub fn open() -> Option<Self> {
        let Ok(one) = std::env::var(CLOUD) else {
            assert!(std::env::var_os(MUST).is_none(), "no cloud to test on: {CLOUD} is not set");
            eprintln!("SKIPPED: no cloud to test on: set {CLOUD} to an entry of clouds.yaml");
            return None;
        };
        let beside = one.strip_suffix("-a").map(|name| format!("{name}-b"));
        let other = std::env::var("FLUIDCLOUD_TEST_OTHER_CLOUD").ok().or(beside);
        let other = other.expect("a second project: name its entry in FLUIDCLOUD_TEST_OTHER_CLOUD");
        let key = TempDir::new().expect("a temporary directory");
        let path = key.path().join("key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&path).status();
        assert!(made.expect("ssh-keygen").success());
        Some(Self { a: Cloud::open(&one, &path), b: Cloud::open(&other, &path), key })
    }

    /// `state:` and `http:` are for [`crate::stack::Stack`] to fill in.
    pub fn config(&self) -> String {
        let mut text = "state: here\nhttp: {}\nproviders:\n".to_owned();
        text.push_str(&self.a.provider("cloud-a", self.key.path()));
        text.push_str(&self.b.provider("cloud-b", self.key.path()));
        text
    }

    /// The same, with a proxy in front of each cloud. The stories themselves go past them.
    pub fn config_through_proxies(&self) -> (String, [Proxy; 2]) {
        let mut text = self.config();
        let proxies = [&self.a, &self.b].map(|cloud| {
            let file = self.key.path().join(format!("{}.yaml", cloud.name));
            let entry = format!("cloud: {}\n", cloud.name);
            text = text.replace(&entry, &format!("{entry}      clouds_file: {}\n", file.display()));
            cloud.runtime.block_on(Proxy::before(&cloud.name, &file))
        });
        (text, proxies)
    }

    pub fn key(&self) -> &Path {
        self.key.path()
    }

    /// The same, but that no helper may be made in these.
    pub fn config_without_helper(&self, at: &[&Cloud]) -> String {
        let mut config = self.config();
        for cloud in at {
            let (id, mut part) =
                (if cloud.name == self.a.name { "cloud-a" } else { "cloud-b" }, String::new());
            let with = cloud.provider(id, self.key.path());
            for line in with.lines() {
                match line.trim_start().starts_with("helper:") {
                    true => part.push_str("      helper: none\n      dir: /run/fluidcloud-site\n"),
                    false => part.push_str(&format!("{line}\n")),
                }
            }
            config = config.replace(&with, &part);
        }
        config
    }
}

impl Cloud {
    fn open(name: &str, key: &Path) -> Self {
        let network = variable(&format!("NETWORK_{name}"), &format!("{name}-net"));
        let helper = HelperConfig {
            image: image(),
            flavor: helper_flavor(),
            network: network.clone(),
            floating_network: None,
            user: "root".into(),
            key: key.to_owned(),
            guest_tools: false,
            dir: PathBuf::from("/run/fluidcloud-site"),
        };
        let config = json!({"cloud": name, "network": network, "helper": {"image": helper.image,
            "flavor": helper.flavor, "network": helper.network, "key": helper.key}});
        let config: OpenstackConfig = serde_json::from_value(config).expect("a configuration");
        let shape = json!({"machine": "pc", "disk_bus": "virtio", "nic": "virtio", "format": "raw"});
        let (id, shape) = (name.parse().expect("a name"), serde_json::from_value(shape).expect("a shape"));
        let provider = OpenstackProvider::from_config(&id, &shape, &config).expect("an entry of clouds.yaml");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        Self {
            name: name.to_owned(),
            network,
            api: provider.api().clone(),
            runtime,
            made: Mutex::default(),
            hasty: OnceLock::new(),
        }
    }

    /// Its part of a configuration.
    pub fn provider(&self, id: &str, keys: &Path) -> String {
        let (name, network, key) = (&self.name, &self.network, keys.join("key"));
        format!(
            "  - id: {id}\n    driver: openstack\n    \
             shape: {{machine: pc, disk_bus: virtio, nic: virtio, format: raw}}\n    \
             openstack:\n      cloud: {name}\n      network: {network}\n      floating_network: {outside}\n      \
             security_groups: [{open}]\n      \
             helper: {{image: {image}, flavor: {flavor}, network: {network}, floating_network: {outside}, \
             key: {key}, dir: /run/fluidcloud-site}}\n",
            outside = outside(),
            open = make::OPEN,
            image = image(),
            flavor = helper_flavor(),
            key = key.display(),
        )
    }

    #[track_caller]
    pub fn call(&self, call: Call) -> Value {
        self.runtime.block_on(self.api.call(call)).unwrap_or_else(|error| panic!("{error}"))
    }

    pub fn try_call(&self, call: Call) -> Option<Value> {
        self.runtime.block_on(self.api.call(call)).ok()
    }

    /// Everything in the project by kind, id and name.
    pub fn listing(&self) -> BTreeSet<String> {
        const KINDS: [(Service, &str, &str); 11] = [
            (Service::Compute, "/servers", "servers"),
            (Service::Volume, "/volumes", "volumes"),
            (Service::Volume, "/snapshots", "snapshots"),
            (Service::Image, "/images", "images"),
            (Service::Network, "/ports", "ports"),
            (Service::Network, "/floatingips", "floatingips"),
            (Service::Network, "/security-groups", "security_groups"),
            (Service::Network, "/networks", "networks"),
            (Service::Network, "/subnets", "subnets"),
            (Service::Network, "/routers", "routers"),
            (Service::Compute, "/os-server-groups", "server_groups"),
        ];
        let mut all = BTreeSet::new();
        for (service, path, key) in KINDS {
            let answer = self.call(Call::get(service, path, format!("list {key}")));
            for thing in answer[key].as_array().expect("a list") {
                all.insert(format!("{key} {} {}", thing["id"], thing["name"]));
            }
        }
        let keys = self.call(Call::get(Service::Compute, "/os-keypairs", "list key pairs"));
        for key in keys["keypairs"].as_array().expect("a list") {
            all.insert(format!("keypairs {}", key["keypair"]["name"]));
        }
        all
    }
}
