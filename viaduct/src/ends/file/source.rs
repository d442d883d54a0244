//! A raw file or block device that is read. Notices when someone writes to the file meanwhile.

use super::{direct::Direct, next_data, size_of, stamp_of, written_to};
use crate::ends::Source;
use crate::error::{Error, Result};
use async_trait::async_trait;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    file: File,
    direct: Option<Direct>,
    size: u64,
    stamp: Option<u64>,
    /// A device that nobody else can mount as long as we have it open; `None` if somebody has.
    claim: OnceLock<Option<File>>,
    written: Option<u64>,
}

impl FileSource {
    pub fn open(path: &Path) -> Result<FileSource> {
        let file = File::open(path).map_err(|error| Error::io("open", path.display(), error))?;
        let size = size_of(&file, path)?;
        let stamp = stamp_of(&file, path)?;
        if stamp.is_none() {
            // What others wrote before must not count as written from now on. A device that cannot be flushed has no cache.
            let _ = file.sync_data();
        }
        let written = written_to(&file);
        let direct = Direct::open(path, false);
        Ok(FileSource { path: path.to_owned(), file, direct, size, stamp, written, claim: OnceLock::new() })
    }

    /// The first `size` bytes, read from the storage: what is cached is dropped first.
    pub fn open_cold(path: &Path, size: u64) -> Result<FileSource> {
        let source = FileSource::open(path)?;
        // Advice may be ignored; then the cache is what we compare, which still proves what was written.
        let _ = rustix::fs::fadvise(&source.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(FileSource { size: size.min(source.size), ..source })
    }

    /// Devices are opened exclusively, which fails while they or a part of them is mounted, and keeps others from
    /// mounting them. A file needs no claim: its stamp tells when it was written to.
    fn claim(&self) -> Option<File> {
        let exclusive = match self.file.metadata() {
            Ok(metadata) if metadata.file_type().is_block_device() => rustix::fs::OFlags::EXCL.bits(),
            _ => 0,
        };
        File::options().read(true).custom_flags(exclusive as i32).open(&self.path).ok()
    }
}

#[async_trait]
impl Source for FileSource {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        next_data(&self.file, &self.path, self.size, from)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let direct = self.direct.as_ref().map_or(Ok(0), |direct| direct.read(offset, buffer));
        let read = direct.and_then(|done| self.file.read_exact_at(&mut buffer[done..], offset + done as u64));
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::SourceChanged { what: self.name(), why: "it became shorter".into() }
            }
            _ => Error::io("read", self.path.display(), error),
        })
    }

    fn will_read(&self, range: Range<u64>) {
        if self.direct.is_some() {
            return;
        }
        let length = std::num::NonZeroU64::new(range.end - range.start);
        let _ = rustix::fs::fadvise(&self.file, range.start, length, rustix::fs::Advice::WillNeed);
    }

    async fn check_unchanged(&self) -> Result<()> {
        if self.stamp.is_none() {
            let _ = self.file.sync_data();
        }
        if written_to(&self.file) != self.written {
            let why = "the kernel counts more sectors written to it than at the start".into();
            return Err(Error::SourceChanged { what: self.name(), why });
        }
        if stamp_of(&self.file, &self.path)? != self.stamp {
            return Err(Error::SourceChanged {
                what: self.name(),
                why: "its size or modification time is not what it was at the start".into(),
            });
        }
        Ok(())
    }

    fn sees_writes(&self) -> bool {
        self.stamp.is_some() || self.written.is_some()
    }

    fn in_use(&self) -> bool {
        self.claim.get_or_init(|| self.claim()).is_none()
    }
}
