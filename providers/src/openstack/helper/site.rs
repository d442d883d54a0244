//! A helper as a site: ssh like any other, except that its address outside is not one of its own.

use std::path::Path;

use async_trait::async_trait;
use fluidcloud_proto::ids::ProviderId;

use crate::config::SshConfig;
use crate::error::Error;
use crate::site::{Command, Finished, Login, Running, Site, SshSite};

#[derive(Clone, Debug)]
pub(in crate::openstack) struct HelperSite(SshSite);

impl HelperSite {
    pub fn new(ssh: SshSite) -> Self {
        Self(ssh)
    }
}

#[async_trait]
impl Site for HelperSite {
    fn id(&self) -> &ProviderId {
        self.0.id()
    }

    fn host(&self) -> &str {
        self.0.host()
    }

    fn address(&self) -> &str {
        self.0.address()
    }

    fn listens_at(&self) -> &str {
        "0.0.0.0"
    }

    fn dir(&self) -> &Path {
        self.0.dir()
    }

    async fn start(&self, command: &Command) -> Result<Running, Error> {
        self.0.start(command).await
    }

    async fn run(&self, command: &Command) -> Result<Finished, Error> {
        self.0.run(command).await
    }

    async fn put(&self, local: &Path, remote: &Path, mode: u32) -> Result<(), Error> {
        self.0.put(local, remote, mode).await
    }

    async fn put_bytes(&self, bytes: &[u8], remote: &Path, mode: u32) -> Result<(), Error> {
        self.0.put_bytes(bytes, remote, mode).await
    }

    fn login(&self) -> Option<Login> {
        self.0.login()
    }

    fn peer_ssh(&self) -> Option<&SshConfig> {
        self.0.peer_ssh()
    }
}
