//! A disk in memory that lets a test have a word in each call, such as to make it take its time.

use async_trait::async_trait;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use viaduct::{MemoryDisk, Result, Source, Target};

#[derive(Clone)]
pub struct Hooked {
    pub disk: MemoryDisk,
    /// Called on the thread that makes the call, with its name.
    hook: Arc<dyn Fn(&'static str) + Send + Sync>,
}

impl Hooked {
    pub fn new(disk: MemoryDisk, hook: impl Fn(&'static str) + Send + Sync + 'static) -> Hooked {
        Hooked { disk, hook: Arc::new(hook) }
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooked").finish_non_exhaustive()
    }
}

#[async_trait]
impl Source for Hooked {
    fn name(&self) -> String {
        "hooked".into()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        (self.hook)("next_data");
        self.disk.next_data(from).await
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (self.hook)("read");
        Source::read(&self.disk, offset, buffer).await
    }

    async fn check_unchanged(&self) -> Result<()> {
        (self.hook)("check_unchanged");
        self.disk.check_unchanged().await
    }
}

#[async_trait]
impl Target for Hooked {
    fn name(&self) -> String {
        "hooked".into()
    }

    fn began_as_zeros(&self) -> bool {
        self.disk.began_as_zeros()
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        (self.hook)("read");
        Target::read(&self.disk, offset, buffer).await
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        (self.hook)("write");
        self.disk.write(offset, bytes).await
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        (self.hook)("zero");
        self.disk.zero(range).await
    }

    async fn flush(&self) -> Result<()> {
        // The one call that must not block: it waits, but for a thread that may.
        let hook = self.hook.clone();
        tokio::task::spawn_blocking(move || hook("flush")).await.unwrap();
        self.disk.flush().await
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        self.disk.stamp().await
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        (self.hook)("reread");
        self.disk.reread().await
    }

    async fn close(&self) -> Result<()> {
        (self.hook)("close");
        self.disk.close().await
    }
}
