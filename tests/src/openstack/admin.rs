//! What only an administrator can do to a project: states that come by themselves only by bad luck, and quotas.

use fluidcloud_providers::openstack::api::{Call, Service};
use serde_json::{Value, json};

use super::proxy::clouds_file;
use super::{Cloud, Clouds};

/// The administrator's entry of clouds.yaml.
const ADMIN: &str = "FLUIDCLOUD_TEST_ADMIN";

#[derive(Debug)]
pub struct Admin(Cloud);

/// A project's quota of servers, lowered; as it was again when this is dropped.
#[derive(Debug)]
pub struct Lowered<'a> {
    admin: &'a Admin,
    path: String,
    before: i64,
}

impl Clouds {
    /// `None`, loudly, where there is no such entry.
    pub fn admin(&self) -> Option<Admin> {
        let name = std::env::var(ADMIN).unwrap_or_else(|_| "lab".to_owned());
        let text = std::fs::read_to_string(clouds_file()).expect("it was read before");
        let clouds: Value = serde_norway::from_str(&text).expect("YAML");
        if clouds["clouds"].get(&name).is_none() {
            eprintln!("SKIPPED: no administrator: set {ADMIN} to an entry of clouds.yaml");
            return None;
        }
        Some(Admin(Cloud::open(&name, &self.key().join("key"))))
    }
}

impl Admin {
    /// As when its back end has lost it.
    pub fn break_volume(&self, id: &str) {
        println!("injected: volume {id} goes into error");
        let action = json!({"os-reset_status": {"status": "error"}});
        self.act(Service::Volume, format!("/volumes/{id}/action"), action);
    }

    /// As when its host has lost it.
    pub fn break_server(&self, id: &str) {
        println!("injected: server {id} goes into ERROR");
        self.act(
            Service::Compute,
            format!("/servers/{id}/action"),
            json!({"os-resetState": {"state": "error"}}),
        );
    }

    /// The project may have so many servers and no more.
    pub fn lower_quota(&self, cloud: &Cloud, servers: usize) -> Lowered<'_> {
        let tenant = cloud.call(Call::get(Service::Network, "/quotas/tenant", "see the project's id"));
        let project = tenant["tenant"]["tenant_id"].as_str().expect("an id");
        let path = format!("/os-quota-sets/{project}");
        let quotas = self.0.call(Call::get(Service::Compute, path.clone(), "look at quotas"));
        let before = quotas["quota_set"]["instances"].as_i64().expect("a quota");
        println!("injected: the quota of servers of {} goes from {before} to {servers}", cloud.name);
        let lowered = Lowered { admin: self, path, before };
        lowered.set(i64::try_from(servers).expect("a few"));
        lowered
    }

    fn act(&self, service: Service, path: String, action: Value) {
        self.0.call(Call::post(service, path, "put it into another state").json(action));
    }
}

impl Lowered<'_> {
    fn set(&self, servers: i64) {
        let body = json!({"quota_set": {"instances": servers, "force": true}});
        let call = Call::put(Service::Compute, self.path.clone(), "set a quota").json(body);
        self.admin.0.call(call);
    }
}

impl Drop for Lowered<'_> {
    fn drop(&mut self) {
        self.set(self.before);
    }
}
