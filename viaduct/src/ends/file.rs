//! Raw files and block devices as ends.

mod direct;
mod source;
mod target;

pub(super) use source::FileSource;
pub(super) use target::{FileTarget, check_room, room_of};

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The size of a regular file or block device; nothing else is a disk.
fn size_of(file: &File, path: &Path) -> Result<u64> {
    let metadata = file.metadata().map_err(|error| Error::io("examine", path.display(), error))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    if metadata.file_type().is_block_device() {
        // A device has its size where it ends, not in its inode.
        return (&*file).seek(SeekFrom::End(0)).map_err(|error| Error::io("measure", path.display(), error));
    }
    Err(Error::usage(
        path.display().to_string(),
        "it is neither a file nor a block device",
        "name the disk itself",
    ))
}

/// The first range at or after `from`, below `size`, that the file system has data for.
fn next_data(file: &File, path: &Path, size: u64, from: u64) -> Result<Option<Range<u64>>> {
    use rustix::{fs::SeekFrom, io::Errno};
    if from >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(from)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A device, or a file system without holes: everything may be data.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(from..size)),
        Err(error) => return Err(Error::io("look for data in", path.display(), error.into())),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start))
        .map_err(|error| Error::io("look for holes in", path.display(), error.into()))?;
    // The file may have grown; what is beyond the size is not ours.
    Ok((start < size).then(|| start..end.min(size)))
}

/// How much was written to a block device since it appeared, as the kernel counts it; nothing for a file, or where the
/// kernel does not tell. What waits in caches counts only when it is written: flush before, if that matters.
fn written_to(file: &File) -> Option<u64> {
    let meta = file.metadata().ok()?;
    if !meta.file_type().is_block_device() {
        return None;
    }
    let (major, minor) = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    // The seventh number is sectors written.
    stat.split_whitespace().nth(6)?.parse().ok()
}

/// A number that changes with every write to a file. Devices have none.
fn stamp_of(file: &File, path: &Path) -> Result<Option<u64>> {
    let meta = file.metadata().map_err(|error| Error::io("examine", path.display(), error))?;
    let parts = [meta.dev() as i64, meta.ino() as i64, meta.size() as i64, meta.mtime(), meta.mtime_nsec()];
    Ok(meta.is_file().then(|| number_of(&parts)))
}

/// A number that tells a file from another one that took its name.
fn identity_of(file: &File) -> Option<u64> {
    let meta = file.metadata().ok()?;
    Some(number_of(&[meta.dev() as i64, meta.rdev() as i64, meta.ino() as i64]))
}

fn number_of(parts: &[i64]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.to_le_bytes());
    }
    let mut number = [0; 8];
    hasher.finalize_xof().fill(&mut number);
    u64::from_le_bytes(number)
}
