//! Nova's key pairs and server groups: what they look like and what can be asked of them. Key pairs are of a user, server
//! groups of a project.

use serde::Deserialize;

use super::api::{Api, Call, Service};
use super::lenient;
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
}
