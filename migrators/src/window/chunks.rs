//! A window as a disk that the viaduct serves: parts of one size, a few of them kept, and the next ones fetched ahead of who
//! reads on and on.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use fluidcloud_providers::Window;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio_util::task::AbortOnDropHandle;

/// Downloaded at once.
pub(super) const CHUNK_BYTES: u64 = 4 << 20;
/// Kept: what bounds the memory of a disk.
pub(super) const CHUNKS_MAX: usize = 12;
/// Fetched beyond the one that is read, when they are read in order.
pub(super) const AHEAD: u64 = 3;

/// Why it failed is told to everybody who waits.
type Fetch = Shared<BoxFuture<'static, Result<Bytes, Arc<str>>>>;

#[derive(Debug)]
pub(super) struct Chunks {
    window: Arc<dyn Window>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// The one used last is the last.
    chunks: VecDeque<(u64, Fetch)>,
    last: Option<u64>,
}

impl Chunks {
    pub fn new(window: Arc<dyn Window>) -> Self {
        Self { window, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn bytes_of(&self, index: u64) -> Range<u64> {
        let start = index * CHUNK_BYTES;
        start..(start + CHUNK_BYTES).min(self.window.size())
    }

    /// Those ahead are under way when it answers.
    async fn chunk(&self, index: u64) -> viaduct::Result<Bytes> {
        let fetch = {
            let mut held = self.held();
            let fetch = self.fetch(&mut held, index);
            if held.last.replace(index).is_some_and(|last| last + 1 == index) {
                let ahead = (index + 1..=index + AHEAD).filter(|next| !self.bytes_of(*next).is_empty());
                for next in ahead {
                    // Its task runs by itself.
                    drop(self.fetch(&mut held, next));
                }
            }
            fetch
        };
        match fetch.await {
            Ok(bytes) => Ok(bytes),
            Err(why) => {
                self.held().chunks.retain(|(held, _)| *held != index);
                Err(viaduct::Error::Nbd { whom: self.window.name(), why: why.to_string() })
            }
        }
    }

    fn fetch(&self, held: &mut Held, index: u64) -> Fetch {
        let known = held.chunks.iter().position(|(held, _)| *held == index);
        let chunk = known.and_then(|at| held.chunks.remove(at));
        let (_, fetch) = chunk.unwrap_or_else(|| (index, self.begin(index)));
        held.chunks.push_back((index, fetch.clone()));
        if held.chunks.len() > CHUNKS_MAX {
            held.chunks.pop_front();
        }
        fetch
    }

    /// It is under way whether somebody waits for it or not, and ends when nobody can any more.
    fn begin(&self, index: u64) -> Fetch {
        let (window, range) = (self.window.clone(), self.bytes_of(index));
        let task = AbortOnDropHandle::new(tokio::spawn(async move { window.read(range).await }));
        let fetched = task.map(|done| match done {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(error)) => Err(crate::error::chain(&error).into()),
            Err(error) => Err(error.to_string().into()),
        });
        fetched.boxed().shared()
    }
}

#[async_trait]
impl viaduct::Source for Chunks {
    fn name(&self) -> String {
        self.window.name()
    }

    fn size(&self) -> u64 {
        self.window.size()
    }

    async fn next_data(&self, from: u64) -> viaduct::Result<Option<Range<u64>>> {
        Ok((from < self.size()).then(|| from..self.size()))
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> viaduct::Result<()> {
        let (mut at, mut rest) = (offset, buffer);
        while !rest.is_empty() {
            let chunk = self.chunk(at / CHUNK_BYTES).await?;
            let skip = (at % CHUNK_BYTES) as usize;
            let there = chunk.get(skip..).unwrap_or_default();
            let length = there.len().min(rest.len());
            if length == 0 {
                let why = format!("it ends before byte {at}");
                return Err(viaduct::Error::Nbd { whom: self.window.name(), why });
            }
            rest[..length].copy_from_slice(&there[..length]);
            rest = &mut rest[length..];
            at += length as u64;
        }
        Ok(())
    }

    async fn check_unchanged(&self) -> viaduct::Result<()> {
        // An image never changes.
        Ok(())
    }
}
