//! A raw file or block device that is read. Notices when someone writes to the file meanwhile.

use super::{next_data, size_of, stamp_of};
use crate::ends::Source;
use crate::error::{Error, Result};
use async_trait::async_trait;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub struct FileSource {
    path: PathBuf,
    file: File,
    size: u64,
    stamp: Option<u64>,
}

impl FileSource {
    pub fn open(path: &Path) -> Result<FileSource> {
        let file = File::open(path).map_err(|error| Error::io("open", path.display(), error))?;
        let size = size_of(&file, path)?;
        let stamp = stamp_of(&file, path)?;
        Ok(FileSource { path: path.to_owned(), file, size, stamp })
    }

    /// The first `size` bytes, read from the storage: what is cached is dropped first.
    pub fn open_cold(path: &Path, size: u64) -> Result<FileSource> {
        let source = FileSource::open(path)?;
        // Advice may be ignored; then the cache is what we compare, which still proves what was written.
        let _ = rustix::fs::fadvise(&source.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(FileSource { size: size.min(source.size), ..source })
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
        self.file.read_exact_at(buffer, offset).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Error::SourceChanged { what: self.name(), why: "it became shorter".into() }
            }
            _ => Error::io("read", self.path.display(), error),
        })
    }

    async fn check_unchanged(&self) -> Result<()> {
        if stamp_of(&self.file, &self.path)? != self.stamp {
            return Err(Error::SourceChanged {
                what: self.name(),
                why: "its size or modification time is not what it was at the start".into(),
            });
        }
        Ok(())
    }
}
