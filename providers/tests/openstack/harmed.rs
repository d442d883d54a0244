//! A real cloud with harm done to it: through a proxy that fails, and as its administrator, who can put things into states
//! that come by themselves only by bad luck.

use std::collections::BTreeSet;
use std::sync::Arc;

use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::{Firmware, Nic};
use fluidcloud_providers::conformance::MEMORY_BYTES;
use fluidcloud_providers::openstack::OpenstackProvider;
use fluidcloud_providers::openstack::api::{Api, Call, Service};
use fluidcloud_providers::{DiskOrder, InstanceOrder, Provider};
use serde_json::{Value, json};

use crate::proxy::{Proxy, clouds_file};
use crate::real::Real;

/// The administrator's entry of clouds.yaml.
const ADMIN: &str = "FLUIDCLOUD_TEST_ADMIN";
/// Set where others work in the same project: what is other than before is then shown, and fails only if it is ours.
const SHARED: &str = "FLUIDCLOUD_TEST_SHARED";
const GIB: u64 = 1 << 30;

/// One relocation that meets with harm, and how the project was before.
pub struct Harmed {
    pub real: Real,
    pub relocation: RelocationId,
    before: BTreeSet<String>,
}

impl Harmed {
    pub async fn start() -> Option<Self> {
        let real = Real::start().await?;
        let before = real.listing().await;
        Some(Self { real, relocation: RelocationId::new(), before })
    }

    /// The driver behind a proxy in front of the same cloud.
    pub async fn behind_proxy(&self) -> (Proxy, Arc<dyn Provider>, Api) {
        // Beside the key, in a directory that only its owner reads.
        let helper = self.real.config().helper.as_ref().expect("a helper");
        let through = helper.key.with_file_name("clouds.yaml");
        let proxy = Proxy::before(&self.real.config().cloud, &through).await;
        let mut config = self.real.config().clone();
        config.clouds_file = Some(through);
        let provider = self.real.open(&config);
        let api = provider.api().clone();
        (proxy, Arc::new(provider), api)
    }

    /// `None`, loudly, where there is no such entry.
    pub fn admin(&self) -> Option<OpenstackProvider> {
        let mut config = self.real.config().clone();
        config.cloud = std::env::var(ADMIN).unwrap_or_else(|_| "lab".to_owned());
        let clouds: Value = serde_norway::from_str(&std::fs::read_to_string(clouds_file()).unwrap()).unwrap();
        if clouds["clouds"].get(&config.cloud).is_none() {
            eprintln!("SKIPPED: no administrator: set {ADMIN} to an entry of clouds.yaml");
            return None;
        }
        Some(self.real.open(&config))
    }

    pub fn disk(&self, name: &str) -> DiskOrder {
        DiskOrder {
            relocation: self.relocation,
            disk: self.disk_id(name),
            size_bytes: GIB,
            expected_bytes: 4096,
            staging: false,
            volume_type: None,
        }
    }

    pub fn disk_id(&self, name: &str) -> DiskId {
        DiskId { component: "harmed".parse().unwrap(), disk: name.parse().unwrap() }
    }

    /// An instance on one empty disk, defined.
    pub async fn define(&self, provider: &dyn Provider) -> InstanceOrder {
        let place = provider.create_disk(&self.disk("vda")).await.unwrap();
        let id = self.relocation.0.as_bytes();
        let order = InstanceOrder {
            relocation: self.relocation,
            name: format!("harmed-{}", &self.relocation.to_string()[..8]).parse().unwrap(),
            vcpus: 1,
            memory_bytes: MEMORY_BYTES,
            firmware: Firmware::Bios,
            disks: vec![(self.disk_id("vda"), place)],
            nics: vec![Nic {
                mac: format!("52:54:00:{:02x}:{:02x}:{:02x}", id[0], id[1], id[2]),
                model: "virtio".into(),
                network: "elsewhere".into(),
                addresses: Vec::new(),
                floating: Vec::new(),
                security_groups: Vec::new(),
            }],
            furnished: Default::default(),
            launched: Default::default(),
            settings: None,
            autostart: false,
            note: String::new(),
        };
        provider.create_instance(&order).await.unwrap();
        order
    }

    /// Undo, as the conduit does it, until it is done: nothing of the relocation is left, and the project is as it was.
    pub async fn undone(self, provider: &dyn Provider) {
        let name = format!("harmed-{}", &self.relocation.to_string()[..8]).parse().unwrap();
        provider.delete_instance(self.relocation, &name).await.unwrap();
        provider.release_addresses(self.relocation, &name).await.unwrap();
        for disk in ["vda", "vdb"] {
            provider.delete_disk(self.relocation, &self.disk_id(disk)).await.unwrap();
        }
        provider.settle(self.relocation).await.unwrap();
        self.leaves_it_as_found(provider).await;
    }

    async fn leaves_it_as_found(self, provider: &dyn Provider) {
        assert_eq!(provider.made_for(self.relocation).await.unwrap(), []);
        self.real.clear().await;
        let after = self.real.listing().await;
        let other: Vec<&String> = self.before.symmetric_difference(&after).collect();
        if std::env::var_os(SHARED).is_some() {
            println!("other than before, and not ours by its tag: {other:#?}");
            let label = &self.relocation.to_string()[..8];
            assert!(!other.iter().any(|thing| thing.contains(label)), "{other:?}");
            return;
        }
        assert_eq!(self.before, after, "the project is as it was found");
    }
}

/// What an action of the administrator does to a volume or server.
pub async fn put(admin: &Api, service: Service, path: String, action: Value) {
    let call = Call::post(service, path, "put it into another state").json(action);
    admin.call(call).await.unwrap();
}

pub fn into_error(service: Service) -> Value {
    match service {
        Service::Volume => json!({"os-reset_status": {"status": "error"}}),
        _ => json!({"os-resetState": {"state": "error"}}),
    }
}
