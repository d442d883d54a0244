//! Turns work into frames: reads the block, drops zeros and what the receiver has, makes the rest of what can be copied
//! there, packs what gets smaller. Each worker has a thread that may block and buffers of its own.

use super::Outgoing;
use super::compose::{compose, literals};
use super::effort::Effort;
use super::known::Known;
use super::pack::Packers;
use crate::blocks::is_zero;
use crate::buffers::Buffers;
use crate::digest::{Digest, OrderedRoot};
use crate::ends::read_parts;
use crate::error::{Error, Result};
use crate::limits::GRAIN_BYTES;
use crate::plan::Work;
use crate::progress::Counters;
use crate::table::DigestTable;
use crate::wire::{Grains, Header, Kind, Recipe, digests_of_grains};
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

/// What a worker is to do.
#[derive(Debug)]
pub enum Job {
    /// Work, numbered in the order of the disk.
    Planned { number: u64, work: Work },
    /// The receiver could not make this block of what it has.
    Again { index: u64 },
}

/// A frame ready for the line.
#[derive(Debug)]
pub struct Frame {
    pub header: Header,
    pub payload: Vec<u8>,
    /// Bytes of the disk that are settled with it.
    pub settles: u64,
    /// Whether a job is done when the frame has left. One of a mixed block is done when the receiver has written it; a
    /// question is none.
    pub completes: bool,
}

impl Frame {
    fn bare(header: Header, settles: u64) -> Frame {
        Frame { header, payload: Vec::new(), settles, completes: true }
    }

    /// A question about what the receiver has.
    pub fn ask(place: u64, length: u64) -> Frame {
        let header = Header::bare(Kind::Ask, place, length, Digest::NONE);
        Frame { completes: false, ..Frame::bare(header, 0) }
    }
}

/// What the workers of one attempt share.
#[derive(Debug)]
pub struct Shared {
    pub root: Mutex<OrderedRoot>,
    pub have: DigestTable,
    pub known: Known,
    pub packers: Packers,
    pub effort: Effort,
    pub buffers: Buffers,
    pub counters: Arc<Counters>,
}

pub struct Encoder {
    shared: Arc<Shared>,
    asks: async_channel::Sender<Frame>,
    block: Vec<u8>,
}

impl Encoder {
    /// Questions that the work raises are put to `asks`.
    pub fn new(shared: Arc<Shared>, asks: async_channel::Sender<Frame>) -> Encoder {
        Encoder { shared, asks, block: Vec::new() }
    }

    pub async fn encode(&mut self, outgoing: &Outgoing, job: Job) -> Result<Frame> {
        match job {
            Job::Planned { number, work } => match work {
                Work::Zeros { blocks } => Ok(self.zeros(outgoing, number, blocks)),
                Work::Read { index, parts } => self.read_block(outgoing, number, index, &parts).await,
                Work::Kept { index } => self.kept(outgoing, number, index),
                Work::Probe { index } => self.probe(outgoing, number, index).await,
            },
            Job::Again { index } => self.again(outgoing, index).await,
        }
    }

    fn zeros(&self, outgoing: &Outgoing, number: u64, blocks: Range<u64>) -> Frame {
        self.fold(number, None);
        let bytes = outgoing.geometry.bytes_of_run(&blocks);
        let length = bytes.end - bytes.start;
        self.shared.counters.zero.fetch_add(length, Relaxed);
        Frame::bare(Header::bare(Kind::Zero, bytes.start, length, Digest::NONE), length)
    }

    async fn read_block(
        &mut self,
        outgoing: &Outgoing,
        number: u64,
        index: u64,
        parts: &[Range<u64>],
    ) -> Result<Frame> {
        let (start, length) = (outgoing.geometry.offset(index), outgoing.geometry.len_of(index));
        let there = self.shared.have.get(index);
        // Asked before reading, so that both ends read at the same time.
        let mut asked = None;
        if there.is_none() && self.shared.known.worth_asking(index) {
            asked = Some(self.ask(start, length).await);
        }
        self.read(outgoing, index, parts).await?;
        if is_zero(&self.block) {
            return Ok(self.zeros(outgoing, number, index..index + 1));
        }
        let digest = Digest::of(&self.block);
        self.fold(number, Some((index, digest)));
        if there == Some(digest) {
            return Ok(self.same(outgoing, index, digest));
        }
        if there.is_some() {
            asked = Some(self.ask(start, length).await);
        }
        let under = match asked {
            Some(answer) => answer.await.ok(),
            None => None,
        };
        if under.as_ref().is_some_and(|under| under.whole == Some(digest)) {
            self.shared.known.judge(true);
            return Ok(self.same(outgoing, index, digest));
        }
        let grains = digests_of_grains(&self.block);
        if let Some(under) = under.as_ref().filter(|under| under.whole.is_some()) {
            let of_use = under.each.iter().zip(&grains).any(|(there, here)| there == here);
            self.shared.known.judge(of_use);
        }
        Ok(self.block_frame(start, index, digest, grains, under.as_ref()))
    }

    /// The block that was read, in the form that takes least.
    fn block_frame(
        &mut self,
        start: u64,
        index: u64,
        digest: Digest,
        grains: Vec<Digest>,
        under: Option<&Grains>,
    ) -> Frame {
        let recipe = compose(start, self.block.len(), &grains, under, &self.shared.known);
        let header = Header::bare(Kind::Mixed, start, self.block.len() as u64, digest);
        if recipe.copied() > 0 {
            let payload = self.mixed(&recipe);
            if payload.len() < self.block.len() {
                self.shared.counters.reused.fetch_add(recipe.copied(), Relaxed);
                self.shared.known.leaves(index, digest, grains, true);
                let header = Header { wire_length: payload.len() as u32, ..header };
                return Frame { header, payload, settles: header.length, completes: false };
            }
            self.shared.buffers.give(payload);
        }
        self.shared.known.leaves(index, digest, grains, false);
        self.plain(header)
    }

    fn mixed(&mut self, recipe: &Recipe) -> Vec<u8> {
        let Encoder { shared, block, .. } = self;
        let mut rest = shared.buffers.take(recipe.literal() as usize);
        literals(recipe, block, &mut rest);
        let mut payload = shared.buffers.take(recipe.encoded_bytes() + rest.len());
        recipe.encode(true, &mut payload);
        let packed =
            shared.effort.level().is_some_and(|level| shared.packers.pack(&rest, level, &mut payload));
        if !packed {
            payload.clear();
            recipe.encode(false, &mut payload);
            payload.extend_from_slice(&rest);
        }
        shared.buffers.give(rest);
        payload
    }

    /// The whole block, as it is or packed.
    fn plain(&mut self, header: Header) -> Frame {
        let mut payload = self.shared.buffers.take(self.block.len());
        let level = self.shared.effort.level();
        let packed = level.is_some_and(|level| self.shared.packers.pack(&self.block, level, &mut payload));
        let kind = if packed { Kind::Zstd } else { Kind::Raw };
        if !packed {
            payload.extend_from_slice(&self.block);
        }
        let header = Header { kind, wire_length: payload.len() as u32, ..header };
        Frame { header, payload, settles: header.length, completes: true }
    }

    fn same(&self, outgoing: &Outgoing, index: u64, digest: Digest) -> Frame {
        let (start, length) = (outgoing.geometry.offset(index), outgoing.geometry.len_of(index));
        self.shared.counters.reused.fetch_add(length, Relaxed);
        Frame::bare(Header::bare(Kind::Same, start, length, digest), length)
    }

    /// A block that the source says has not changed since the state the receiver has.
    fn kept(&self, outgoing: &Outgoing, number: u64, index: u64) -> Result<Frame> {
        let there = self.shared.have.get(index);
        let digest = there.ok_or_else(|| bitmap_lies(outgoing, index))?;
        self.fold(number, Some((index, digest)));
        Ok(self.same(outgoing, index, digest))
    }

    async fn probe(&mut self, outgoing: &Outgoing, number: u64, index: u64) -> Result<Frame> {
        let whole = outgoing.geometry.bytes_of(index);
        self.read(outgoing, index, std::slice::from_ref(&whole)).await?;
        if self.shared.have.get(index) != Some(Digest::of(&self.block)) {
            return Err(bitmap_lies(outgoing, index));
        }
        self.kept(outgoing, number, index)
    }

    /// A block that must be what it was when its digest was told.
    async fn again(&mut self, outgoing: &Outgoing, index: u64) -> Result<Frame> {
        let whole = outgoing.geometry.bytes_of(index);
        self.read(outgoing, index, std::slice::from_ref(&whole)).await?;
        let digest = Digest::of(&self.block);
        if self.shared.known.announced(index) != Some(digest) {
            let why = format!("the block at byte {} is not what it was a moment ago", whole.start);
            return Err(Error::SourceChanged { what: outgoing.source.name(), why });
        }
        let frame = self.plain(Header::bare(Kind::Raw, whole.start, whole.end - whole.start, digest));
        // It counted when it was first sent, and is done when the receiver has written it.
        Ok(Frame { settles: 0, completes: false, ..frame })
    }

    async fn read(&mut self, outgoing: &Outgoing, index: u64, parts: &[Range<u64>]) -> Result<()> {
        let (start, length) = (outgoing.geometry.offset(index), outgoing.geometry.len_of(index));
        let whole = start..start + length;
        let read =
            read_parts(&*outgoing.source, whole.clone(), &spans(parts, whole), &mut self.block).await?;
        self.shared.counters.read.fetch_add(read, Relaxed);
        // What was read only because it lies beside a part counts as zeros all the same.
        let mut at = start;
        for part in parts {
            self.block[(at - start) as usize..(part.start - start) as usize].fill(0);
            at = part.end;
        }
        self.block[(at - start) as usize..].fill(0);
        Ok(())
    }

    async fn ask(&self, place: u64, length: u64) -> oneshot::Receiver<Grains> {
        let answer = self.shared.known.expect(place);
        // Where the line is gone there is no answer either.
        let _ = self.asks.send(Frame::ask(place, length)).await;
        answer
    }

    fn fold(&self, number: u64, block: Option<(u64, Digest)>) {
        self.shared.root.lock().unwrap_or_else(PoisonError::into_inner).push(number, block);
    }
}

/// What to read of a block for the sake of some parts of it: whole grains, because a device reads no less.
fn spans(parts: &[Range<u64>], block: Range<u64>) -> Vec<Range<u64>> {
    const GRAIN: u64 = GRAIN_BYTES as u64;
    let mut spans: Vec<Range<u64>> = Vec::new();
    for part in parts {
        let start = (part.start - part.start % GRAIN).max(block.start);
        let end = part.end.next_multiple_of(GRAIN).min(block.end);
        match spans.last_mut() {
            Some(last) if start <= last.end => last.end = end,
            _ => spans.push(start..end),
        }
    }
    spans
}

fn bitmap_lies(outgoing: &Outgoing, index: u64) -> Error {
    let at = outgoing.geometry.offset(index);
    let why = format!("its bitmap does not know of a change at byte {at} since the state the target has");
    Error::Bitmap { what: outgoing.source.name(), why }
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::Geometry;
    use crate::ends::{MemoryDisk, Source};
    use crate::limits::BLOCK_BYTES;
    use crate::send::index::GrainIndex;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    fn shared(geometry: Geometry, have: DigestTable) -> Arc<Shared> {
        let index = GrainIndex::for_data(geometry.size(), geometry.blocks());
        Arc::new(Shared {
            root: Mutex::new(OrderedRoot::new(geometry)),
            have,
            known: Known::new(index, false, std::iter::empty()),
            packers: Packers::new().unwrap(),
            effort: Effort::new(),
            buffers: Buffers::new(4),
            counters: Arc::default(),
        })
    }

    fn outgoing(bytes: Vec<u8>) -> Outgoing {
        let geometry = Geometry::new(bytes.len() as u64, BLOCK_BYTES).unwrap();
        let source: Arc<dyn Source> = Arc::new(MemoryDisk::new(bytes));
        Outgoing {
            source,
            geometry,
            data_bytes: 0,
            second: None,
            streams: Some(1),
            since: None,
            bitmap_lied: AtomicBool::new(false),
            encoders: 1,
            pacer: None,
            idle: Duration::from_secs(1),
            counters: Arc::default(),
        }
    }

    #[test]
    fn whole_grains_are_read_and_nothing_outside_of_the_block() {
        let block = 1 << 20..2 << 20;
        let at = |from: u64, to: u64| (1 << 20) + from..(1 << 20) + to;
        assert_eq!(spans(&[], block.clone()), []);
        assert_eq!(spans(&[at(512, 1024)], block.clone()), [at(0, 4096)]);
        assert_eq!(spans(&[at(0, 100), at(200, 5000)], block.clone()), [at(0, 8192)]);
        assert_eq!(spans(&[at(0, 100), at(9000, 9001)], block), [at(0, 4096), at(8192, 12288)]);
        // The end of a disk may lie anywhere.
        assert_eq!(spans(&[at(0, 5000)], 1 << 20..(1 << 20) + 5001), [at(0, 5001)]);
    }

    async fn encode(bytes: Vec<u8>, have: Option<Digest>) -> Frame {
        let outgoing = outgoing(bytes);
        let mut table = DigestTable::new(1);
        table.set(0, have);
        let (asks, asked) = async_channel::bounded(4);
        let shared = shared(outgoing.geometry, table);
        // Whatever is asked here gets no answer.
        shared.known.close();
        drop(asked);
        let mut encoder = Encoder::new(shared, asks);
        let whole = 0..outgoing.geometry.size();
        let work = Work::Read { index: 0, parts: Vec::from([whole]) };
        encoder.encode(&outgoing, Job::Planned { number: 0, work }).await.unwrap()
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
