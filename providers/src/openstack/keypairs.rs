//! Nova's key pairs and server groups: what they look like and what can be asked of them. Key pairs are of a user, server
//! groups of a project.

use serde::Deserialize;
use serde_json::{Value, json};

use super::api::{Api, Call, Service};
use super::lenient;
use super::servers::Id;
use crate::error::Error;

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Keypair {
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub fingerprint: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub public_key: String,
}

/// As the list wraps it.
#[derive(Clone, Debug, Deserialize)]
struct Listed {
    keypair: Keypair,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ServerGroup {
    pub id: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub name: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub policies: Vec<String>,
    /// Since microversion 2.64 in place of `policies`.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub policy: String,
    /// Ids of servers.
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub members: Vec<String>,
}

impl ServerGroup {
    pub fn policy(&self) -> &str {
        self.policies.first().map_or(self.policy.as_str(), String::as_str)
    }
}

impl Api {
    /// Of the user that is logged in; those of others nobody else sees.
    pub(super) async fn keypairs(&self) -> Result<Vec<Keypair>, Error> {
        let call = Call::get(Service::Compute, "/os-keypairs", "list key pairs");
        let listed: Vec<Listed> = self.list(call, "keypairs").await?;
        Ok(listed.into_iter().map(|listed| listed.keypair).collect())
    }

    /// Those of the project.
    pub(super) async fn server_groups(&self) -> Result<Vec<ServerGroup>, Error> {
        let call = Call::get(Service::Compute, "/os-server-groups", "list server groups");
        self.list(call, "server_groups").await
    }

    pub(super) async fn import_keypair(&self, pair: Value) -> Result<(), Error> {
        let what = format!("import key pair `{}`", pair["name"].as_str().unwrap_or_default());
        let call = Call::post(Service::Compute, "/os-keypairs", what);
        self.call(call.json(json!({"keypair": pair}))).await.map(drop)
    }

    pub(super) async fn delete_keypair(&self, name: &str) -> Result<(), Error> {
        let path = format!("/os-keypairs/{}", escaped(name));
        self.remove(Call::delete(Service::Compute, path, format!("delete key pair `{name}`"))).await
    }

    pub(super) async fn make_server_group(&self, name: &str, group: Value) -> Result<String, Error> {
        let call = Call::post(Service::Compute, "/os-server-groups", format!("make server group `{name}`"));
        Ok(self.one::<Id>(call.json(json!({"server_group": group})), "server_group").await?.id)
    }

    pub(super) async fn delete_server_group(&self, id: &str) -> Result<(), Error> {
        let path = format!("/os-server-groups/{id}");
        self.remove(Call::delete(Service::Compute, path, format!("delete server group {id}"))).await
    }
}

/// As part of a path.
fn escaped(name: &str) -> String {
    let mut path = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                path.push(char::from(byte))
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(escaped("me@host key/1"), "me%40host%20key%2F1");
    }
}
