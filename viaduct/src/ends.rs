//! The two ends of a transfer: where a disk is read and where it is written. Owns the contracts and the conformance
//! suite that every end passes; opens an end by its URI.

mod far;
mod file;
mod memory;
mod nbd;
mod parts;
mod qcow2;
mod stream;
mod uri;

pub(crate) use far::{FarLogin, FarSource, FarTarget, ZeroSums, sha256};
pub use memory::MemoryDisk;
pub(crate) use parts::read_parts;
pub(crate) use stream::raw_stdout;
pub use stream::{Spool, open_stdin};
pub use uri::{Disk, NbdAddress};
pub(crate) use uri::{split_port, unescape};

use crate::error::{Error, Result};
use async_trait::async_trait;
use std::fmt::Debug;
use std::ops::Range;

/// A disk that is read.
///
/// All calls may block the thread: they are made from threads that may be blocked. They may be made in parallel, and
/// dropped. Nothing a source does changes the disk.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// What people call it.
    fn name(&self) -> String;

    /// Bytes. Never changes.
    fn size(&self) -> u64;

    /// The first range at or after `from` that may hold data; `None` if nothing but zeros follows. Whatever lies between two
    /// ranges reads as zeros. Ranges are not empty, lie within the disk, and start at or after `from`. An end that does
    /// not know its holes answers `from..size`.
    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>>;

    /// Fills `buffer` from `offset`. The range lies within the disk.
    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// The range will be read soon. Advice only.
    fn will_read(&self, _range: Range<u64>) {}

    /// Whether [`Source::next_changed`] knows anything.
    fn tells_changes(&self) -> bool {
        false
    }

    /// The first range at or after `from` that may have changed since the state from which the source counts changes;
    /// `None` if nothing behind it has. A source that does not count answers `from..size`.
    async fn next_changed(&self, from: u64) -> Result<Option<Range<u64>>> {
        Ok((from < self.size()).then(|| from..self.size()))
    }

    /// An error if the disk is known to have been written to since it was opened.
    async fn check_unchanged(&self) -> Result<()>;

    /// Whether every byte can be read once only, and only in the order of the disk: readers wait for those before them.
    fn reads_once(&self) -> bool {
        false
    }

    /// Whether [`Source::check_unchanged`] finds out about every write.
    fn sees_writes(&self) -> bool {
        false
    }

    /// Whether somebody else was seen to have the disk mounted or open for writing, so that its file systems' maps of
    /// free space cannot be believed.
    fn in_use(&self) -> bool {
        false
    }
}

/// A disk that is written.
///
/// All calls but `flush` may block the thread. Writes to different ranges may be made in parallel. A call that was
/// dropped may or may not have had its effect. Doing a call twice is the same as once.
#[async_trait]
pub trait Target: Send + Sync + Debug {
    fn name(&self) -> String;

    /// Whether the disk, when it was opened, was known to hold nothing but zeros.
    fn began_as_zeros(&self) -> bool;

    /// The most bytes this disk can come to take, as far as that can be told: those it takes and those that are free.
    fn room(&self) -> Option<u64> {
        None
    }

    /// Fills `buffer` from `offset` with what the disk holds now. The range lies within the announced size.
    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()>;

    /// Writes all of `bytes` at `offset`. The range lies within the announced size.
    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()>;

    /// Makes a range read as zeros, giving its space back where that is possible.
    async fn zero(&self, range: Range<u64>) -> Result<()>;

    /// When it returns, every call that had returned before it was made is durable.
    async fn flush(&self) -> Result<()>;

    /// A number that tells this disk from another one of the same name, if there is one.
    fn identity(&self) -> Option<u64>;

    /// A number that changes when anyone writes to the disk, if there is one. Asked for only after a flush.
    async fn stamp(&self) -> Result<Option<u64>>;

    /// The same disk for reading, as the storage holds it rather than as the cache remembers it, where that can be told.
    async fn reread(&self) -> Result<Box<dyn Source>>;

    /// Flushes, and lets go of helpers. Called once, last.
    async fn close(&self) -> Result<()>;
}

/// Opens a disk for reading.
pub async fn open_source(disk: &Disk) -> Result<Box<dyn Source>> {
    Ok(match disk {
        Disk::File(path) => Box::new(file::FileSource::open(path)?),
        Disk::Nbd(address) => Box::new(nbd::NbdSource::connect(address).await?),
        Disk::Qcow2(path) => Box::new(qcow2::Qcow2Source::open(path).await?),
        Disk::Far(_) | Disk::Stdio => return Err(elsewhere(disk)),
    })
}

fn elsewhere(disk: &Disk) -> Error {
    let (why, remedy) = match disk {
        Disk::Stdio => ("a pipe cannot be used here", "name a file, or use `viaduct copy`"),
        _ => ("a host without a viaduct is reached by a copy only", "use `viaduct copy`"),
    };
    Error::usage(format!("`{disk}`"), why, remedy)
}

/// Opens a disk that counts its changes in a bitmap.
pub async fn open_changes(disk: &Disk, bitmap: &str) -> Result<Box<dyn Source>> {
    match disk {
        Disk::Nbd(address) => Ok(Box::new(nbd::NbdSource::connect_changes(address, bitmap).await?)),
        disk => Err(Error::usage(
            format!("--bitmap with {disk}"),
            "only an NBD server tells of a bitmap",
            "export the disk with its bitmap, as `qemu-nbd --bitmap` does",
        )),
    }
}

/// What the sender announces, from which a target is judged before anything is written.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    pub size: u64,
    /// The most that may be written; the rest is zeros.
    pub data_bytes: u64,
    /// Accept a target that has less free space than `data_bytes`.
    pub overcommit: bool,
}

/// Opens a disk for writing, creating files and images that do not exist. Refuses, without having written anything, what is
/// too small or has no room.
pub async fn open_target(disk: &Disk, announced: Announced) -> Result<Box<dyn Target>> {
    Ok(match disk {
        Disk::File(path) => Box::new(file::FileTarget::open(path, announced)?),
        Disk::Nbd(address) => Box::new(nbd::NbdTarget::connect(address, announced).await?),
        Disk::Qcow2(path) => Box::new(qcow2::Qcow2Target::open(path, announced).await?),
        Disk::Far(_) | Disk::Stdio => return Err(elsewhere(disk)),
    })
}
