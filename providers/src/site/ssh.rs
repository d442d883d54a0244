//! Commands at a host reached over ssh: one session and one thread for each that runs. Host keys are checked
//! against a known-hosts file, never learned.

mod connect;
mod pump;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::ProviderId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::output::Raw;
use super::shared::{self, Launch, Task};
use super::{Command, Finished, Login, Running, Site, script};
use crate::config::{SiteConfig, SshConfig};
use crate::error::Error;

/// Commands that run at one site at once; more wait for their turn.
pub const SESSIONS_MAX: usize = 32;
/// Sessions being opened at once: below what an sshd refuses by default.
const CONNECTING_MAX: usize = 6;
/// A connect that failed in passing is tried once more after this.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the far side may miss our sign of life before it ends the command.
const LOST_SECS: u64 = 60;

#[derive(Clone, Debug)]
pub struct SshSite {
    id: ProviderId,
    host: String,
    address: String,
    dir: PathBuf,
    login: Arc<SshConfig>,
    /// Lines as of a known-hosts file, instead of that file.
    host_keys: Option<Arc<str>>,
    peer_ssh: Option<SshConfig>,
    sessions: Arc<Semaphore>,
    connecting: Arc<Semaphore>,
}

impl SshSite {
    pub fn new(id: ProviderId, config: &SiteConfig, login: &SshConfig) -> Self {
        let SiteConfig { address, dir, peer_ssh, .. } = config.clone();
        Self {
            id,
            host: format!("{}@{}", login.user, login.host),
            address,
            dir,
            login: Arc::new(login.clone()),
            host_keys: None,
            peer_ssh,
            sessions: Arc::new(Semaphore::new(SESSIONS_MAX)),
            connecting: Arc::new(Semaphore::new(CONNECTING_MAX)),
        }
    }

    /// For a host whose keys are known from elsewhere than a file.
    pub(crate) fn with_host_keys(mut self, lines: String) -> Self {
        self.host_keys = Some(lines.into());
        self
    }

    /// One attempt, on a thread of its own that then carries the command.
    async fn attempt(&self, task: Arc<Task>, turn: OwnedSemaphorePermit) -> Result<Raw, Error> {
        let connecting = permit(&self.connecting).await?;
        let (send, token, raw) = Raw::channel();
        let (told, answer) = oneshot::channel();
        let (login, provider, known) = (self.login.clone(), self.id.clone(), self.host_keys.clone());
        std::thread::Builder::new()
            .name("ssh".to_owned())
            .spawn(move || {
                let command = format!("exec sh -c {}", script::word(task.script));
                let begun = connect::open(&provider, &login, known.as_deref());
                let begun = begun.and_then(|open| open.exec(&login, &command));
                drop(connecting);
                match begun {
                    Err(error) => drop(told.send(Err(error))),
                    Ok(begun) => {
                        if told.send(Ok(())).is_ok() {
                            pump::carry(begun, &task.feed, &send, &token);
                        }
                    }
                }
                drop(turn);
            })
            .map_err(|cause| Error::Unreachable { what: self.host.clone(), cause: cause.into() })?;
        let gone = |_| Error::Unreachable { what: self.host.clone(), cause: "its thread ended".into() };
        answer.await.map_err(gone)??;
        Ok(raw)
    }
}

async fn permit(of: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
    of.clone()
        .acquire_owned()
        .await
        .map_err(|closed| Error::Unreachable { what: "the site".to_owned(), cause: closed.into() })
}

#[async_trait]
impl Launch for SshSite {
    fn lost_secs(&self) -> u64 {
        LOST_SECS
    }

    async fn launch(&self, task: Task) -> Result<Raw, Error> {
        let task = Arc::new(task);
        match self.attempt(task.clone(), permit(&self.sessions).await?).await {
            Err(Error::Unreachable { what, cause }) => {
                tracing::debug!(host = %self.host, what, %cause, "connecting once more");
                tokio::time::sleep(RETRY_AFTER).await;
                self.attempt(task, permit(&self.sessions).await?).await
            }
            other => other,
        }
    }
}

#[async_trait]
impl Site for SshSite {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn dir(&self) -> &Path {
        &self.dir
    }

    async fn start(&self, command: &Command) -> Result<Running, Error> {
        shared::start(self, command).await
    }

    async fn run(&self, command: &Command) -> Result<Finished, Error> {
        shared::run(self, command).await
    }

    async fn put(&self, local: &Path, remote: &Path, mode: u32) -> Result<(), Error> {
        shared::put(self, local, remote, mode).await
    }

    async fn put_bytes(&self, bytes: &[u8], remote: &Path, mode: u32) -> Result<(), Error> {
        shared::put_bytes(self, bytes, remote, mode).await
    }

    fn login(&self) -> Option<Login> {
        // A file that cannot be read knows no key, so that nobody is let in by it.
        let known = || std::fs::read_to_string(&self.login.known_hosts).unwrap_or_default();
        let SshConfig { host, port, user, key, .. } = (*self.login).clone();
        let host_keys = self.host_keys.as_ref().map_or_else(known, |lines| lines.to_string());
        Some(Login { host, port, user, key, host_keys })
    }

    fn peer_ssh(&self) -> Option<&SshConfig> {
        self.peer_ssh.as_ref()
    }
}
