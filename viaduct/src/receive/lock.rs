//! At most one receiver per target, and the newest task wins. The lock is a `flock` on a file beside the journal, which says
//! who holds it: process, start time, epoch. A receiver with a higher epoch ends the older holder, but only the very
//! process that holds the lock; one with a lower epoch is fenced, whether the holder lives or not.

use crate::error::{Error, Result};
use crate::limits::TAKEOVER;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);
/// A task of this process that was aborted lets go when the runtime comes to drop it.
const ABORTED: Duration = Duration::from_secs(1);

/// Held as long as it lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    /// Field 22 of /proc/PID/stat: tells a process from a later one with the same number.
    started: u64,
    epoch: u64,
    /// It was canceled, and holds the lock only until its last write is done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ending: bool,
}

impl Lock {
    /// Blocks for at most the time a holder may take to die, and `patience` for one of the same epoch.
    pub fn acquire(path: &Path, target: &str, epoch: u64, patience: Duration) -> Result<Lock> {
        let fail = |verb| move |error: std::io::Error| Error::io(verb, path.display(), error);
        let mut file = open(path)?;
        let fenced = |held| Error::Fenced { target: target.to_owned(), held, ours: epoch };
        let began = Instant::now();
        let mut ended = None;
        loop {
            if try_lock(&file).map_err(fail("lock"))? {
                if still_named(&file, path) {
                    break;
                }
                // The last holder forgot the journal with the lock: this is the lock of nothing.
                file = open(path)?;
                continue;
            }
            // Between locking and writing its name a holder is nameless for a moment.
            let holder = read(&file).filter(|holder| started(holder.pid) == Some(holder.started));
            if let Some(holder) = holder {
                let ours = holder.pid == std::process::id();
                let patience = if ours { patience.max(ABORTED) } else { patience };
                let stays = !holder.ending && began.elapsed() >= patience;
                if epoch < holder.epoch || epoch == holder.epoch && stays {
                    return Err(fenced(holder.epoch));
                }
                let ends_itself = holder.ending && ours;
                if epoch > holder.epoch && !ends_itself && ended != Some(holder) {
                    end(&file, holder, target)?;
                    ended = Some(holder);
                }
            }
            if began.elapsed() > TAKEOVER + patience {
                let pid = holder.map_or(0, |holder| holder.pid);
                let why = "it still holds the lock".to_owned();
                return Err(Error::TakeoverFailed { target: target.to_owned(), pid, why });
            }
            std::thread::sleep(PAUSE);
        }
        match read(&file) {
            Some(last) if last.epoch > epoch => return Err(fenced(last.epoch)),
            _ => {}
        }
        let pid = std::process::id();
        let holder = Holder { pid, started: started(pid).unwrap_or(0), epoch, ending: false };
        file.set_len(0)
            .and_then(|()| write(&file, holder))
            .and_then(|()| file.sync_data())
            .map_err(fail("write"))?;
        Ok(Lock { file, holder })
    }

    /// Lets the next one of the same epoch wait until we have let go, instead of being refused.
    pub fn will_end(&self) {
        // Who cannot read it is refused, as it would be without.
        let _ = write(&self.file, Holder { ending: true, ..self.holder });
    }

    /// Takes the lock only if nobody has it, or is about to have it no more.
    pub fn acquire_free(path: &Path, target: &str) -> Result<Lock> {
        let file = open(path)?;
        let began = Instant::now();
        while !try_lock(&file).map_err(|error| Error::io("lock", path.display(), error))? {
            let holder = read(&file).unwrap_or_default();
            if !holder.ending || began.elapsed() > TAKEOVER {
                return Err(Error::Fenced { target: target.to_owned(), held: holder.epoch, ours: 0 });
            }
            std::thread::sleep(PAUSE);
        }
        Ok(Lock { file, holder: Holder::default() })
    }
}

fn open(path: &Path) -> Result<File> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    open.map_err(|error| Error::io("open", path.display(), error))
}

fn still_named(file: &File, path: &Path) -> bool {
    let ids = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(ids).ok() == path.metadata().map(ids).ok()
}

fn try_lock(file: &File) -> std::io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn write(file: &File, holder: Holder) -> std::io::Result<()> {
    file.write_all_at(&serde_json::to_vec(&holder)?, 0)
}

fn read(file: &File) -> Option<Holder> {
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0).ok()?;
    serde_json::from_slice(&bytes[..length]).ok()
}

/// Kills the holder. The handle is opened before the checks, so that what is checked is what is killed.
fn end(file: &File, holder: Holder, target: &str) -> Result<()> {
    let fail = |why: String| Error::TakeoverFailed { target: target.to_owned(), pid: holder.pid, why };
    let Some(pid) = Pid::from_raw(holder.pid as i32) else { return Err(fail("that is no process".into())) };
    if holder.pid == std::process::id() {
        return Err(fail("it is this very process".into()));
    }
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        // Gone by itself; the lock is free in a moment.
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(fail(error.to_string())),
    };
    if started(holder.pid) != Some(holder.started) {
        return Ok(());
    }
    if !holds(file, holder.pid) {
        return Err(fail("it is not the process that holds the lock".into()));
    }
    match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(fail(error.to_string())),
    }
}

/// Whether the kernel lists that process as the holder of a lock on this file.
fn holds(file: &File, pid: u32) -> bool {
    let Ok(inode) = file.metadata().map(|metadata| metadata.ino()) else { return false };
    let (pid, inode) = (pid.to_string(), format!(":{inode}"));
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
    std::fs::read_to_string("/proc/locks").is_ok_and(|locks| {
        locks.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.len() > 5 && fields[1] == "FLOCK" && fields[4] == pid && fields[5].ends_with(&inode)
        })
    })
}

/// When a process started, in ticks since boot.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the state is field 3.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn the_lock_of_a_dead_holder_is_free_to_the_same_epoch_but_not_to_an_older_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        drop(Lock::acquire(&path, "disk", 5, NOW).unwrap());
        drop(Lock::acquire(&path, "disk", 5, NOW).unwrap());
        assert!(matches!(Lock::acquire(&path, "disk", 4, NOW), Err(Error::Fenced { held: 5, ours: 4, .. })));
        drop(Lock::acquire(&path, "disk", 6, NOW).unwrap());
    }

    #[test]
    fn a_held_lock_is_refused_to_the_same_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = Lock::acquire(&path, "disk", 5, NOW).unwrap();
        assert!(matches!(Lock::acquire(&path, "disk", 5, NOW), Err(Error::Fenced { held: 5, ours: 5, .. })));
        // A higher epoch would have to kill this test.
        assert!(matches!(Lock::acquire(&path, "disk", 6, NOW), Err(Error::TakeoverFailed { .. })));
    }

    #[test]
    fn a_lock_that_is_about_to_be_let_go_of_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = Lock::acquire(&path, "disk", 5, NOW).unwrap();
        held.will_end();
        assert!(matches!(Lock::acquire(&path, "disk", 4, NOW), Err(Error::Fenced { held: 5, ours: 4, .. })));
        let mut held = held;
        for epoch in [5, 6] {
            let next = path.clone();
            let waiting = std::thread::spawn(move || Lock::acquire(&next, "disk", epoch, NOW));
            std::thread::sleep(5 * PAUSE);
            drop(held);
            held = waiting.join().unwrap().unwrap();
            held.will_end();
        }
    }

    #[test]
    fn a_process_that_only_claims_to_hold_the_lock_is_not_killed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let mut bystander = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let started = started(bystander.id()).unwrap();
        let holder = Holder { pid: bystander.id(), started, epoch: 1, ending: false };
        std::fs::write(&path, serde_json::to_vec(&holder).unwrap()).unwrap();
        let real = OpenOptions::new().write(true).open(&path).unwrap();
        assert!(try_lock(&real).unwrap());
        assert!(matches!(Lock::acquire(&path, "disk", 2, NOW), Err(Error::TakeoverFailed { .. })));
        assert!(bystander.try_wait().unwrap().is_none());
        bystander.kill().unwrap();
        bystander.wait().unwrap();
    }
}
