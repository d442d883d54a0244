//! The target's end: waits for its one sender, lets it come back when a session breaks, and ends when the disk is verified
//! and durable or cannot become so. Owns who may hold the target.

mod apply;
mod journal;
mod keeper;
mod ledger;
mod lock;
mod seeds;
mod serve;
mod session;
mod shelf;
mod site;

pub(crate) use apply::Site;
pub(crate) use journal::Record;
pub(crate) use ledger::Zeroing;
pub(crate) use lock::Lock;
pub use site::OpenTarget;
pub(crate) use site::{Opening, open_site};

use crate::apart::apart;
use crate::ends::{Disk, open_target};
use crate::error::{Error, Result};
use crate::limits::{HANDSHAKE, IDLE, REFUSED_GRACE, STREAMS_MAX};
use crate::progress::{Counters, Event, Summary, reporting};
use crate::transport::{Accepted, Listener, Stream};
use crate::wire::{Hello, Kind, Reader, Writer};
use serve::{Host, serve};
use session::{Agreed, Opened};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How to receive.
#[derive(Clone, Debug)]
pub struct ReceiveOptions {
    pub to: Disk,
    /// Where the journal lives; [`journal_dir`] if not given.
    pub journal: Option<PathBuf>,
    /// Other disks at this site that the sender may have blocks copied from.
    pub have: Vec<Disk>,
    /// The task's epoch: a higher one takes the target from a lower one.
    pub epoch: u64,
    /// How long to wait for a sender that is not there.
    pub idle: Duration,
    /// Read the whole target again at the end, from the storage, and compare.
    pub verify_target: bool,
    /// Accept a target with less free space than the source has data.
    pub overcommit: bool,
    /// How long to wait for an older receiver of the same epoch that is about to end. None unless it is known to be.
    pub patience: Duration,
}

impl ReceiveOptions {
    pub fn new(to: Disk) -> ReceiveOptions {
        ReceiveOptions {
            to,
            journal: None,
            have: Vec::new(),
            epoch: 0,
            idle: IDLE,
            verify_target: false,
            overcommit: false,
            patience: Duration::ZERO,
        }
    }
}

/// Where the journal of a target lives if nobody says otherwise: beside a file; for a device or a server under the state
/// directory, by a digest of its name.
pub fn journal_dir(to: &Disk) -> PathBuf {
    match to.path() {
        Some(path) if !path.starts_with("/dev") || path.starts_with("/dev/shm") => {
            let mut name = path.as_os_str().to_owned();
            name.push(".viaduct");
            name.into()
        }
        _ => {
            let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
            let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/state"));
            let base = state.or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib"));
            let name = blake3::hash(to.to_string().as_bytes()).to_hex();
            base.join("fluidcloud/viaduct").join(&name[..32])
        }
    }
}

/// Receives one disk. Returns when it is verified and durable. Cancelled by dropping: what is durable stays known, and another
/// call for the same target waits until what was under way has ended.
pub async fn receive(
    options: &ReceiveOptions,
    listener: &mut dyn Listener,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Summary> {
    let to = options.to.clone();
    let open: OpenTarget = Box::new(move |announced| {
        let to = to.clone();
        Box::pin(async move { open_target(&to, announced).await })
    });
    receive_to(open, options, listener, report).await
}

/// [`receive`] into a target that the caller opens.
pub async fn receive_to(
    open: OpenTarget,
    options: &ReceiveOptions,
    listener: &mut dyn Listener,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Summary> {
    let journal = options.journal.clone().unwrap_or_else(|| journal_dir(&options.to));
    let new = !journal.exists();
    make_private_dir(&journal)?;
    let (path, name, epoch, patience) =
        (journal.join("lock"), options.to.to_string(), options.epoch, options.patience);
    let lock = Arc::new(apart(async move { Lock::acquire(&path, &name, epoch, patience) }).await?);
    let _leaving = Leaving(lock.clone());
    report(Event::Listening { address: listener.address() });
    let counters = Arc::new(Counters::default());
    let host = Host {
        open,
        options: options.clone(),
        journal: journal.clone(),
        counters: counters.clone(),
        site: Arc::default(),
        lock,
    };
    let receiver = Receiver { host: Arc::new(host), session: None };
    let outcome = reporting(&counters, report, receiver.run(listener, report)).await;
    if outcome.is_err() && new && epoch == 0 && !journal.join("journal").exists() {
        // Nothing ever began here: leave no trace.
        let _ = std::fs::remove_dir_all(&journal);
    }
    outcome
}

/// Dropped with the call, however that ends. Threads that are in the middle of a write hold the lock until they are done.
struct Leaving(Arc<Lock>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.will_end();
    }
}

/// Removes a journal, unless a receiver holds it. Only files of ours are removed: a wrong path costs nothing.
pub fn forget(dir: &Path) -> Result<()> {
    let fail = |error| Error::io("forget", dir.display(), error);
    if !dir.join("lock").exists() && !dir.join("journal").exists() {
        return Err(fail(std::io::ErrorKind::NotFound.into()));
    }
    let _lock = Lock::acquire_free(&dir.join("lock"), &dir.display().to_string())?;
    for name in ["journal", "journal.new", "lock"] {
        match std::fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
    }
    std::fs::remove_dir(dir).map_err(fail)
}

pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    // Beside a target nothing is created but the journal: a missing directory is a mistake in the path.
    let beside = path.extension().is_some_and(|extension| extension == "viaduct");
    if beside && path.is_dir() {
        return Ok(());
    }
    let made = std::fs::DirBuilder::new().recursive(!beside).mode(0o700).create(path);
    made.map_err(|error| Error::io("create journal", path.display(), error))
}

struct Receiver {
    host: Arc<Host>,
    session: Option<Session>,
}

struct Session {
    name: String,
    joiners: mpsc::Sender<Opened>,
    over: CancellationToken,
    task: JoinHandle<Result<Agreed>>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.over.cancel();
            session.task.abort();
        }
    }
}

impl Receiver {
    async fn run(
        mut self,
        listener: &mut dyn Listener,
        report: &(dyn Fn(Event) + Send + Sync),
    ) -> Result<Summary> {
        let started = Instant::now();
        let mut greetings = JoinSet::new();
        let mut deadline = started + self.host.options.idle;
        let mut last = None;
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Accepted::Stream { stream, whom } => {
                        greetings.spawn(greet(stream, whom, self.host.options.idle));
                    }
                    Accepted::Refused { error, stranger } => {
                        let failure = error.failure();
                        report(Event::Refused { code: failure.code, message: failure.message });
                        if !stranger && self.session.is_none() && self.host.site.lock().await.is_none() {
                            deadline = deadline.min(Instant::now() + REFUSED_GRACE);
                            last = Some(error);
                        }
                    }
                    Accepted::Closed if self.session.is_none() && greetings.is_empty() => {
                        return Err(last.unwrap_or(Error::CallerGone));
                    }
                    // Nobody new can come, but those who are here may finish.
                    Accepted::Closed => tokio::time::sleep(Duration::from_millis(50)).await,
                },
                Some(greeted) = greetings.join_next() => match greeted {
                    Ok(Ok(opened)) => self.admit(opened, listener.join()).await,
                    Ok(Err(error)) if error.resumable() => last = last.or(Some(error)),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => {}
                },
                ended = ended(&mut self.session) => {
                    self.session = None;
                    deadline = Instant::now() + self.host.options.idle;
                    match ended {
                        Ok(agreed) => return Ok(summary(&self.host, agreed, started)),
                        Err(error) if error.resumable() => {
                            let failure = error.failure();
                            report(Event::Interrupted { code: failure.code, message: failure.message });
                            last = Some(error);
                        }
                        Err(error) => return Err(error),
                    }
                }
                () = tokio::time::sleep_until(deadline), if self.session.is_none() => {
                    return Err(last.unwrap_or(Error::NobodyCame { secs: self.host.options.idle.as_secs() }));
                }
            }
        }
    }

    /// A stream joins the session it belongs to; a control stream of another session replaces the one there is: it can
    /// only come from the same sender, which has given that one up.
    async fn admit(&mut self, opened: Opened, join: Option<String>) {
        if opened.hello.stream > 0 {
            match &self.session {
                Some(session) if session.name == opened.hello.session => {
                    let _ = session.joiners.send(opened).await;
                }
                // Left over from a session that is gone; closing it says so.
                _ => {}
            }
            return;
        }
        if let Some(session) = self.session.take() {
            session.over.cancel();
            if let Ok(Ok(_)) = session.task.await {
                // The sender did not hear that it was done. What was closed is opened anew, and found complete.
                *self.host.site.lock().await = None;
            }
        }
        let (joiners, queue) = mpsc::channel(usize::from(STREAMS_MAX));
        let over = CancellationToken::new();
        let name = opened.hello.session.clone();
        let task = tokio::spawn(serve(self.host.clone(), opened, join, queue, over.clone()));
        self.session = Some(Session { name, joiners, over, task });
    }
}

fn summary(host: &Host, agreed: Agreed, started: Instant) -> Summary {
    Summary {
        bytes_total: host.counters.total.load(Relaxed),
        bytes_read: agreed.totals.read,
        bytes_zero: agreed.totals.zero,
        bytes_reused: agreed.totals.reused,
        bytes_on_wire: agreed.totals.on_wire,
        bytes_free: None,
        seconds: started.elapsed().as_secs_f64(),
        digest: agreed.root,
        verified: true,
    }
}

async fn ended(session: &mut Option<Session>) -> Result<Agreed> {
    match session {
        Some(session) => (&mut session.task).await.unwrap_or(Err(Error::CallerGone)),
        None => std::future::pending().await,
    }
}

/// Reads the hello of a stream.
async fn greet(stream: Stream, whom: String, idle: Duration) -> Result<Opened> {
    let (reader, writer) = tokio::io::split(stream);
    let mut reader = Reader::new(reader, &whom, HANDSHAKE);
    let mut writer = Writer::new(writer, &whom, idle);
    let greeting = async {
        let header = reader.expect().await?;
        if header.kind != Kind::Hello {
            return Err(Error::protocol(&whom, format!("it began with a {:?} frame", header.kind)));
        }
        let hello: Hello = reader.message(&header).await?;
        if hello.stream >= STREAMS_MAX {
            return Err(Error::protocol(&whom, format!("stream {} is beyond the bound", hello.stream)));
        }
        if hello.session.len() > 64 || hello.label.len() > 4096 {
            return Err(Error::protocol(&whom, "a hello beyond the bounds"));
        }
        Ok(hello)
    };
    match greeting.await {
        Ok(hello) => {
            reader.set_idle(idle);
            Ok(Opened { hello, reader, writer })
        }
        Err(error) => {
            if !error.resumable() {
                let _ = writer.message(Kind::Failed, &error.failure()).await;
                let _ = tokio::time::timeout(Duration::from_secs(1), reader.drain()).await;
            }
            Err(error)
        }
    }
}
