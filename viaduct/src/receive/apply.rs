//! What one frame does to the target. Runs on a thread that may block. Nothing is written that was not checked: the place
//! against the announced disk, the content against its digest, the block against what this session already settled.

use super::journal::Record;
use super::keeper::Keeper;
use super::ledger::{Illegal, Ledger, Zeroing};
use super::lock::Lock;
use super::seeds::Sower;
use super::shelf::Shelf;
use crate::blocks::{disk_of_place, zero_runs};
use crate::digest::Digest;
use crate::ends::Target;
use crate::error::{Error, Result};
use crate::limits::HOLE_GRAIN;
use crate::progress::Counters;
use crate::wire::{Fill, Grains, Header, Kind, Recipe, encode_indexes};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The site of a transfer, shared by the workers of a session.
#[derive(Clone, Debug)]
pub struct Site {
    pub target: Arc<dyn Target>,
    pub shelf: Shelf,
    pub ledger: Arc<Ledger>,
    pub keeper: Keeper,
    pub counters: Arc<Counters>,
    /// Whoever can write holds it: nobody else gets at the target before the last of us is done.
    pub _lock: Arc<Lock>,
}

impl Site {
    /// Ends a transfer whose roots agree: everything is durable already. Reads the target again if asked to, lets go of it,
    /// and writes down that it is finished.
    pub async fn seal(&self, root: Digest, verify: bool) -> Result<()> {
        if verify {
            let (source, geometry) = (self.target.reread().await?, self.ledger.geometry());
            let seen = crate::root::root_of(source.into(), geometry).await?;
            if seen != root {
                let why = format!("read again, its root digest is {seen} instead of {root}");
                return Err(Error::Differs { what: self.target.name(), why });
            }
        }
        self.target.close().await?;
        let stamp = self.target.stamp().await?.unwrap_or(0);
        self.keeper.record(Record::Finished { root, stamp }).await
    }
}

/// What the sender is to be told of a frame.
#[derive(Debug)]
pub enum Answer {
    /// The block is written.
    Settled(u64),
    /// The block could not be made of what is here.
    Want(u64),
    /// What is here, at this place.
    Grains { place: u64, length: u64, grains: Grains },
}

impl Answer {
    /// Frames for answers. `backlog` is how many frames wait here to be applied.
    pub fn frames(answers: Vec<Answer>, backlog: u64) -> Vec<(Header, Vec<u8>)> {
        let (mut settled, mut wanted, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        let mut add = |kind, place, length, payload: Vec<u8>| {
            let header = Header::bare(kind, place, length, Digest::of(&payload));
            frames.push((Header { wire_length: payload.len() as u32, ..header }, payload));
        };
        for answer in answers {
            match answer {
                Answer::Settled(index) => settled.push(index),
                Answer::Want(index) => wanted.push(index),
                Answer::Grains { place, length, grains } => add(Kind::Grains, place, length, grains.encode()),
            }
        }
        for (kind, indexes, length) in [(Kind::Settled, settled, backlog), (Kind::Want, wanted, 0)] {
            if !indexes.is_empty() {
                add(kind, 0, length, encode_indexes(&indexes));
            }
        }
        frames
    }
}

/// One worker's tools.
pub struct Worker {
    site: Site,
    unpack: zstd::bulk::Decompressor<'static>,
    block: Vec<u8>,
    literals: Vec<u8>,
    whom: String,
}

impl Worker {
    pub fn new(site: Site, whom: &str) -> Result<Worker> {
        let unpack = zstd::bulk::Decompressor::new().map_err(|error| Error::io("prepare", "zstd", error))?;
        Ok(Worker { site, unpack, block: Vec::new(), literals: Vec::new(), whom: whom.to_owned() })
    }

    /// Does what the frame asks for; what the sender is to be told of it.
    pub async fn apply(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Answer>> {
        match header.kind {
            Kind::Raw => self.whole(header, payload).await.map(Some),
            Kind::Zstd => {
                let mut block = std::mem::take(&mut self.block);
                self.unpack(header, payload, header.length as usize, &mut block)?;
                let applied = self.whole(header, &block).await;
                self.block = block;
                applied.map(Some)
            }
            Kind::Mixed => self.mixed(header, payload).await.map(Some),
            Kind::Ask => self.ask(header).await.map(Some),
            Kind::Zero => self.zeros(header).await.map(|()| None),
            Kind::Same => self.same(header).await.map(|()| None),
            kind => Err(Error::protocol(&self.whom, format!("a {kind:?} frame among the data"))),
        }
    }

    /// Never more than `length`, which was announced, whatever the packed form claims.
    fn unpack(&mut self, header: &Header, packed: &[u8], length: usize, into: &mut Vec<u8>) -> Result<()> {
        into.clear();
        into.reserve_exact(length);
        match self.unpack.decompress_to_buffer(packed, into) {
            Ok(found) if found == length => Ok(()),
            Ok(_) => Err(damaged(header, "it unpacks to another length")),
            Err(_) => Err(damaged(header, "it cannot be unpacked")),
        }
    }

    async fn whole(&mut self, header: &Header, block: &[u8]) -> Result<Answer> {
        let index = self.index_of(header)?;
        if Digest::of(block) != header.digest {
            return Err(damaged(header, "its digest does not match"));
        }
        let whole = 0..block.len();
        self.settle(header, index, block, std::slice::from_ref(&whole)).await
    }

    /// Writes those parts of a checked block that do not lie there already.
    async fn settle(
        &self,
        header: &Header,
        index: u64,
        block: &[u8],
        parts: &[Range<usize>],
    ) -> Result<Answer> {
        let Site { target, ledger, keeper, counters, .. } = &self.site;
        let todo = ledger.claim_data(index, header.digest).map_err(|illegal| self.illegal(illegal))?;
        if let Some(blocks) = todo.forget {
            keeper.forget(blocks).await?;
        }
        for part in parts {
            let offset = header.offset + part.start as u64;
            lay(&**target, offset, &block[part.clone()], todo.on_zeros).await?;
        }
        keeper.written(Record::Data { index, digest: header.digest }, header.length).await?;
        counters.read.fetch_add(header.length, Relaxed);
        counters.done.fetch_add(header.length, Relaxed);
        Ok(Answer::Settled(index))
    }

    /// Makes a block of what comes and what is here, and uses it only if it is the one that was meant.
    async fn mixed(&mut self, header: &Header, payload: &[u8]) -> Result<Answer> {
        let index = self.index_of(header)?;
        let (recipe, packed, literals) =
            Recipe::decode(payload, header.length).map_err(|why| damaged(header, why))?;
        if self.site.ledger.lies(index, header.digest) {
            self.site.counters.reused.fetch_add(recipe.copied(), Relaxed);
            return self.settle(header, index, &[], &[]).await;
        }
        let mut rest = std::mem::take(&mut self.literals);
        if packed {
            self.unpack(header, literals, recipe.literal() as usize, &mut rest)?;
        } else if literals.len() as u64 == recipe.literal() {
            rest.clear();
            rest.extend_from_slice(literals);
        } else {
            return Err(damaged(header, "it does not come with the bytes it is made of"));
        }
        let mut block = std::mem::take(&mut self.block);
        let made = self.make(header, &recipe, &rest, &mut block).await;
        let answer = match made? {
            Some(parts) if Digest::of(&block) == header.digest => {
                self.site.counters.reused.fetch_add(recipe.copied(), Relaxed);
                self.settle(header, index, &block, &parts).await
            }
            _ if self.site.ledger.may_want(index) => Ok(Answer::Want(index)),
            _ => Err(damaged(header, "its digest does not match")),
        };
        (self.block, self.literals) = (block, rest);
        answer
    }

    /// The block, and which parts of it do not lie there already. `None` where a place does not exist.
    async fn make(
        &self,
        header: &Header,
        recipe: &Recipe,
        literals: &[u8],
        block: &mut Vec<u8>,
    ) -> Result<Option<Vec<Range<usize>>>> {
        let Site { target, shelf, ledger, .. } = &self.site;
        block.clear();
        block.resize(header.length as usize, 0);
        let (mut at, mut taken, mut parts) = (0, 0, Vec::<Range<usize>>::new());
        for (length, fill) in &recipe.parts {
            let part = at..at + *length as usize;
            at = part.end;
            let mut lies_there = false;
            match fill {
                Fill::Literal => {
                    block[part.clone()].copy_from_slice(&literals[taken..taken + part.len()]);
                    taken += part.len();
                }
                Fill::Zeros => {}
                Fill::Copy { from } => {
                    let buffer = &mut block[part.clone()];
                    if !shelf.read(&**target, ledger.geometry(), *from, buffer).await? {
                        return Ok(None);
                    }
                    lies_there = *from == header.offset + part.start as u64;
                }
            }
            match parts.last_mut() {
                _ if lies_there => {}
                Some(last) if last.end == part.start => last.end = part.end,
                _ => parts.push(part),
            }
        }
        Ok(Some(parts))
    }

    /// Reads what is here, and says what it is.
    async fn ask(&mut self, header: &Header) -> Result<Answer> {
        let Site { target, shelf, ledger, .. } = &self.site;
        let (place, length, geometry) = (header.offset, header.length, ledger.geometry());
        self.block.clear();
        self.block.resize(length as usize, 0);
        if !shelf.look(&**target, geometry, place, &mut self.block).await? {
            return Err(Error::protocol(&self.whom, format!("it asks about {place}, which is no place")));
        }
        let grains = Grains::of(&self.block);
        if let (Some(blocks), Some(digest)) = (geometry.blocks_at(place, length), grains.whole)
            && blocks.end - blocks.start == 1
        {
            ledger.saw(blocks.start, digest);
        }
        if let Some((index, digest)) = self.same_place(place, length).zip(grains.whole)
            && let Some(sower) = Sower::take(ledger, index, self.room_to_sow())
        {
            sower.sow(&**target, &self.block, digest).await;
        }
        Ok(Answer::Grains { place, length, grains })
    }

    /// What the target can take beyond all that the sender may have written to it, as far as that can be told.
    fn room_to_sow(&self) -> u64 {
        let Site { target, counters, .. } = &self.site;
        target.room().map_or(0, |room| room.saturating_sub(counters.data.load(Relaxed)))
    }

    /// The block of the target that lies where this range lies on another disk.
    fn same_place(&self, place: u64, length: u64) -> Option<u64> {
        let (_, offset) = disk_of_place(place)?;
        let blocks = self.site.ledger.geometry().blocks_at(offset, length)?;
        (blocks.end - blocks.start == 1).then_some(blocks.start)
    }

    async fn zeros(&self, header: &Header) -> Result<()> {
        let Site { target, ledger, keeper, counters, .. } = &self.site;
        let geometry = ledger.geometry();
        let blocks = geometry
            .blocks_at(header.offset, header.length)
            .ok_or_else(|| Error::protocol(&self.whom, "zeros that are not whole blocks of the disk"))?;
        for (run, todo) in ledger.claim_zeros(blocks).map_err(|illegal| self.illegal(illegal))? {
            let bytes: Range<u64> = geometry.bytes_of_run(&run);
            let length = bytes.end - bytes.start;
            if let Zeroing::Write { forget } = todo {
                if forget {
                    keeper.forget(run.clone()).await?;
                }
                target.zero(bytes).await?;
            }
            if todo != Zeroing::Nothing {
                keeper.written(Record::Zeros { blocks: run }, 0).await?;
            }
            counters.zero.fetch_add(length, Relaxed);
            counters.done.fetch_add(length, Relaxed);
        }
        Ok(())
    }

    async fn same(&self, header: &Header) -> Result<()> {
        let Site { ledger, keeper, counters, .. } = &self.site;
        let (index, digest) = (self.index_of(header)?, header.digest);
        let recorded = ledger.claim_same(index, digest).map_err(|illegal| self.illegal(illegal))?;
        if !recorded {
            keeper.written(Record::Data { index, digest }, 0).await?;
        }
        for counter in [&counters.read, &counters.reused, &counters.done] {
            counter.fetch_add(header.length, Relaxed);
        }
        Ok(())
    }

    fn index_of(&self, header: &Header) -> Result<u64> {
        let geometry = self.site.ledger.geometry();
        geometry
            .index_at(header.offset)
            .filter(|index| geometry.len_of(*index) == header.length)
            .ok_or_else(|| Error::protocol(&self.whom, "a block that is not one of the disk"))
    }

    fn illegal(&self, illegal: Illegal) -> Error {
        Error::protocol(&self.whom, illegal.to_string())
    }
}

/// Writes from `offset` on what is not zeros there already.
pub(super) async fn lay(target: &dyn Target, offset: u64, bytes: &[u8], on_zeros: bool) -> Result<()> {
    for (run, zero) in zero_runs(bytes, HOLE_GRAIN) {
        let start = offset + run.start as u64;
        if !zero || (!on_zeros && run.len() < HOLE_GRAIN) {
            target.write(start, &bytes[run]).await?;
        } else if !on_zeros {
            target.zero(start..offset + run.end as u64).await?;
        }
    }
    Ok(())
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("site", &self.site).finish_non_exhaustive()
    }
}

fn damaged(header: &Header, why: &str) -> Error {
    Error::Corrupted { offset: header.offset, why: why.to_owned() }
}
