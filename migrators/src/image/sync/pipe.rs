//! The bytes of a disk at its site, in order, out of a `viaduct copy` whose output comes here: through ssh, or from this very host.
//! The last block is held back until the sender has said the same digest that was seen here, so that nothing that broke, or was
//! changed on the way, ever looks whole to who takes it.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_proto::progress::{Area, TransferProgress};
use fluidcloud_proto::task::SyncDisk;
use fluidcloud_providers::{ByteStream, Site, Source};
use futures::StreamExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;
use viaduct::blocks::Geometry;

use super::Error;
use super::ends::uri;
use super::measured::{Measure, Measured};
use super::report::{Counts, Finished, Said, parse};
use crate::binary::{ViaductBinary, text};
use crate::guest::fish::shell_word;
use crate::migrator::Progress;

/// No byte for so long: a host hangs.
const SILENCE: Duration = Duration::from_secs(180);
/// After the last byte the sender says what it has read, and ends.
const LAST_WORD: Duration = Duration::from_secs(60);
const NOISE_LINES_MAX: usize = 3;
const NOISE_CHARS_MAX: usize = 200;
const AREAS_MAX: usize = 128;
const SENDER: &str = "sender";

/// A disk as a source of bytes.
pub(super) struct Pipe<'a> {
    site: Arc<dyn Site>,
    order: &'a SyncDisk,
    progress: Progress,
    far: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    passed: Option<Measured>,
    broke: Option<Error>,
}

impl std::fmt::Debug for Pipe<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("disk", &self.order.disk).finish_non_exhaustive()
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Pipe<'a> {
    pub async fn new(
        viaduct: &ViaductBinary,
        site: Arc<dyn Site>,
        order: &'a SyncDisk,
        progress: &Progress,
    ) -> Result<Self, crate::Error> {
        let program = viaduct.push(&*site).await?;
        let (program, disk) = (shell_word(&text(&program)), shell_word(&uri(&site.shown(&order.from))));
        let whole = if order.transport.whole { " --whole" } else { "" };
        let far = format!("exec {program} copy --from {disk} --to - --report json --die-with-stdin{whole}");
        Ok(Self { site, order, progress: progress.clone(), far, state: Arc::default() })
    }

    /// Of the stream that was opened last, if it passed to its end.
    pub fn passed(&self) -> Option<Measured> {
        lock(&self.state).passed.clone()
    }

    /// Why it did not.
    pub fn broke(&self) -> Option<Error> {
        lock(&self.state).broke.take()
    }

    fn start(&self) -> Result<Pouring, Error> {
        let disk = self.order.disk.to_string();
        let broken = |why: String| Error::Died {
            disk: disk.clone(),
            end: SENDER,
            host: self.site.host().to_owned(),
            said: why,
        };
        let geometry =
            Geometry::for_size(self.order.size_bytes).map_err(|error| broken(error.to_string()))?;
        let (mut command, known) = self.command().map_err(|error| broken(error.to_string()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| broken(error.to_string()))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(broken("it has no output".to_owned()));
        };
        let heard = Arc::new(Mutex::new(Heard::default()));
        let listener = AbortOnDropHandle::new(tokio::spawn(listen(stderr, heard.clone())));
        Ok(Pouring {
            disk: self.order.disk.to_string(),
            host: self.site.host().to_owned(),
            rate: self.order.transport.rate_bytes_per_sec,
            progress: self.progress.clone(),
            state: self.state.clone(),
            measure: Measure::of(geometry),
            began: Instant::now(),
            heard,
            listener: Some(listener),
            stdout,
            _stdin: child.stdin.take(),
            child,
            _known: known,
        })
    }

    /// What is said to ssh is read from a file, that is gone with the stream.
    fn command(&self) -> std::io::Result<(tokio::process::Command, Option<Known>)> {
        let Some(login) = self.site.login() else {
            let mut command = tokio::process::Command::new("sh");
            command.args(["-c", &self.far]);
            return Ok((command, None));
        };
        let name = format!("fluidcloud-{}.known-hosts", uuid::Uuid::new_v4().simple());
        let known = Known(std::env::temp_dir().join(name));
        std::fs::write(&known.0, login.host_keys.as_bytes())?;
        let words = login.ssh(&known.0, &self.far);
        let mut command = tokio::process::Command::new(&words[0]);
        // Zeros cross too, as what arrives has to be all of it: compressed they are nothing.
        command.arg("-C").args(&words[1..]);
        Ok((command, Some(known)))
    }
}

struct Known(PathBuf);

impl Drop for Known {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[async_trait]
impl Source for Pipe<'_> {
    async fn open(&self) -> Result<ByteStream, fluidcloud_providers::Error> {
        *lock(&self.state) = State::default();
        let provider = self.site.id().to_string();
        let what = format!("read disk {}", self.order.disk);
        let told = move |state: &Mutex<State>, error: Error| {
            let cause = error.to_string().into();
            lock(state).broke = Some(error);
            fluidcloud_providers::Error::Driver { provider: provider.clone(), what: what.clone(), cause }
        };
        let pouring = self.start().map_err(|error| told(&self.state, error))?;
        let stream = futures::stream::try_unfold((pouring, told), |(mut pouring, told)| async move {
            match pouring.next().await {
                Ok(Some(block)) => Ok(Some((block, (pouring, told)))),
                Ok(None) => Ok(None),
                Err(error) => Err(told(&pouring.state, error)),
            }
        });
        Ok(stream.boxed())
    }
}

/// A stream on its way.
struct Pouring {
    disk: String,
    host: String,
    rate: Option<u64>,
    progress: Progress,
    state: Arc<Mutex<State>>,
    measure: Measure,
    began: Instant,
    heard: Arc<Mutex<Heard>>,
    /// Until it has heard all.
    listener: Option<AbortOnDropHandle<()>>,
    stdout: ChildStdout,
    child: Child,
    /// Held open: the sign that we live.
    _stdin: Option<ChildStdin>,
    _known: Option<Known>,
}

impl Pouring {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(length) = self.measure.next_bytes() else { return Ok(None) };
        let mut block = vec![0; length];
        match timeout(SILENCE, self.stdout.read_exact(&mut block)).await {
            Err(_) => return Err(self.silent(SILENCE)),
            Ok(Err(_)) => return Err(self.died().await),
            Ok(Ok(_)) => self.measure.add(&block),
        }
        self.tell();
        if self.measure.next_bytes().is_none() {
            let passed = self.agree().await?;
            lock(&self.state).passed = Some(passed);
        }
        if let Some(rate) = self.rate.filter(|rate| *rate > 0) {
            let due = self.measure.bytes() as f64 / rate as f64;
            sleep_until(self.began + Duration::from_secs_f64(due)).await;
        }
        Ok(Some(block.into()))
    }

    /// The sender has to say that it has read the very same, and no byte more.
    async fn agree(&mut self) -> Result<Measured, Error> {
        let ended = async {
            let more = self.stdout.read(&mut [0; 1]).await.unwrap_or(0);
            let status = self.child.wait().await;
            if let Some(listener) = self.listener.take() {
                let _ = listener.await;
            }
            (more, status)
        };
        let Ok((more, status)) = timeout(LAST_WORD, ended).await else { return Err(self.silent(LAST_WORD)) };
        let finished = lock(&self.heard).finished.take();
        let (true, Ok(true), Some(finished)) = (more == 0, status.map(|status| status.success()), finished)
        else {
            return Err(self.died().await);
        };
        let received = self.measure.digest();
        if finished.digest != received {
            return Err(Error::Disagree { disk: self.disk.clone(), sent: finished.digest, received });
        }
        Ok(Measured {
            bytes_read: finished.counts.bytes_read,
            bytes_zero: finished.counts.bytes_zero,
            bytes_free: finished.bytes_free.unwrap_or(0),
            areas: std::mem::take(&mut lock(&self.heard).areas),
            ..Measured::of(&self.measure)
        })
    }

    fn tell(&self) {
        let (counts, done) = (lock(&self.heard).counts, self.measure.bytes());
        let rate = (done as f64 / self.began.elapsed().as_secs_f64().max(0.001)) as u64;
        let total = counts.bytes_total.max(done);
        self.progress.tell(TransferProgress {
            bytes_total: total,
            bytes_done: done,
            bytes_read: counts.bytes_read,
            bytes_zero: counts.bytes_zero,
            bytes_reused: 0,
            bytes_on_wire: done,
            rate_bytes_per_sec: rate,
            eta_seconds: (rate > 0).then(|| (total - done) / rate),
        });
    }

    fn silent(&self, waited: Duration) -> Error {
        let (disk, host) = (self.disk.clone(), self.host.clone());
        Error::Silent { disk, end: SENDER, host, secs: waited.as_secs() }
    }

    async fn died(&mut self) -> Error {
        if let Some(listener) = self.listener.take() {
            let _ = timeout(LAST_WORD, listener).await;
        }
        let mut heard = lock(&self.heard);
        let (disk, host) = (self.disk.clone(), self.host.clone());
        if let Some(Said::Failed { code, message, remedy, retryable }) = heard.failed.take() {
            let message = format!("{SENDER} at {host}: {message}");
            return Error::Viaduct { disk, code, message, remedy, retryable };
        }
        let said = heard.noise.join("; ");
        let said = if said.is_empty() { "it ended before the disk did".to_owned() } else { said };
        Error::Died { disk, end: SENDER, host, said }
    }
}

/// What the sender says beside the bytes.
#[derive(Default)]
struct Heard {
    counts: Counts,
    finished: Option<Finished>,
    failed: Option<Said>,
    areas: Vec<Area>,
    noise: Vec<String>,
}

async fn listen(from: ChildStderr, heard: Arc<Mutex<Heard>>) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut heard = lock(&heard);
        match parse(&line) {
            Some(Said::Progress(counts)) => heard.counts = heard.counts.with(counts),
            Some(Said::Found(found)) if heard.areas.len() < AREAS_MAX => heard.areas.push(found.into()),
            Some(Said::Finished(finished)) => heard.finished = Some(finished),
            Some(said @ Said::Failed { .. }) => heard.failed = Some(said),
            Some(_) => (),
            None if heard.noise.len() < NOISE_LINES_MAX => {
                heard.noise.push(line.chars().take(NOISE_CHARS_MAX).collect());
            }
            None => (),
        }
    }
}
