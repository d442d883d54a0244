//! Turns work into frames: reads the block, drops zeros and what the receiver has, packs what gets smaller. Each worker has
//! a thread that may block and tools of its own.

use super::Outgoing;
use crate::blocks::is_zero;
use crate::buffers::Buffers;
use crate::digest::{Digest, OrderedRoot};
use crate::error::{Error, Result};
use crate::plan::Work;
use crate::progress::Counters;
use crate::table::DigestTable;
use crate::wire::{Header, Kind};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

const LEVEL: i32 = 1;
/// A block is packed only if that saves at least one part in this many.
const WORTH: usize = 16;
/// What is packed first to see whether the rest is worth it.
const SAMPLE_BYTES: usize = 32 << 10;

/// Work, numbered in the order of the disk.
#[derive(Debug)]
pub struct Task {
    pub number: u64,
    pub work: Work,
}

/// A frame ready for the line.
#[derive(Debug)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
    /// Bytes of the disk that are settled with it.
    pub settles: u64,
}

/// What the workers of one attempt share.
#[derive(Debug)]
pub struct Shared {
    pub root: Mutex<OrderedRoot>,
    pub have: DigestTable,
    pub buffers: Buffers,
    pub counters: Arc<Counters>,
}

pub struct Encoder {
    shared: Arc<Shared>,
    pack: zstd::bulk::Compressor<'static>,
    block: Vec<u8>,
}

impl Encoder {
    pub fn new(shared: Arc<Shared>) -> Result<Encoder> {
        let pack = zstd::bulk::Compressor::new(LEVEL).map_err(|error| Error::io("prepare", "zstd", error))?;
        Ok(Encoder { shared, pack, block: Vec::new() })
    }

    pub async fn encode(&mut self, outgoing: &Outgoing, task: Task) -> Result<Frame> {
        match task.work {
            Work::Zeros { blocks } => Ok(self.zeros(outgoing, task.number, blocks)),
            Work::Read { index, parts } => self.block(outgoing, task.number, index, &parts).await,
        }
    }

    fn zeros(&self, outgoing: &Outgoing, number: u64, blocks: Range<u64>) -> Frame {
        self.fold(number, None);
        let bytes = outgoing.geometry.bytes_of_run(&blocks);
        let length = bytes.end - bytes.start;
        self.shared.counters.zero.fetch_add(length, Relaxed);
        let header = Header::bare(Kind::Zero, bytes.start, length, Digest([0; 32]));
        Frame { header, payload: Vec::new(), settles: length }
    }

    async fn block(
        &mut self,
        outgoing: &Outgoing,
        number: u64,
        index: u64,
        parts: &[Range<u64>],
    ) -> Result<Frame> {
        let (start, length) = (outgoing.geometry.offset(index), outgoing.geometry.len_of(index));
        self.block.clear();
        self.block.resize(length as usize, 0);
        for part in parts {
            let place = (part.start - start) as usize..(part.end - start) as usize;
            outgoing.source.read(part.start, &mut self.block[place]).await?;
            self.shared.counters.read.fetch_add(part.end - part.start, Relaxed);
        }
        if is_zero(&self.block) {
            return Ok(self.zeros(outgoing, number, index..index + 1));
        }
        let digest = Digest::of(&self.block);
        self.fold(number, Some((index, digest)));
        let header = Header::bare(Kind::Same, start, length, digest);
        if self.shared.have.get(index) == Some(digest) {
            self.shared.counters.reused.fetch_add(length, Relaxed);
            return Ok(Frame { header, payload: Vec::new(), settles: length });
        }
        let mut payload = self.shared.buffers.take();
        let kind = if self.pack_into(&mut payload) {
            Kind::Zstd
        } else {
            payload.clear();
            payload.extend_from_slice(&self.block);
            Kind::Raw
        };
        let header = Header { kind, wire_length: payload.len() as u32, ..header };
        Ok(Frame { header, payload, settles: length })
    }

    /// Whether the block got smaller by enough. Gives up early where samples from its start and its middle do not.
    fn pack_into(&mut self, payload: &mut Vec<u8>) -> bool {
        let length = self.block.len();
        if length >= 8 * SAMPLE_BYTES {
            let worth = [0, length / 2].into_iter().any(|at| {
                let sample = at..at + SAMPLE_BYTES;
                shrinks(&mut self.pack, &self.block[sample], payload)
            });
            if !worth {
                return false;
            }
        }
        shrinks(&mut self.pack, &self.block, payload)
    }

    fn fold(&self, number: u64, block: Option<(u64, Digest)>) {
        self.shared.root.lock().unwrap_or_else(PoisonError::into_inner).push(number, block);
    }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

/// Packs into room that is smaller than the input by what makes it worth it: running out of room is the answer no.
fn shrinks(pack: &mut zstd::bulk::Compressor<'_>, bytes: &[u8], into: &mut Vec<u8>) -> bool {
    let room = bytes.len() - bytes.len() / WORTH;
    into.clear();
    into.resize(room.saturating_sub(1).max(1), 0);
    match pack.compress_to_buffer(bytes, into.as_mut_slice()) {
        Ok(length) if length < bytes.len() => {
            into.truncate(length);
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Geometry;
    use crate::ends::{MemoryDisk, Source};
    use crate::limits::BLOCK_BYTES;
    use std::time::Duration;

    fn shared(geometry: Geometry, have: DigestTable) -> Arc<Shared> {
        let root = Mutex::new(OrderedRoot::new(geometry));
        Arc::new(Shared { root, have, buffers: Buffers::new(4), counters: Arc::default() })
    }

    fn outgoing(bytes: Vec<u8>) -> Outgoing {
        let geometry = Geometry::new(bytes.len() as u64, BLOCK_BYTES).unwrap();
        let source: Arc<dyn Source> = Arc::new(MemoryDisk::new(bytes));
        Outgoing {
            source,
            geometry,
            data_bytes: 0,
            streams: 1,
            encoders: 1,
            pacer: None,
            idle: Duration::from_secs(1),
            counters: Arc::default(),
        }
    }

    async fn encode(bytes: Vec<u8>, have: Option<Digest>) -> Frame {
        let outgoing = outgoing(bytes);
        let mut table = DigestTable::new(1);
        table.set(0, have);
        let mut encoder = Encoder::new(shared(outgoing.geometry, table)).unwrap();
        let whole = 0..outgoing.geometry.size();
        let work = Work::Read { index: 0, parts: Vec::from([whole]) };
        encoder.encode(&outgoing, Task { number: 0, work }).await.unwrap()
    }

    /// Bytes that do not get smaller.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    #[tokio::test]
    async fn a_block_takes_its_smallest_form() {
        let length = BLOCK_BYTES as usize;
        assert_eq!(encode(vec![0; length], None).await.header.kind, Kind::Zero);
        let text = encode(b"the same again ".repeat(length / 15), None).await;
        assert_eq!(text.header.kind, Kind::Zstd);
        assert!(text.payload.len() < length / 100);
        let raw = encode(noise(length), None).await;
        assert_eq!((raw.header.kind, raw.payload.len()), (Kind::Raw, length));
        let half = [noise(length / 2), vec![7; length / 2]].concat();
        assert_eq!(encode(half, None).await.header.kind, Kind::Zstd);
        assert_eq!(encode(noise(1), None).await.header.kind, Kind::Raw);
    }

    #[tokio::test]
    async fn a_block_that_is_there_is_named_and_not_sent() {
        let bytes = noise(5000);
        let frame = encode(bytes.clone(), Some(Digest::of(&bytes))).await;
        assert_eq!((frame.header.kind, frame.payload.len(), frame.settles), (Kind::Same, 0, 5000));
        assert_eq!(encode(bytes, Some(Digest::of(b"other"))).await.header.kind, Kind::Raw);
    }
}
