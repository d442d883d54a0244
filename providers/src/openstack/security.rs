//! What can be asked of Neutron's security groups.

use fluidcloud_proto::ids::RelocationId;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::networks::SecurityGroup;
use super::servers::Id;
use super::tag;
use crate::error::Error;

impl Api {
    pub(super) async fn security_groups(&self) -> Result<Vec<SecurityGroup>, Error> {
        let call = Call::get(Service::Network, "/security-groups", "list security groups");
        self.list(call, "security_groups").await
    }

    pub(super) async fn security_groups_of(
        &self,
        relocation: RelocationId,
    ) -> Result<Vec<SecurityGroup>, Error> {
        let mut all = self.security_groups().await?;
        all.retain(|group| tag::describes(&group.description, relocation));
        Ok(all)
    }

    /// Ids of those with these names or ids.
    pub(super) async fn security_group_ids(&self, wanted: &[String]) -> Result<Vec<String>, Error> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let all = self.security_groups().await?;
        let id = |name: &String| {
            let found = all.iter().find(|group| group.id == *name || group.name == *name);
            found.map(|group| group.id.clone()).ok_or_else(|| Error::Config {
                provider: self.provider().to_owned(),
                what: format!("there is no security group `{name}`: make it, or leave it out"),
            })
        };
        wanted.iter().map(id).collect()
    }

    pub(super) async fn make_security_group(&self, name: &str, description: &str) -> Result<String, Error> {
        let what = format!("make security group `{name}`");
        let call = Call::post(Service::Network, "/security-groups", what);
        let body = json!({"name": name, "description": description});
        Ok(self.one::<Id>(call.json(json!({"security_group": body})), "security_group").await?.id)
    }

    /// Lets TCP in from anywhere. One that is there already is no error.
    pub(super) async fn let_in(&self, group: &str, from: u16, to: u16, ethertype: &str) -> Result<(), Error> {
        let rule = json!({
            "security_group_id": group, "direction": "ingress", "ethertype": ethertype, "protocol": "tcp",
            "port_range_min": from, "port_range_max": to,
        });
        self.make_rule(rule).await
    }

    pub(super) async fn delete_security_group(&self, id: &str) -> Result<(), Error> {
        let path = format!("/security-groups/{id}");
        self.remove(Call::delete(Service::Network, path, format!("delete security group {id}"))).await
    }

    pub(super) async fn security_group(&self, id: &str) -> Result<Option<SecurityGroup>, Error> {
        let path = format!("/security-groups/{id}");
        let call = Call::get(Service::Network, path, format!("look at security group {id}"));
        self.find(call, "security_group").await
    }

    /// One that is there already is no error.
    pub(super) async fn make_rule(&self, rule: Value) -> Result<(), Error> {
        let group = rule["security_group_id"].as_str().unwrap_or_default();
        let what = format!("add a rule to security group {group}");
        let call = Call::post(Service::Network, "/security-group-rules", what);
        match self.call(call.json(json!({"security_group_rule": rule}))).await {
            Ok(_) | Err(Error::Refused { status: 409, full: false, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn delete_rule(&self, id: &str) -> Result<(), Error> {
        let path = format!("/security-group-rules/{id}");
        self.remove(Call::delete(Service::Network, path, format!("delete security group rule {id}"))).await
    }
}
