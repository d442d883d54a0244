//! The way of the blocks from the source to the streams: a planner and encoders on threads that may block, joined by short
//! queues, so that the slowest part sets the pace and memory stays small. Knows when all is sent, and what it adds up to.

use super::Outgoing;
use super::changes::Changes;
use super::effort::Effort;
use super::encode::{Encoder, Frame, Job, Shared};
use super::index::GrainIndex;
use super::known::{Known, Receipt};
use super::order::{Order, SECOND_NUMBERS, Weights};
use super::pack::Packers;
use super::session::Learnt;
use crate::apart::apart;
use crate::buffers::Buffers;
use crate::digest::{Digest, OrderedRoot};
use crate::error::{Error, Result};
use crate::limits::{ASK_AHEAD_BYTES, ASK_AHEAD_FIRST_BYTES, QUEUED_BYTES};
use crate::plan::Work;
use crate::wire::{Grains, Kind, Totals};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Jobs that wait for each worker: few, because which is best next depends on how the line does.
const PLANNED_AHEAD: usize = 2;

/// What was sent, as told to the receiver.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    pub root: Digest,
    pub totals: Totals,
}

#[derive(Debug)]
pub struct Line {
    pub outgoing: Arc<Outgoing>,
    pub shared: Arc<Shared>,
    /// Frames for whichever stream is free. Closed and empty when there are no more.
    pub ready: async_channel::Receiver<Frame>,
    frames: async_channel::Sender<Frame>,
    /// Not bounded itself, so that whoever reads what the receiver says never waits: planned jobs are bounded by `room`,
    /// jobs that are done again by what is in flight.
    jobs: async_channel::Sender<Job>,
    todo: async_channel::Receiver<Job>,
    room: Semaphore,
    /// Jobs not completed yet, and one for the planner while it plans. Nothing is left to do at zero.
    open: AtomicU64,
    /// The number after the last job's; unknown until all are planned.
    planned: AtomicU64,
    changes: Changes,
    weights: Weights,
    streams: u16,
    failure: Mutex<Option<Error>>,
    agreed: Mutex<Option<Agreed>>,
}

impl Line {
    pub fn start(outgoing: Arc<Outgoing>, learnt: Learnt, streams: u16) -> Result<Arc<Line>> {
        // A queued frame is a block in memory; so is the one that each encoder and each writer works on.
        let queued = (QUEUED_BYTES / outgoing.geometry.block_bytes()).max(1);
        let (jobs, todo) = async_channel::unbounded();
        let (frames, ready) = async_channel::bounded(queued as usize);
        let shelf_bytes: u64 = learnt.shelf.iter().map(|(_, size)| size).sum();
        let index =
            GrainIndex::for_data(outgoing.data_bytes.saturating_add(shelf_bytes), outgoing.geometry.blocks());
        let changes = Changes::new(&outgoing, learnt.base);
        // Where other disks are told in order, the work stays in order.
        let second = outgoing.second.filter(|_| learnt.shelf.is_empty());
        let shared = Shared {
            root: Mutex::new(OrderedRoot::new(outgoing.geometry)),
            known: Known::new(index, learnt.old, learnt.shelf.iter().copied()),
            have: learnt.have,
            packers: Packers::new()?,
            effort: Effort::new(),
            buffers: Buffers::new(queued as usize),
            counters: outgoing.counters.clone(),
        };
        Ok(Arc::new(Line {
            changes,
            weights: Weights::new(second),
            room: Semaphore::new(PLANNED_AHEAD * outgoing.encoders),
            outgoing,
            shared: Arc::new(shared),
            ready,
            frames,
            jobs,
            todo,
            open: AtomicU64::new(1),
            planned: AtomicU64::new(u64::MAX),
            streams,
            failure: Mutex::new(None),
            agreed: Mutex::new(None),
        }))
    }

    /// Starts the threads. What makes one of them fail is told by [`Line::conclude`].
    pub fn start_workers(self: &Arc<Line>, jobs: &mut JoinSet<Result<()>>) {
        for _ in 0..self.outgoing.encoders {
            let (line, mut encoder) = (self.clone(), Encoder::new(self.shared.clone(), self.frames.clone()));
            jobs.spawn_blocking(move || {
                let runtime = tokio::runtime::Handle::current();
                while let Ok(job) = line.todo.recv_blocking() {
                    if matches!(job, Job::Planned { .. }) {
                        line.room.add_permits(1);
                    }
                    match runtime.block_on(encoder.encode(&line.outgoing, job)) {
                        Ok(frame) => line.queue(frame),
                        Err(error) => line.fail(error),
                    }
                }
                Ok(())
            });
        }
        let line = self.clone();
        jobs.spawn_blocking(move || {
            let planned = tokio::runtime::Handle::current().block_on(line.plan());
            planned.unwrap_or_else(|error| line.fail(error));
            Ok(())
        });
    }

    fn queue(&self, frame: Frame) {
        let on_wire = self.shared.counters.on_wire.load(Ordering::Relaxed);
        let room = self.frames.capacity().unwrap_or(1);
        if !frame.payload.is_empty() {
            self.shared.effort.observe(self.frames.len(), room, on_wire, Instant::now());
        }
        if matches!(frame.header.kind, Kind::Raw | Kind::Zstd | Kind::Mixed | Kind::Same) {
            let index = frame.header.offset / u64::from(self.outgoing.geometry.block_bytes());
            self.weights.observe(index, frame.header.length, frame.payload.len() as u64);
        }
        // Closed only when the attempt is over.
        let _ = self.frames.send_blocking(frame);
    }

    async fn plan(&self) -> Result<()> {
        let mut order = Order::new(&self.outgoing, &self.changes, &self.weights, &self.shared.have);
        let limit = (self.shared.known.index_bytes() / 2).min(ASK_AHEAD_BYTES);
        loop {
            let idle = self.frames.len() * 2 <= self.frames.capacity().unwrap_or(1);
            let next = order.next(idle).await?;
            let Some((number, work)) = next else { break };
            if let Work::Read { index, parts } = &work {
                let block = self.outgoing.geometry.bytes_of(*index);
                // More and more: what the first answers are good for shows before all of the disks is read for them.
                let ahead = limit.min(ASK_AHEAD_FIRST_BYTES.saturating_add(block.start.saturating_mul(2)));
                for (place, length) in self.shared.known.ask_up_to(block.start.saturating_add(ahead)) {
                    let _ = self.frames.send(Frame::ask(place, length)).await;
                }
                for part in parts {
                    self.outgoing.source.will_read(part.clone());
                }
                self.shared.known.told_up_to(block.end).await;
            }
            match self.room.acquire().await {
                Ok(room) => room.forget(),
                Err(_) => return Ok(()),
            }
            self.open.fetch_add(1, Ordering::AcqRel);
            if self.jobs.try_send(Job::Planned { number, work }).is_err() {
                return Ok(());
            }
        }
        let (first, end) = order.ends();
        if end > first {
            self.shared.root.lock().unwrap_or_else(PoisonError::into_inner).gap(first, SECOND_NUMBERS);
        }
        self.planned.store(end, Ordering::Release);
        self.complete_one();
        Ok(())
    }

    /// A job is done. After the last one there is nothing more to send.
    pub fn complete_one(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.close();
        }
    }

    /// The receiver has written these blocks, and has so many frames lying there that it did not get round to yet.
    pub fn settled(&self, indexes: impl Iterator<Item = u64>, backlog: u64) {
        self.shared.effort.receiver_has(backlog);
        for index in indexes {
            let place = index.saturating_mul(self.outgoing.geometry.block_bytes().into());
            if self.shared.known.settled(index, place) == Receipt::Awaited {
                self.complete_one();
            }
        }
    }

    /// The receiver cannot make these blocks of what it has. `false` where it cannot rightly say so.
    pub fn wanted(&self, mut indexes: impl Iterator<Item = u64>) -> bool {
        indexes
            .all(|index| self.shared.known.wanted(index) && self.jobs.try_send(Job::Again { index }).is_ok())
    }

    /// The receiver's answer to a question.
    pub fn answered(&self, place: u64, grains: Grains) -> bool {
        self.shared.known.answer(place, grains)
    }

    /// To be called when `ready` is closed and empty: what was sent, if that was the whole disk and the disk lay still.
    pub async fn conclude(&self) -> Result<Agreed> {
        if let Some(error) = take(&self.failure) {
            return Err(error);
        }
        let source = self.outgoing.source.clone();
        apart(async move { source.check_unchanged().await }).await?;
        let counters = &self.outgoing.counters;
        let folded = self.shared.root.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(root) = folded.finish(self.planned.load(Ordering::Acquire)) else {
            return Err(Error::CallerGone);
        };
        let totals = Totals {
            read: counters.read.load(Ordering::Relaxed),
            zero: counters.zero.load(Ordering::Relaxed),
            reused: counters.reused.load(Ordering::Relaxed),
            on_wire: counters.on_wire.load(Ordering::Relaxed),
            streams: self.streams,
        };
        let agreed = Agreed { root, totals };
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some(agreed);
        Ok(agreed)
    }

    pub fn agreed(&self) -> Option<Agreed> {
        *self.agreed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the threads run out.
    pub fn close(&self) {
        self.todo.close();
        self.ready.close();
        self.room.close();
        self.shared.known.close();
    }

    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.close();
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
