//! Nova's servers: what they look like and what can be asked of them. No decision is made here.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::lenient;
use super::tag::Metadata;
use super::wait::until;
use crate::error::Error;

/// A host may first fetch the image.
pub(super) const BUILD_MAX: Duration = Duration::from_secs(600);
pub(super) const DELETE_MAX: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Server {
    pub id: String,
    pub name: String,
    pub status: String,
    #[serde(rename = "OS-EXT-STS:task_state", default, deserialize_with = "lenient::or_default")]
    pub task: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub created: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub flavor: Flavor,
    /// An object with the id, or an empty text for one that boots from a volume.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub image: Value,
    #[serde(
        rename = "os-extended-volumes:volumes_attached",
        default,
        deserialize_with = "lenient::or_default"
    )]
    pub volumes: Vec<Id>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub addresses: BTreeMap<String, Vec<Address>>,
    #[serde(rename = "OS-EXT-SRV-ATTR:root_device_name", default, deserialize_with = "lenient::or_default")]
    pub root_device: Option<String>,
    /// Nothing for one that never came to run.
    #[serde(rename = "OS-SRV-USG:launched_at", default, deserialize_with = "lenient::or_default")]
    pub launched: Option<String>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub fault: Option<Fault>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub config_drive: Value,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub key_name: Option<String>,
    #[serde(rename = "OS-EXT-AZ:availability_zone", default, deserialize_with = "lenient::or_default")]
    pub zone: Option<String>,
    /// Whether it has any; what it says is not kept. Most clouds tell it to administrators only.
    #[serde(rename = "OS-EXT-SRV-ATTR:user_data", default, deserialize_with = "lenient::is_there")]
    pub has_user_data: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Flavor {
    /// Only in the list of flavors.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub id: String,
    #[serde(alias = "original_name", default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub vcpus: u32,
    /// MiB.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub ram: u64,
    /// GiB.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub disk: u64,
    /// GiB.
    #[serde(alias = "OS-FLV-EXT-DATA:ephemeral", default, deserialize_with = "lenient::or_default")]
    pub ephemeral: u64,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub extra_specs: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Id {
    pub id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Address {
    pub addr: String,
    #[serde(rename = "OS-EXT-IPS:type", default, deserialize_with = "lenient::or_default")]
    pub kind: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Fault {
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub message: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Action {
    pub action: String,
    pub request_id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub start_time: String,
}

impl Server {
    pub fn image_id(&self) -> Option<&str> {
        self.image.get("id")?.as_str()
    }

    pub fn reason(&self) -> String {
        let fault = self.fault.as_ref().map(|fault| fault.message.trim()).filter(|text| !text.is_empty());
        fault.unwrap_or("it gave no reason").to_owned()
    }
}

fn path(server: &str) -> String {
    format!("/servers/{server}")
}

impl Api {
    pub(super) async fn servers(&self) -> Result<Vec<Server>, Error> {
        self.list(Call::get(Service::Compute, "/servers/detail", "list servers"), "servers").await
    }

    pub(super) async fn server(&self, id: &str) -> Result<Option<Server>, Error> {
        let call = Call::get(Service::Compute, path(id), format!("look at server {id}"));
        self.find(call, "server").await
    }

    /// Answers its id.
    pub(super) async fn make_server(
        &self,
        what: &str,
        server: Value,
        group: Option<&str>,
    ) -> Result<String, Error> {
        let mut body = json!({"server": server});
        if let Some(group) = group {
            body["os:scheduler_hints"] = json!({"group": group});
        }
        let call = Call::post(Service::Compute, "/servers", what).json(body);
        Ok(self.one::<Id>(call, "server").await?.id)
    }

    /// Asked twice, the second time is refused with 409 as long as the first is under way.
    pub(super) async fn act(&self, server: &str, what: &str, action: Value) -> Result<Value, Error> {
        let path = format!("{}/action", path(server));
        let call = Call::post(Service::Compute, path, format!("{what} server {server}")).json(action);
        self.call(call).await
    }

    pub(super) async fn set_metadata(&self, server: &Server, set: &[(&str, &str)]) -> Result<(), Error> {
        let metadata: Metadata = set.iter().map(|(k, v)| ((*k).to_owned(), super::tag::short(v))).collect();
        let path = format!("{}/metadata", path(&server.id));
        let call = Call::post(Service::Compute, path, format!("mark server `{}`", server.name)).safe();
        self.call(call.json(json!({"metadata": metadata}))).await.map(drop)
    }

    pub(super) async fn drop_metadata(&self, server: &Server, key: &str) -> Result<(), Error> {
        let path = format!("{}/metadata/{key}", path(&server.id));
        self.remove(Call::delete(Service::Compute, path, format!("unmark server `{}`", server.name))).await
    }

    /// Newest first.
    pub(super) async fn actions(&self, server: &str) -> Result<Vec<Action>, Error> {
        let path = format!("{}/os-instance-actions", path(server));
        let call = Call::get(Service::Compute, path, format!("see what was done to server {server}"));
        self.list(call, "instanceActions").await
    }

    pub(super) async fn attach(&self, server: &str, volume: &str) -> Result<(), Error> {
        let path = format!("{}/os-volume_attachments", path(server));
        let what = format!("attach volume {volume} to server {server}");
        let call = Call::post(Service::Compute, path, what);
        self.call(call.json(json!({"volumeAttachment": {"volumeId": volume}}))).await.map(drop)
    }

    pub(super) async fn detach(&self, server: &str, volume: &str) -> Result<(), Error> {
        let path = format!("{}/os-volume_attachments/{volume}", path(server));
        let what = format!("detach volume {volume} from server {server}");
        self.remove(Call::delete(Service::Compute, path, what)).await
    }

    /// Returns when it is gone.
    pub(super) async fn delete_server(&self, id: &str) -> Result<(), Error> {
        self.remove(Call::delete(Service::Compute, path(id), format!("delete server {id}"))).await?;
        until(
            || format!("the deletion of server {id}"),
            DELETE_MAX,
            || async {
                Ok(match self.server(id).await? {
                    Some(server) if !matches!(server.status.as_str(), "DELETED" | "SOFT_DELETED") => None,
                    _ => Some(()),
                })
            },
        )
        .await
    }

    pub(super) async fn console(&self, server: &str) -> Result<String, Error> {
        let answer = self.act(server, "read the console of", json!({"os-getConsoleOutput": {}})).await?;
        Ok(answer["output"].as_str().unwrap_or_default().to_owned())
    }

    /// Those that may be used, with what is special about them.
    pub(super) async fn flavors(&self) -> Result<Vec<Flavor>, Error> {
        self.list(Call::get(Service::Compute, "/flavors/detail", "list flavors"), "flavors").await
    }

    pub(super) async fn compute_limits(&self) -> Result<BTreeMap<String, i64>, Error> {
        let call = Call::get(Service::Compute, "/limits", "see the limits of the project");
        let limits: Value = self.one(call, "limits").await?;
        Ok(numbers(&limits["absolute"]))
    }
}

/// Newer services add what is not a number.
pub(super) fn numbers(limits: &Value) -> BTreeMap<String, i64> {
    let all = limits.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))).collect()
}
