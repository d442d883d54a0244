//! A place where commands run beside a provider's bytes: this host, or one reached over ssh. The only code of the
//! control plane that speaks ssh. A command that we started ends when we go: its standard input is held open, and
//! what it runs is told to end at its EOF.

mod local;
mod login;
mod output;
mod script;
mod shared;
mod ssh;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::topology::DiskPlace;
use tokio::sync::mpsc;

use crate::config::SiteConfig;
use crate::error::Error;

pub use local::LocalSite;
pub use login::Login;
pub use shared::{INPUT_BYTES_MAX, PUT_BYTES_MAX};
pub use ssh::{SESSIONS_MAX, SshSite};

/// Output lines waiting to be read; the command waits when it is full.
pub const LINES_MAX: usize = 256;
/// Longest output line kept; the rest of it is dropped.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Most output kept of a command that is run to its end.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;

/// The site that the configuration describes: over ssh, or this host.
pub fn from_config(id: &ProviderId, config: &SiteConfig) -> Arc<dyn Site> {
    match &config.ssh {
        Some(login) => Arc::new(SshSite::new(id.clone(), config, login)),
        None => Arc::new(LocalSite::new(id.clone(), config)),
    }
}

/// - Arguments are passed exactly: implementations quote them, callers never do.
/// - Every process started is ended (TERM, then KILL, its whole process group) when the [`Running`] is dropped, when
///   this process dies, or when the connection is lost for long; nothing is left behind at the site.
#[async_trait]
pub trait Site: Send + Sync + std::fmt::Debug {
    fn id(&self) -> &ProviderId;

    /// For messages: `root@10.0.0.1` or `this host`.
    fn host(&self) -> &str;

    /// The address other sites reach it at.
    fn address(&self) -> &str;

    /// The address of its own to listen on: another one where the address it is reached at is not its own.
    fn listens_at(&self) -> &str {
        self.address()
    }

    /// A directory of ours there; made with mode 0700 if it is missing.
    fn dir(&self) -> &Path;

    /// Starts a command and hands over its lines as they come.
    async fn start(&self, command: &Command) -> Result<Running, Error>;

    /// Runs a command to its end. A non-zero status is [`Error::CommandFailed`] with the end of stderr.
    async fn run(&self, command: &Command) -> Result<Finished, Error>;

    /// Puts a file there, whole or not at all (temporary name, then rename), with the mode.
    async fn put(&self, local: &Path, remote: &Path, mode: u32) -> Result<(), Error>;

    /// Same, from memory.
    async fn put_bytes(&self, bytes: &[u8], remote: &Path, mode: u32) -> Result<(), Error>;

    /// Where this very site shows a disk, under a name that no other site of the same host takes over. At most sites that is its
    /// place.
    fn shown(&self, place: &DiskPlace) -> DiskPlace {
        place.clone()
    }

    /// How this process logs in there; `None` on this very host.
    fn login(&self) -> Option<Login> {
        None
    }

    /// How a sender at another site logs in here for the ssh transport: user, port, and paths at that other site.
    fn peer_ssh(&self) -> Option<&crate::config::SshConfig>;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Written to standard input. It is then closed, unless the command is started with [`Site::start`], where it
    /// stays open as the sign that we live.
    pub stdin: Vec<u8>,
    pub timeout_secs: Option<u64>,
}

impl Command {
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), ..Self::default() }
    }

    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub fn timeout_secs(mut self, secs: u64) -> Self {
        self.timeout_secs = Some(secs);
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Stdout(String),
    Stderr(String),
    /// The last: the exit status, or `None` when it was killed or the connection was lost.
    Exit(Option<i32>),
}

/// A command that runs. Dropping it ends the command.
#[derive(Debug)]
pub struct Running {
    pub(crate) lines: mpsc::Receiver<Line>,
    pub(crate) _kill: tokio_util::sync::DropGuard,
}

impl Running {
    /// `None` after [`Line::Exit`]. Cancel-safe.
    pub async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}
