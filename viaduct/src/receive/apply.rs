//! What one frame does to the target. Runs on a thread that may block. Nothing is written that was not checked: the place
//! against the announced disk, the content against its digest, the block against what this session already settled.

use super::journal::Record;
use super::keeper::Keeper;
use super::ledger::{Illegal, Ledger, Zeroing};
use crate::blocks::zero_runs;
use crate::digest::Digest;
use crate::ends::Target;
use crate::error::{Error, Result};
use crate::limits::HOLE_GRAIN;
use crate::progress::Counters;
use crate::wire::{Header, Kind};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// The site of a transfer, shared by the workers of a session.
#[derive(Clone, Debug)]
pub struct Site {
    pub target: Arc<dyn Target>,
    pub ledger: Arc<Ledger>,
    pub keeper: Keeper,
    pub counters: Arc<Counters>,
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

/// One worker's tools.
pub struct Worker {
    site: Site,
    unpack: zstd::bulk::Decompressor<'static>,
    block: Vec<u8>,
    whom: String,
}

impl Worker {
    pub fn new(site: Site, whom: &str) -> Result<Worker> {
        let unpack = zstd::bulk::Decompressor::new().map_err(|error| Error::io("prepare", "zstd", error))?;
        Ok(Worker { site, unpack, block: Vec::new(), whom: whom.to_owned() })
    }

    pub async fn apply(&mut self, header: &Header, payload: &[u8]) -> Result<()> {
        match header.kind {
            Kind::Raw => self.data(header, payload).await,
            Kind::Zstd => {
                let mut block = std::mem::take(&mut self.block);
                self.decompress(header, payload, &mut block)?;
                let applied = self.data(header, &block).await;
                self.block = block;
                applied
            }
            Kind::Zero => self.zeros(header).await,
            Kind::Same => self.same(header),
            kind => Err(Error::protocol(&self.whom, format!("a {kind:?} frame among the data"))),
        }
    }

    fn decompress(&mut self, header: &Header, payload: &[u8], block: &mut Vec<u8>) -> Result<()> {
        // Never more than the block that was announced, whatever the packed form claims.
        block.clear();
        block.reserve_exact(header.length as usize);
        let unpacked = self.unpack.decompress_to_buffer(payload, block);
        match unpacked {
            Ok(length) if length as u64 == header.length => Ok(()),
            Ok(_) => Err(damaged(header, "it unpacks to another length")),
            Err(_) => Err(damaged(header, "it cannot be unpacked")),
        }
    }

    async fn data(&self, header: &Header, block: &[u8]) -> Result<()> {
        let index = self.index_of(header)?;
        if Digest::of(block) != header.digest {
            return Err(damaged(header, "its digest does not match"));
        }
        let Site { target, ledger, keeper, counters } = &self.site;
        let todo = ledger.claim_data(index, header.digest).map_err(|illegal| self.illegal(illegal))?;
        if todo.forget {
            keeper.forget(index..index + 1).await?;
        }
        for (run, zero) in zero_runs(block, HOLE_GRAIN) {
            let start = header.offset + run.start as u64;
            if !zero {
                target.write(start, &block[run]).await?;
            } else if !todo.on_zeros {
                target.zero(start..header.offset + run.end as u64).await?;
            }
        }
        keeper.written(Record::Data { index, digest: header.digest }, header.length).await?;
        counters.read.fetch_add(header.length, Relaxed);
        counters.done.fetch_add(header.length, Relaxed);
        Ok(())
    }

    async fn zeros(&self, header: &Header) -> Result<()> {
        let Site { target, ledger, keeper, counters } = &self.site;
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

    fn same(&self, header: &Header) -> Result<()> {
        let index = self.index_of(header)?;
        self.site.ledger.claim_same(index, header.digest).map_err(|illegal| self.illegal(illegal))?;
        for counter in [&self.site.counters.read, &self.site.counters.reused, &self.site.counters.done] {
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

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").field("site", &self.site).finish_non_exhaustive()
    }
}

fn damaged(header: &Header, why: &str) -> Error {
    Error::Corrupted { offset: header.offset, why: why.to_owned() }
}
