//! Disks that lie in an image service, as files on this host under the paths of their places: parts are downloaded as they are
//! read, served by NBD to `nbdfuse`, and never held on this host's disk. They vanish with the site that shows them.

mod chunks;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::site::Finished;
use fluidcloud_providers::{Command, Line, LocalSite, Running, Site, SshConfig, Window};
use tokio::net::UnixListener;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::guest::Error;
use chunks::Chunks;

/// Until a disk has appeared.
const APPEARS: Duration = Duration::from_secs(60);
const TOOLS_SECS: u64 = 30;
/// Lines kept of a mount that fails.
const SAID_LINES_MAX: usize = 8;
const MARK_CHARS: usize = 8;
const MOUNT: &str = include_str!("window/mount.sh");
const TOOLS: &str = r#"umask 077; mkdir -p -- "$1" && command -v nbdfuse fusermount3 >/dev/null"#;

/// This host, with disks at hand.
#[derive(Debug)]
pub struct WindowSite {
    here: LocalSite,
    shown: Vec<Shown>,
}

#[derive(Debug)]
struct Shown {
    path: String,
    mark: String,
    _mount: Running,
    _server: AbortOnDropHandle<()>,
}

impl WindowSite {
    /// Each window appears under its path.
    pub async fn open(
        id: &ProviderId,
        dir: &Path,
        windows: Vec<(String, Arc<dyn Window>)>,
    ) -> Result<Self, crate::Error> {
        let here = LocalSite::at(id.clone(), dir);
        let dir = dir.to_string_lossy();
        let tools = Command::new("sh").args(["-c", TOOLS, "tools", &dir]).timeout_secs(TOOLS_SECS);
        here.run(&tools).await.map_err(|error| no_window(format!("its tools are not there: {error}")))?;
        let mut shown = Vec::new();
        for (path, window) in windows {
            shown.push(show(&here, &path, window).await?);
        }
        Ok(Self { here, shown })
    }
}

async fn show(here: &LocalSite, path: &str, window: Arc<dyn Window>) -> Result<Shown, crate::Error> {
    let mark: String = uuid::Uuid::new_v4().simple().to_string().chars().take(MARK_CHARS).collect();
    // A socket's path must be short, a disk's may be long.
    let socket = here.dir().join(format!("w-{mark}"));
    let listener = UnixListener::bind(&socket)
        .map_err(|cause| no_window(format!("cannot listen at {}: {cause}", socket.display())))?;
    let server = AbortOnDropHandle::new(tokio::spawn(serve(listener, window)));
    let args = ["-s", "--", path, &mark, &socket.to_string_lossy()];
    let mut mount = here.start(&Command::new("sh").args(args).stdin(MOUNT)).await?;
    let mut said = Vec::new();
    let appeared = async {
        loop {
            match mount.next().await {
                Some(Line::Stdout(line)) if line == "mounted" => return true,
                Some(Line::Stdout(line) | Line::Stderr(line)) if said.len() < SAID_LINES_MAX => {
                    said.push(line)
                }
                Some(Line::Stdout(_) | Line::Stderr(_)) => (),
                Some(Line::Exit(_)) | None => return false,
            }
        }
    };
    match timeout(APPEARS, appeared).await {
        Ok(true) => Ok(Shown { path: path.to_owned(), mark, _mount: mount, _server: server }),
        Ok(false) => Err(no_window(said.join("; ")).into()),
        Err(_) => Err(no_window(format!("nothing came for {} s", APPEARS.as_secs())).into()),
    }
}

/// To one client: nbdfuse, which stays as long as the disk is shown.
async fn serve(listener: UnixListener, window: Arc<dyn Window>) {
    let name = window.name();
    let served = async {
        let (stream, _) = listener.accept().await.map_err(|error| error.to_string())?;
        let (input, output) = stream.into_split();
        let source = Box::new(Chunks::new(window));
        viaduct::serve_source(source, input, output).await.map_err(|error| error.to_string())
    };
    if let Err(error) = served.await {
        tracing::warn!(window = name, error, "a disk is not shown any more");
    }
}

fn no_window(why: String) -> Error {
    Error::NoDesk { host: "this host".to_owned(), why }
}

#[async_trait]
impl Site for WindowSite {
    fn id(&self) -> &ProviderId {
        self.here.id()
    }

    fn host(&self) -> &str {
        self.here.host()
    }

    fn address(&self) -> &str {
        self.here.address()
    }

    fn dir(&self) -> &Path {
        self.here.dir()
    }

    async fn start(&self, command: &Command) -> Result<Running, fluidcloud_providers::Error> {
        self.here.start(command).await
    }

    async fn run(&self, command: &Command) -> Result<Finished, fluidcloud_providers::Error> {
        self.here.run(command).await
    }

    async fn put(&self, local: &Path, remote: &Path, mode: u32) -> Result<(), fluidcloud_providers::Error> {
        self.here.put(local, remote, mode).await
    }

    async fn put_bytes(
        &self,
        bytes: &[u8],
        remote: &Path,
        mode: u32,
    ) -> Result<(), fluidcloud_providers::Error> {
        self.here.put_bytes(bytes, remote, mode).await
    }

    /// The place is a link, and leads to who showed the disk last: another relocation's look at it, maybe of another moment.
    fn shown(&self, place: &DiskPlace) -> DiskPlace {
        let ours = self.shown.iter().find(|shown| shown.path == place.path);
        let path = ours.map_or_else(|| place.path.clone(), |shown| format!("{}.{}", shown.path, shown.mark));
        DiskPlace { path, ..place.clone() }
    }

    fn peer_ssh(&self) -> Option<&SshConfig> {
        self.here.peer_ssh()
    }
}
