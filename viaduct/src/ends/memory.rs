//! A disk in memory, for tests: both ends' contracts with nothing beneath them.

use super::{Source, Target};
use crate::error::{Error, Result};
use async_trait::async_trait;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    bytes: Mutex<Vec<u8>>,
    began_as_zeros: bool,
    changed: AtomicBool,
    writes: AtomicU64,
}

impl MemoryDisk {
    pub fn new(bytes: Vec<u8>) -> MemoryDisk {
        let began_as_zeros = crate::blocks::is_zero(&bytes);
        MemoryDisk {
            shared: Arc::new(Shared { bytes: Mutex::new(bytes), began_as_zeros, ..Shared::default() }),
        }
    }

    pub fn zeros(size: usize) -> MemoryDisk {
        MemoryDisk::new(vec![0; size])
    }

    pub fn contents(&self) -> Vec<u8> {
        self.bytes().clone()
    }

    /// How many times it was written to.
    pub fn writes(&self) -> u64 {
        self.shared.writes.load(Ordering::Relaxed)
    }

    /// Makes the disk say, as a source, that someone wrote to it.
    pub fn mark_changed(&self) {
        self.shared.changed.store(true, Ordering::Relaxed);
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.shared.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Source for MemoryDisk {
    fn name(&self) -> String {
        "memory".into()
    }

    fn size(&self) -> u64 {
        self.bytes().len() as u64
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        let bytes = self.bytes();
        let Some(rest) = bytes.get(from as usize..) else { return Ok(None) };
        let Some(start) = rest.iter().position(|byte| *byte != 0) else { return Ok(None) };
        let length = rest[start..].iter().position(|byte| *byte == 0).unwrap_or(rest.len() - start);
        Ok(Some(from + start as u64..from + (start + length) as u64))
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        buffer.copy_from_slice(&self.bytes()[offset as usize..][..buffer.len()]);
        Ok(())
    }

    async fn check_unchanged(&self) -> Result<()> {
        if self.shared.changed.load(Ordering::Relaxed) {
            return Err(Error::SourceChanged { what: "memory".into(), why: "a test said so".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl Target for MemoryDisk {
    fn name(&self) -> String {
        "memory".into()
    }

    fn began_as_zeros(&self) -> bool {
        self.shared.began_as_zeros
    }

    fn room(&self) -> Option<u64> {
        Some(u64::MAX)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        Source::read(self, offset, buffer).await
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.shared.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes()[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        self.shared.writes.fetch_add(1, Ordering::Relaxed);
        self.bytes()[range.start as usize..range.end as usize].fill(0);
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        Ok(Some(self.writes()))
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
