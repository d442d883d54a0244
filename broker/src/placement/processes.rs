//! Workers as processes of the same program on this host: `PROGRAM ARGS… migrator KIND --site SITE --worker ID
//! --die-with-stdin`. The pipe on a child's standard input is the proof that we live: when we die, by whatever
//! signal, it closes and the child ends itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::ids::WorkerId;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Placement, backoff::Backoff};
use crate::error::Error;

/// How long a worker may take to finish after SIGTERM when nothing else is said.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(20);

#[derive(Clone, Debug)]
pub struct ProcessesOptions {
    pub program: PathBuf,
    /// Come before `migrator`, such as `--config FILE`. No secrets: every user of the host sees them.
    pub args: Vec<OsString>,
    /// How long a worker may take to finish after SIGTERM; then it is killed.
    pub drain: Duration,
}

#[derive(Debug)]
pub struct Processes {
    shared: Arc<Shared>,
    all: CancellationToken,
    running: Mutex<BTreeMap<WorkerNeed, Running>>,
}

#[derive(Debug)]
struct Shared {
    options: ProcessesOptions,
    pids: Mutex<BTreeMap<WorkerId, u32>>,
}

#[derive(Debug)]
struct Running {
    token: CancellationToken,
    task: JoinHandle<()>,
}

impl Processes {
    pub fn new(options: ProcessesOptions) -> Self {
        let shared = Arc::new(Shared { options, pids: Mutex::new(BTreeMap::new()) });
        Self { shared, all: CancellationToken::new(), running: Mutex::new(BTreeMap::new()) }
    }
}

#[async_trait]
impl Placement for Processes {
    async fn place(&self, need: &WorkerNeed) -> Result<(), Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.all.is_cancelled() || running.contains_key(need) {
            return Ok(());
        }
        let started = self.shared.start(need)?;
        let token = self.all.child_token();
        let task = tokio::spawn(keep_running(self.shared.clone(), need.clone(), started, token.clone()));
        running.insert(need.clone(), Running { token, task });
        Ok(())
    }

    async fn retire(&self, need: &WorkerNeed) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(need);
        if let Some(running) = running {
            running.token.cancel();
            let _ = running.task.await;
        }
    }

    async fn drain(&self) {
        self.all.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(running.into_values().map(|running| running.task)).await;
    }

    fn pid(&self, worker: &WorkerId) -> Option<u32> {
        self.shared.pids.lock().unwrap_or_else(PoisonError::into_inner).get(worker).copied()
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

/// A process that runs; dropped, it is killed.
struct Started {
    worker: WorkerId,
    child: Child,
    /// Apart from the child, whose `wait` would close it and so tell the worker that we died.
    _alive: Option<ChildStdin>,
}

impl Shared {
    fn start(&self, need: &WorkerNeed) -> Result<Started, Error> {
        let worker = new_worker_id(need);
        let mut child = Command::new(&self.options.program)
            .args(&self.options.args)
            .args(["migrator", need.kind.as_str(), "--site", need.site.as_str()])
            .args(["--worker", worker.as_str(), "--die-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A group of its own: Ctrl-C at our terminal reaches us, and we end our workers in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|cause| Error::Start { program: self.options.program.display().to_string(), cause })?;
        if let Some(pid) = child.id() {
            tracing::info!(%worker, pid, kind = %need.kind, site = %need.site, "worker started");
            self.pids.lock().unwrap_or_else(PoisonError::into_inner).insert(worker.clone(), pid);
        }
        let alive = child.stdin.take();
        Ok(Started { worker, child, _alive: alive })
    }

    fn forget(&self, worker: &WorkerId) {
        self.pids.lock().unwrap_or_else(PoisonError::into_inner).remove(worker);
    }
}

fn new_worker_id(need: &WorkerNeed) -> WorkerId {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("{}-{}", need.kind, &unique[..12]);
    name.parse().expect("a kind and hexadecimal digits are a valid name")
}

async fn keep_running(shared: Arc<Shared>, need: WorkerNeed, first: Started, token: CancellationToken) {
    let mut backoff = Backoff::started_now();
    let mut running = Some(first);
    loop {
        if let Some(mut started) = running.take() {
            tokio::select! {
                ended = started.child.wait() => {
                    let status = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                    tracing::warn!(worker = %started.worker, %status, "worker ended by itself; it is started again");
                    shared.forget(&started.worker);
                }
                () = token.cancelled() => {
                    end(&mut started, shared.options.drain).await;
                    shared.forget(&started.worker);
                    return;
                }
            }
        }
        tokio::select! {
            () = backoff.pause() => {}
            () = token.cancelled() => return,
        }
        match shared.start(&need) {
            Ok(started) => running = Some(started),
            Err(error) => {
                tracing::error!(kind = %need.kind, site = %need.site, %error, "worker cannot be started")
            }
        }
    }
}

/// SIGTERM, then SIGKILL after the bound; returns when the process is gone.
async fn end(started: &mut Started, within: Duration) {
    let pid = started.child.id().and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid
        && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::TERM)
    {
        tracing::debug!(worker = %started.worker, %error, "worker is gone already");
    }
    if tokio::time::timeout(within, started.child.wait()).await.is_err() {
        tracing::warn!(worker = %started.worker, "worker did not end in time; it is killed");
        if let Err(error) = started.child.kill().await {
            tracing::warn!(worker = %started.worker, %error, "worker cannot be killed");
        }
    }
}
