//! One pass over the disk: reads what may hold data, drops zeros and what the target has, writes the rest in long runs. The
//! journal is kept as a receiver keeps it.

use crate::blocks::{Geometry, is_zero, zero_runs};
use crate::digest::Digest;
use crate::ends::{FarTarget, Source, read_parts, sha256};
use crate::error::{Error, Result};
use crate::limits::{COPIERS, COPY_BYTES, HOLE_GRAIN};
use crate::plan::{Planner, Work};
use crate::receive::{Record, Site, Zeroing};
use crate::table::DigestTable;
use std::ops::Range;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinSet;

pub struct Task {
    pub site: Site,
    pub source: Arc<dyn Source>,
    pub geometry: Geometry,
    pub far: Option<FarTarget>,
    /// SHA-256 of every block that holds data, where a far host is to be asked for its own.
    sums: Mutex<DigestTable>,
}

/// Blocks that follow each other, with the parts of each that may hold data.
type Blocks = Vec<(u64, Vec<Range<u64>>)>;

enum Job {
    Read(Blocks),
    Zeros(Range<u64>),
}

impl Task {
    pub fn new(site: Site, source: Arc<dyn Source>, geometry: Geometry, far: Option<FarTarget>) -> Task {
        let sums = Mutex::new(DigestTable::new(geometry.blocks()));
        Task { site, source, geometry, far, sums }
    }

    pub fn sums(&self) -> MutexGuard<'_, DigestTable> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is written down about a block.
    pub fn known(&self, index: u64) -> Option<Digest> {
        let first = self.site.ledger.have(index, 1);
        first.first().filter(|(found, _)| *found == index).map(|(_, digest)| *digest)
    }

    /// Whether there is anything that tells SHA-256 over there.
    fn wants_sums(&self) -> bool {
        self.far.as_ref().is_some_and(|far| far.sum_command().is_some())
    }
}

/// The root of the disk, once all of it is durable.
pub async fn run(task: &Arc<Task>) -> Result<Digest> {
    task.site.ledger.begin_session();
    let (jobs, todo) = async_channel::bounded::<Job>(COPIERS);
    let mut running = JoinSet::new();
    for _ in 0..COPIERS {
        let (task, todo) = (task.clone(), todo.clone());
        running.spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            let mut worker = Worker { task: &task, block: Vec::new(), under: Vec::new() };
            while let Ok(job) = todo.recv_blocking() {
                if let Err(error) = runtime.block_on(worker.act(job)) {
                    // The others stop too, and so does the planner.
                    todo.close();
                    return Err(error);
                }
            }
            Ok(())
        });
    }
    let planning = task.clone();
    running.spawn_blocking(move || tokio::runtime::Handle::current().block_on(plan(&planning, &jobs)));
    let guard = Closing(todo);
    let mut outcome = Ok(());
    while let Some(ended) = running.join_next().await {
        let ended = ended.map_err(|error| Error::io("run", "a worker", error.into())).flatten();
        // The first error is the cause of the others.
        outcome = outcome.and(ended);
    }
    drop(guard);
    outcome?;
    task.site.keeper.settle().await?;
    task.site.ledger.root().ok_or_else(|| Error::Differs {
        what: task.site.target.name(),
        why: format!("{} blocks were not settled", task.site.ledger.unsettled()),
    })
}

/// Lets the threads run out, also where nobody waits for them any more.
struct Closing(async_channel::Receiver<Job>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

async fn plan(task: &Task, jobs: &async_channel::Sender<Job>) -> Result<()> {
    let most = (COPY_BYTES / u64::from(task.geometry.block_bytes())).max(1) as usize;
    let mut planner = Planner::new(&*task.source, task.geometry);
    let mut blocks: Blocks = Vec::new();
    while let Some(work) = planner.next().await? {
        // A job that is not taken means that a worker failed: it tells why.
        match work {
            Work::Read { index, parts } => {
                blocks.push((index, parts));
                if blocks.len() >= most && jobs.send(Job::Read(std::mem::take(&mut blocks))).await.is_err() {
                    return Ok(());
                }
            }
            Work::Zeros { blocks: zeros } => {
                let before = std::mem::take(&mut blocks);
                if !before.is_empty() && jobs.send(Job::Read(before)).await.is_err() {
                    return Ok(());
                }
                if jobs.send(Job::Zeros(zeros)).await.is_err() {
                    return Ok(());
                }
            }
            Work::Kept { .. } | Work::Probe { .. } => unreachable!("the planner asks nobody"),
        }
    }
    if !blocks.is_empty() {
        let _ = jobs.send(Job::Read(blocks)).await;
    }
    Ok(())
}

struct Worker<'a> {
    task: &'a Task,
    /// What was read, of all blocks of a job.
    block: Vec<u8>,
    under: Vec<u8>,
}

impl Worker<'_> {
    async fn act(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Zeros(blocks) => self.zeros(blocks).await,
            Job::Read(blocks) => self.copy(&blocks).await,
        }
    }

    async fn copy(&mut self, blocks: &Blocks) -> Result<()> {
        let Task { site, geometry, .. } = self.task;
        self.read(blocks).await?;
        let Some((first, _)) = blocks.first() else { return Ok(()) };
        let mut data = Vec::with_capacity(blocks.len());
        for (index, _) in blocks {
            if is_zero(self.bytes_of(*first, *index)) {
                self.zeros(*index..index + 1).await?;
                continue;
            }
            let bytes = self.bytes_of(*first, *index);
            data.push((*index, Digest::of(bytes)));
            if self.task.wants_sums() {
                self.task.sums().set(*index, Some(Digest(sha256(bytes))));
            }
        }
        if !site.target.began_as_zeros() {
            self.look_under(&data).await?;
        }
        let mut run: Vec<(u64, Digest)> = Vec::new();
        for (index, digest) in data {
            if let Ok(recorded) = site.ledger.claim_same(index, digest) {
                if !recorded {
                    site.keeper.written(Record::Data { index, digest }, 0).await?;
                }
                site.counters.reused.fetch_add(geometry.len_of(index), Relaxed);
                site.counters.done.fetch_add(geometry.len_of(index), Relaxed);
                continue;
            }
            if run.last().is_some_and(|(last, _)| last + 1 != index) {
                self.write(*first, &std::mem::take(&mut run)).await?;
            }
            run.push((index, digest));
        }
        self.write(*first, &run).await
    }

    async fn read(&mut self, blocks: &Blocks) -> Result<()> {
        let Task { source, geometry, site, .. } = self.task;
        let (Some((first, _)), Some((last, _))) = (blocks.first(), blocks.last()) else { return Ok(()) };
        let bytes = geometry.bytes_of_run(&(*first..last + 1));
        let mut parts: Vec<Range<u64>> = Vec::new();
        for part in blocks.iter().flat_map(|(_, parts)| parts) {
            match parts.last_mut() {
                Some(before) if before.end == part.start => before.end = part.end,
                _ => parts.push(part.clone()),
            }
        }
        let read = read_parts(&**source, bytes, &parts, &mut self.block).await?;
        site.counters.read.fetch_add(read, Relaxed);
        Ok(())
    }

    fn bytes_of(&self, first: u64, index: u64) -> &[u8] {
        let start = self.task.geometry.offset(index) - self.task.geometry.offset(first);
        &self.block[start as usize..][..self.task.geometry.len_of(index) as usize]
    }

    /// Finds out which of these blocks lie at the target already though nothing is written down about them.
    async fn look_under(&mut self, data: &[(u64, Digest)]) -> Result<()> {
        let Task { site, geometry, far, .. } = self.task;
        let unknown: Vec<_> = data.iter().filter(|(index, _)| self.task.known(*index).is_none()).collect();
        let (Some((first, _)), Some((last, _))) = (unknown.first(), unknown.last()) else { return Ok(()) };
        let Some(far) = far else {
            for (index, digest) in unknown {
                self.under.clear();
                self.under.resize(geometry.len_of(*index) as usize, 0);
                site.target.read(geometry.offset(*index), &mut self.under).await?;
                if Digest::of(&self.under) == *digest {
                    site.ledger.saw(*index, *digest);
                }
            }
            return Ok(());
        };
        // Without a digest from over there, reading would take as long as writing.
        let Some(sums) = far.sums(*geometry, *first..last + 1) else { return Ok(()) };
        let sums = sums?;
        for (index, digest) in unknown {
            if self.task.sums().get(*index).map(|sum| sum.0) == Some(sums[(index - first) as usize]) {
                site.ledger.saw(*index, *digest);
            }
        }
        Ok(())
    }

    /// Writes blocks that follow each other; `first` is the block with which the buffer begins.
    async fn write(&self, first: u64, run: &[(u64, Digest)]) -> Result<()> {
        let Task { site, geometry, far, .. } = self.task;
        let (Some((start, _)), Some((end, _))) = (run.first(), run.last()) else { return Ok(()) };
        let mut on_zeros = true;
        for (index, digest) in run {
            let todo = site.ledger.claim_data(*index, *digest).map_err(|illegal| odd(&illegal))?;
            if let Some(blocks) = todo.forget {
                site.keeper.forget(blocks).await?;
            }
            on_zeros &= todo.on_zeros;
        }
        let bytes = geometry.bytes_of_run(&(*start..end + 1));
        let skip = (bytes.start - geometry.offset(first)) as usize;
        let content = &self.block[skip..skip + (bytes.end - bytes.start) as usize];
        if far.is_some() {
            // Every call over there takes a while; zeros within blocks take less.
            site.target.write(bytes.start, content).await?;
        } else {
            for (piece, zero) in zero_runs(content, HOLE_GRAIN) {
                let at = bytes.start + piece.start as u64..bytes.start + piece.end as u64;
                if !zero || (!on_zeros && piece.len() < HOLE_GRAIN) {
                    site.target.write(at.start, &content[piece]).await?;
                } else if !on_zeros {
                    site.target.zero(at).await?;
                }
            }
        }
        for (index, digest) in run {
            let length = geometry.len_of(*index);
            site.keeper.written(Record::Data { index: *index, digest: *digest }, length).await?;
            site.counters.done.fetch_add(length, Relaxed);
        }
        Ok(())
    }

    async fn zeros(&self, blocks: Range<u64>) -> Result<()> {
        let Task { site, geometry, .. } = self.task;
        for (run, todo) in site.ledger.claim_zeros(blocks).map_err(|illegal| odd(&illegal))? {
            let bytes = geometry.bytes_of_run(&run);
            let length = bytes.end - bytes.start;
            if let Zeroing::Write { forget } = todo {
                if forget {
                    site.keeper.forget(run.clone()).await?;
                }
                site.target.zero(bytes).await?;
            }
            if todo != Zeroing::Nothing {
                site.keeper.written(Record::Zeros { blocks: run }, 0).await?;
            }
            site.counters.zero.fetch_add(length, Relaxed);
            site.counters.done.fetch_add(length, Relaxed);
        }
        Ok(())
    }
}

/// The planner names every block once: this does not happen.
fn odd(illegal: &impl std::fmt::Display) -> Error {
    Error::protocol("the copy", illegal.to_string())
}
