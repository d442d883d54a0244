//! ssh as a transport: every stream is a session of its own (one channel is bound by its window), logged in to the target's
//! host. The first one runs `viaduct receive --stdio` there, the others `viaduct join` it. The far host needs an sshd and
//! nothing else: the binary is pushed where it is missing.

mod login;
mod pump;
mod remote;
mod shell;

pub use login::HostKey;
pub(crate) use shell::Shell;

use super::{Connector, GREETING, Stream};
use crate::ends::split_port;
use crate::error::{Error, Failure, Result};
use async_trait::async_trait;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::AsyncReadExt;

/// How long the far receiver may take to start: it may have to wait for a dying one to let go of the target.
const START: Duration = Duration::from_secs(30);

/// `ssh://USER@HOST[:PORT]/PATH`; the path may be left out where the target is named otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshDestination {
    pub user: String,
    pub host: String,
    pub port: u16,
    pub path: String,
}

impl FromStr for SshDestination {
    type Err = Error;

    fn from_str(text: &str) -> Result<SshDestination> {
        let parse = || {
            let rest = text.strip_prefix("ssh://")?;
            let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
            let (user, host) = authority.rsplit_once('@')?;
            let (host, port) = split_port(host, 22)?;
            (!user.is_empty()).then(|| SshDestination {
                user: user.to_owned(),
                host,
                port,
                path: path.to_owned(),
            })
        };
        parse().ok_or_else(|| {
            Error::usage(format!("`{text}`"), "it is no destination", "write ssh://USER@HOST[:PORT]/PATH")
        })
    }
}

impl fmt::Display for SshDestination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SshDestination { user, host, port, path } = self;
        match host.contains(':') {
            true => write!(f, "ssh://{user}@[{host}]:{port}{path}"),
            false => write!(f, "ssh://{user}@{host}:{port}{path}"),
        }
    }
}

/// How both sides of a login prove who they are.
#[derive(Clone, Debug)]
pub struct SshLogin {
    /// Private key file: OpenSSH, PEM, or a viaduct identity.
    pub identity: PathBuf,
    pub host_key: HostKey,
}

/// What the ssh transport needs to know.
#[derive(Clone, Debug)]
pub struct SshOptions {
    pub destination: SshDestination,
    pub login: SshLogin,
    /// A viaduct on the far host; ours is pushed if not given.
    pub remote_viaduct: Option<String>,
    /// The binary to push.
    pub binary: PathBuf,
    /// What `receive --stdio` is told beyond that, the target above all.
    pub receive_args: Vec<String>,
}

#[derive(Debug)]
pub struct SshConnector {
    options: Arc<SshOptions>,
    /// The binary over there, once it is known.
    remote: Arc<Mutex<Option<String>>>,
}

impl SshConnector {
    pub fn new(options: SshOptions) -> SshConnector {
        let remote = Arc::new(Mutex::new(options.remote_viaduct.clone()));
        SshConnector { options: Arc::new(options), remote }
    }

    /// Logs in and starts the far side. Blocks.
    fn start(
        options: &SshOptions,
        remote: &Mutex<Option<String>>,
        join: Option<&str>,
    ) -> Result<pump::Pumped> {
        let login = login::login(&options.destination, &options.login)?;
        let known = remote.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let binary = match known {
            Some(binary) => binary,
            None => {
                let binary = remote::ensure(&login, &options.binary)?;
                *remote.lock().unwrap_or_else(PoisonError::into_inner) = Some(binary.clone());
                binary
            }
        };
        let mut command = vec![binary];
        match join {
            Some(socket) => command.extend(["join".to_owned(), socket.to_owned()]),
            None => {
                command.extend(["receive", "--stdio", "--report", "json"].map(str::to_owned));
                command.extend(options.receive_args.iter().cloned());
            }
        }
        let channel = remote::exec(&login, &command)?;
        pump::start(login, channel)
    }
}

#[async_trait]
impl Connector for SshConnector {
    fn whom(&self) -> String {
        self.options.destination.host.clone()
    }

    async fn connect(&self, join: Option<&str>) -> Result<Stream> {
        let (options, remote, join) = (self.options.clone(), self.remote.clone(), join.map(str::to_owned));
        let started =
            tokio::task::spawn_blocking(move || SshConnector::start(&options, &remote, join.as_deref()))
                .await;
        let mut pumped = started.map_err(|error| Error::io("run", "ssh", error.into()))??;
        let greeted = tokio::time::timeout(START, pumped.stream.read_u8()).await;
        match greeted {
            Ok(Ok(GREETING)) => Ok(Box::new(pumped.stream)),
            Ok(Ok(_)) => Err(self
                .remote_error("something else than a viaduct answers; does the login shell print?".into())),
            Ok(Err(_)) => Err(self.explain(&pumped.last_words())),
            Err(_) => Err(Error::Silent { whom: self.whom(), secs: START.as_secs() }),
        }
    }
}

impl SshConnector {
    /// The far receiver reports on its stderr; where it got that far, its own error is the best answer.
    fn explain(&self, said: &str) -> Error {
        #[derive(serde::Deserialize)]
        struct Failed {
            event: String,
            #[serde(flatten)]
            failure: Failure,
        }
        let failed = said.lines().rev().find_map(|line| serde_json::from_str::<Failed>(line).ok());
        match failed {
            Some(Failed { event, failure }) if event == "failed" => Error::Peer(failure),
            _ if said.trim().is_empty() => self.remote_error("it ended without a word".into()),
            _ => self.remote_error(said.trim().replace('\n', "; ")),
        }
    }

    fn remote_error(&self, why: String) -> Error {
        Error::Remote { host: self.options.destination.host.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_understood() {
        let parse = |text: &str| text.parse::<SshDestination>();
        let full = parse("ssh://root@[fe80::1]:2222/var/lib/disk.raw").unwrap();
        assert_eq!((full.user.as_str(), full.host.as_str(), full.port), ("root", "fe80::1", 2222));
        assert_eq!(full.path, "/var/lib/disk.raw");
        assert_eq!(parse("ssh://u@h").unwrap().port, 22);
        for wrong in ["ssh://host/x", "ssh://@host/x", "ssh://u@:22/x", "tls://u@h", "ssh://u@h:x/y"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
