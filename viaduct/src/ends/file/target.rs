//! A raw file or block device that is written. Creates the file, keeps it sparse, judges its room beforehand.

use super::{direct::Direct, identity_of, next_data, size_of, source::FileSource, stamp_of};
use crate::ends::{Announced, Source, Target};
use crate::error::{Error, Result};
use crate::limits::ZERO_STEP;
use async_trait::async_trait;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug)]
pub struct FileTarget {
    path: PathBuf,
    file: Arc<File>,
    direct: Option<Direct>,
    size: u64,
    began_as_zeros: bool,
}

impl FileTarget {
    pub fn open(path: &Path, announced: Announced) -> Result<FileTarget> {
        let fail = |verb| move |error| Error::io(verb, path.display(), error);
        // A name that does not exist in /dev is a mistake: a file there would fill memory.
        let in_dev = path.starts_with("/dev") && !path.starts_with("/dev/shm");
        if !in_dev {
            check_room(path, announced)?;
        }
        let existing = OpenOptions::new().read(true).write(true).open(path);
        let (file, created) = match existing {
            Ok(file) => (file, false),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !in_dev => {
                let new = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
                (new.map_err(fail("create"))?, true)
            }
            Err(error) => return Err(fail("open")(error)),
        };
        let have = size_of(&file, path)?;
        if have == 0 && file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            if let Err(error) = file.set_len(announced.size) {
                if created {
                    let _ = std::fs::remove_file(path);
                }
                return Err(fail("size")(error));
            }
        } else if have < announced.size {
            return Err(Error::TargetTooSmall {
                what: path.display().to_string(),
                have,
                need: announced.size,
            });
        }
        let began_as_zeros = created || next_data(&file, path, announced.size, 0)?.is_none();
        let direct = Direct::open(path, true);
        Ok(FileTarget {
            path: path.to_owned(),
            file: Arc::new(file),
            direct,
            size: announced.size,
            began_as_zeros,
        })
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = range.start;
        while at < range.end {
            let step = (range.end - at).min(zeros.len() as u64);
            let written = self.file.write_all_at(&zeros[..step as usize], at);
            written.map_err(|error| Error::io("write", self.path.display(), error))?;
            at += step;
        }
        Ok(())
    }
}

#[async_trait]
impl Target for FileTarget {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn began_as_zeros(&self) -> bool {
        self.began_as_zeros
    }

    fn room(&self) -> Option<u64> {
        room_of(&self.path).map(|room| room.free + room.taken)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.file.read_exact_at(buffer, offset).map_err(|error| Error::io("read", self.path.display(), error))
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let direct = self.direct.as_ref().map_or(Ok(0), |direct| direct.write(offset, bytes));
        direct
            .and_then(|done| self.file.write_all_at(&bytes[done..], offset + done as u64))
            .map_err(|error| Error::io("write", self.path.display(), error))
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let step = (range.end - at).min(ZERO_STEP);
            // A hole reads as zeros, in a file and (by the kernel's promise for this call) on a device too.
            match rustix::fs::fallocate(
                &*self.file,
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                at,
                step,
            ) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.write_zeros(at..at + step)?,
                Err(error) => return Err(Error::io("zero", self.path.display(), error.into())),
            }
            at += step;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        let (file, path) = (self.file.clone(), self.path.clone());
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        synced
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| Error::io("flush", path.display(), error))
    }

    fn identity(&self) -> Option<u64> {
        identity_of(&self.file)
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        stamp_of(&self.file, &self.path)
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(FileSource::open_cold(&self.path, self.size)?))
    }

    async fn close(&self) -> Result<()> {
        self.flush().await
    }
}

/// Free bytes of the file system that holds, or will hold, this file, and those the file itself takes already.
pub struct Room {
    pub free: u64,
    pub taken: u64,
}

/// `None` for a device, which has all its room.
pub fn room_of(path: &Path) -> Option<Room> {
    let metadata = path.metadata();
    if metadata.as_ref().is_ok_and(|metadata| !metadata.is_file()) {
        return None;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let stat = rustix::fs::statvfs(parent).ok()?;
    Some(Room {
        free: stat.f_bavail * stat.f_frsize,
        taken: metadata.map_or(0, |metadata| metadata.blocks() * 512),
    })
}

/// Refuses a file whose file system cannot take what is announced. A device has all its room.
pub fn check_room(path: &Path, announced: Announced) -> Result<()> {
    let Some(room) = room_of(path) else { return Ok(()) };
    // What the file already takes will be written over, not added to.
    let need = announced.data_bytes.saturating_sub(room.taken);
    if need > room.free && !announced.overcommit {
        return Err(Error::NoRoom { what: path.display().to_string(), need, free: room.free });
    }
    Ok(())
}
