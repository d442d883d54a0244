//! A disk copied by one process, which reaches both ends itself: no wire, no second viaduct. For hosts on which nothing of ours
//! can run (`dd+ssh://`), for pipes, and from one format into another. The same journal, digests and locks as between two
//! viaducts: what is durable is not written again, and what is written is checked.

mod check;
mod pass;
mod pipe;

use crate::apart::apart;
use crate::blocks::Geometry;
use crate::ends::{
    Announced, Disk, FarLogin, FarSource, FarTarget, Source, Target, open_source, open_stdin, open_target,
};
use crate::error::{Error, Result};
use crate::limits::RETRY;
use crate::progress::{Counters, Event, Summary, reporting};
use crate::receive::{Lock, OpenTarget, Opening, journal_dir, make_private_dir, open_site};
use crate::send::{count_data, live};
use crate::transport::SshLogin;
use pass::Task;
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;

/// How to copy.
#[derive(Clone, Debug)]
pub struct CopyOptions {
    pub from: Disk,
    pub to: Disk,
    /// For ends on hosts without an agent.
    pub login: Option<SshLogin>,
    /// How long to go on where the connection to such a host breaks.
    pub retry: Duration,
    /// Where the journal lives; [`journal_dir`] if not given.
    pub journal: Option<PathBuf>,
    /// A power of two; the one that suits the disk's size if not given.
    pub block_bytes: Option<u32>,
    /// Read the free space of file systems too. Otherwise it is not read, and zeros at the target.
    pub whole: bool,
    /// Read the whole target again at the end. What is written to a far host is read back in any case.
    pub verify_target: bool,
    /// Accept a target with less free space than the source has data.
    pub overcommit: bool,
    /// Of a disk on stdin.
    pub size: Option<u64>,
    /// Where a disk on stdin of unknown size is laid down.
    pub spool: Option<PathBuf>,
}

impl CopyOptions {
    pub fn new(from: Disk, to: Disk) -> CopyOptions {
        CopyOptions {
            from,
            to,
            login: None,
            retry: RETRY,
            journal: None,
            block_bytes: None,
            whole: false,
            verify_target: false,
            overcommit: false,
            size: None,
            spool: None,
        }
    }
}

/// Copies one disk. Returns when the copy is durable, and checked where it can be.
pub async fn copy(options: &CopyOptions, report: &(dyn Fn(Event) + Send + Sync)) -> Result<Summary> {
    let counters = Arc::new(Counters::default());
    counters.begun.store(true, Relaxed);
    reporting(&counters, report, carry(options, &counters, report)).await
}

async fn carry(
    options: &CopyOptions,
    counters: &Arc<Counters>,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Summary> {
    let started = Instant::now();
    let login = options.login.as_ref().map(|login| FarLogin {
        login: login.clone(),
        patience: options.retry,
        carried: counters.on_wire.clone(),
    });
    let (source, allocated) = open_from(options, login.clone()).await?;
    let geometry = match options.block_bytes {
        Some(block_bytes) => Geometry::new(source.size(), block_bytes)?,
        None => Geometry::for_size(source.size())?,
    };
    let (source, bytes_free) = if options.whole || source.reads_once() {
        (source, 0)
    } else {
        let live = live(source.clone(), report).await?;
        let spared = match live.is_whole() {
            true => 0,
            false => count_data(source).await?.saturating_sub(count_data(live.clone()).await?),
        };
        (live as Arc<dyn Source>, spared)
    };
    let data_bytes = match allocated {
        // Asking a far host where its data is would make it read the disk.
        Some(allocated) => allocated,
        None => count_data(source.clone()).await?,
    };
    counters.total.store(geometry.size(), Relaxed);
    counters.data.store(data_bytes, Relaxed);
    let (digest, verified) = if options.to == Disk::Stdio {
        (pipe::to_stdout(source.clone(), geometry, counters.clone()).await?, false)
    } else {
        let announced = Announced { size: geometry.size(), data_bytes, overcommit: options.overcommit };
        (into_target(options, login, &source, geometry, announced, counters, report).await?, true)
    };
    Ok(Summary {
        bytes_total: geometry.size(),
        bytes_read: counters.read.load(Relaxed),
        bytes_zero: counters.zero.load(Relaxed),
        bytes_reused: counters.reused.load(Relaxed),
        bytes_on_wire: counters.on_wire.load(Relaxed),
        bytes_free: Some(bytes_free),
        seconds: started.elapsed().as_secs_f64(),
        digest,
        verified,
    })
}

/// The source, and for a far one how much of it takes room.
async fn open_from(options: &CopyOptions, login: Option<FarLogin>) -> Result<(Arc<dyn Source>, Option<u64>)> {
    match &options.from {
        Disk::Stdio => {
            let (size, spool) = (options.size, options.spool.clone());
            Ok((apart(async move { open_stdin(size, spool.as_deref()) }).await?.into(), None))
        }
        Disk::Far(at) => {
            let (at, login) = (at.clone(), needed(login, &options.from)?);
            let source = apart(async move { FarSource::open(&at, &login) }).await?;
            let allocated = source.allocated();
            Ok((Arc::new(source), Some(allocated)))
        }
        disk => Ok((open_source(disk).await?.into(), None)),
    }
}

fn needed(login: Option<FarLogin>, disk: &Disk) -> Result<FarLogin> {
    login.ok_or_else(|| {
        Error::usage(
            disk.to_string(),
            "it is on another host, and nothing says how to log in there",
            "add --identity, and --peer or --known-hosts",
        )
    })
}

async fn into_target(
    options: &CopyOptions,
    login: Option<FarLogin>,
    source: &Arc<dyn Source>,
    geometry: Geometry,
    announced: Announced,
    counters: &Arc<Counters>,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<crate::Digest> {
    if options.from == options.to {
        return Err(Error::usage(options.to.to_string(), "it is the source too", "name another target"));
    }
    let journal = options.journal.clone().unwrap_or_else(|| journal_dir(&options.to));
    let new = !journal.exists();
    make_private_dir(&journal)?;
    let (path, name) = (journal.join("lock"), options.to.to_string());
    let lock = Arc::new(apart(async move { Lock::acquire(&path, &name, 0, Duration::ZERO) }).await?);
    let far = Arc::new(OnceLock::new());
    let open = opener(options.to.clone(), login, far.clone())?;
    let opening = Opening { announced, geometry, counters: counters.clone(), lock };
    let opened = open_site(&open, opening, &source.name(), &journal, &[]).await;
    let site = match opened {
        Ok(site) => site,
        Err(error) => {
            if new {
                // Nothing ever began here: leave no trace.
                let _ = std::fs::remove_dir_all(&journal);
            }
            return Err(error);
        }
    };
    let task = Arc::new(Task::new(site, source.clone(), geometry, far.get().cloned()));
    let root = pass::run(&task).await?;
    source.check_unchanged().await?;
    if let Some(far) = far.get() {
        report(check::check(&task, far).await?);
    }
    // What was read back block by block need not be read once more.
    task.site.seal(root, options.verify_target && far.get().is_none()).await?;
    Ok(root)
}

fn opener(to: Disk, login: Option<FarLogin>, slot: Arc<OnceLock<FarTarget>>) -> Result<OpenTarget> {
    let login = match &to {
        Disk::Far(_) => Some(needed(login, &to)?),
        _ => None,
    };
    Ok(Box::new(move |announced| {
        let (to, login, slot) = (to.clone(), login.clone(), slot.clone());
        Box::pin(async move {
            let (Disk::Far(at), Some(login)) = (to.clone(), login) else {
                return open_target(&to, announced).await;
            };
            let far = apart(async move { FarTarget::open(&at, &login, announced) }).await?;
            let _ = slot.set(far.clone());
            Ok(Box::new(far) as Box<dyn Target>)
        })
    }))
}
