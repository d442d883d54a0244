//! Commands on this very host, under the same watch script as over ssh: when this process dies by whatever
//! means, its end of the script's standard input closes and the command is ended.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::ProviderId;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command as Process};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::output::{CHUNK_BYTES_MAX, Chunk, Raw};
use super::shared::{self, Launch, Task};
use super::{Command, Finished, Running, Site, script};
use crate::config::{SiteConfig, SshConfig};
use crate::error::Error;

/// How long output may still come after the command has ended: from what it left with our pipes in its hands.
const DRAIN: Duration = Duration::from_secs(2);
/// How long the script has to end the command before it is killed itself.
const END: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub struct LocalSite {
    id: ProviderId,
    address: String,
    dir: PathBuf,
    peer_ssh: Option<SshConfig>,
}

impl LocalSite {
    pub fn new(id: ProviderId, config: &SiteConfig) -> Self {
        let SiteConfig { address, dir, peer_ssh, .. } = config.clone();
        Self { id, address, dir, peer_ssh }
    }

    /// This host with a directory of its own, not reached by anybody.
    pub fn at(id: ProviderId, dir: &Path) -> Self {
        Self { id, address: "127.0.0.1".to_owned(), dir: dir.to_owned(), peer_ssh: None }
    }
}

#[async_trait]
impl Launch for LocalSite {
    /// A pipe closes with its process: no sign of life is needed.
    fn lost_secs(&self) -> u64 {
        0
    }

    async fn launch(&self, task: Task) -> Result<Raw, Error> {
        let mut process = Process::new("sh");
        process.arg("-c").arg(task.script).process_group(0);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = process.spawn().map_err(|cause| Error::Unreachable {
            what: "`sh` on this host".to_owned(),
            cause: cause.into(),
        })?;
        let (send, token, raw) = Raw::channel();
        let stdout = child.stdout.take().map(|from| tokio::spawn(forward(from, send.clone(), Chunk::Stdout)));
        let stderr = child.stderr.take().map(|from| tokio::spawn(forward(from, send.clone(), Chunk::Stderr)));
        tokio::spawn(async move {
            let status = attend(child, task.feed, token.clone()).await;
            let drained = std::pin::pin!(async {
                for reader in [stdout, stderr].into_iter().flatten() {
                    let _ = reader.await;
                }
            });
            tokio::select! {
                () = drain(drained, &send) => (),
                () = token.cancelled() => (),
            }
            let _ = send.send(Chunk::Exit(status)).await;
        });
        Ok(raw)
    }
}

/// Feeds the script, holds its standard input, and closes that when the command is not wanted any more.
async fn attend(mut child: Child, feed: Vec<u8>, token: CancellationToken) -> Option<i32> {
    let mut stdin = child.stdin.take()?;
    let ended = {
        let fed = async {
            // A script that ends early does not read all; its status says why.
            let _ = stdin.write_all(&feed).await;
            let _ = stdin.flush().await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            status = child.wait() => Some(status),
            () = fed => None,
            () = token.cancelled() => None,
        }
    };
    drop(stdin);
    let status = match ended {
        Some(status) => status.ok()?,
        None => match tokio::time::timeout(END, child.wait()).await {
            Ok(status) => status.ok()?,
            Err(_) => {
                let _ = child.kill().await;
                return None;
            }
        },
    };
    script::status(status.code().unwrap_or(-1))
}

/// A consumer that is slow is waited for, somebody who only holds the pipe is not.
async fn drain(mut drained: Pin<&mut impl Future<Output = ()>>, to: &mpsc::Sender<Chunk>) {
    while tokio::time::timeout(DRAIN, &mut drained).await.is_err() && to.capacity() < to.max_capacity() {}
}

async fn forward(mut from: impl AsyncRead + Unpin, to: mpsc::Sender<Chunk>, kind: fn(Vec<u8>) -> Chunk) {
    let mut buffer = vec![0; CHUNK_BYTES_MAX];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            // Nobody listens any more: go on reading, so that the command does not hang on a full pipe.
            Ok(n) => drop(to.send(kind(buffer[..n].to_vec())).await),
        }
    }
}

#[async_trait]
impl Site for LocalSite {
    fn id(&self) -> &ProviderId {
        &self.id
    }

    fn host(&self) -> &str {
        "this host"
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

    fn peer_ssh(&self) -> Option<&SshConfig> {
        self.peer_ssh.as_ref()
    }
}
