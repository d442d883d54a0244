//! The way of the blocks from the source to the streams: a planner and encoders on threads that may block, joined by short
//! queues, so that the slowest part sets the pace and memory stays small. Knows when all is sent, and what it adds up to.

use super::Outgoing;
use super::encode::{Encoder, Frame, Shared, Task};
use crate::buffers::Buffers;
use crate::digest::{Digest, OrderedRoot};
use crate::error::{Error, Result};
use crate::limits::IN_FLIGHT_BYTES;
use crate::plan::Planner;
use crate::table::DigestTable;
use crate::wire::Totals;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

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
    frames: Mutex<Option<async_channel::Sender<Frame>>>,
    tasks: Mutex<Option<async_channel::Sender<Task>>>,
    todo: async_channel::Receiver<Task>,
    /// How many tasks the planner made; unknown until it is done.
    planned: AtomicU64,
    failure: Mutex<Option<Error>>,
    agreed: Mutex<Option<Agreed>>,
}

impl Line {
    pub fn start(outgoing: Arc<Outgoing>, have: DigestTable) -> Result<Arc<Line>> {
        // A queued frame is a block in memory; so is the one that each encoder and each writer works on.
        let queued =
            (IN_FLIGHT_BYTES / outgoing.geometry.block_bytes()).clamp(1, 2 * outgoing.encoders as u32);
        let (tasks, todo) = async_channel::bounded(4 * outgoing.encoders);
        let (frames, ready) = async_channel::bounded(queued as usize);
        let shared = Shared {
            root: Mutex::new(OrderedRoot::new(outgoing.geometry)),
            have,
            buffers: Buffers::new(queued as usize),
            counters: outgoing.counters.clone(),
        };
        Ok(Arc::new(Line {
            outgoing,
            shared: Arc::new(shared),
            ready,
            frames: Mutex::new(Some(frames)),
            tasks: Mutex::new(Some(tasks)),
            todo,
            planned: AtomicU64::new(u64::MAX),
            failure: Mutex::new(None),
            agreed: Mutex::new(None),
        }))
    }

    /// Starts the threads. What makes one of them fail is told by [`Line::conclude`].
    pub fn start_workers(self: &Arc<Line>, jobs: &mut JoinSet<Result<()>>) -> Result<()> {
        let (Some(tasks), Some(frames)) = (take(&self.tasks), take(&self.frames)) else { return Ok(()) };
        for _ in 0..self.outgoing.encoders {
            let (line, frames, mut encoder) =
                (self.clone(), frames.clone(), Encoder::new(self.shared.clone())?);
            jobs.spawn_blocking(move || {
                let runtime = tokio::runtime::Handle::current();
                while let Ok(task) = line.todo.recv_blocking() {
                    match runtime.block_on(encoder.encode(&line.outgoing, task)) {
                        Ok(frame) => {
                            if frames.send_blocking(frame).is_err() {
                                break;
                            }
                        }
                        Err(error) => line.fail(error),
                    }
                }
                Ok(())
            });
        }
        let line = self.clone();
        jobs.spawn_blocking(move || {
            let planned = tokio::runtime::Handle::current().block_on(line.plan(tasks));
            planned.unwrap_or_else(|error| line.fail(error));
            Ok(())
        });
        Ok(())
    }

    async fn plan(&self, tasks: async_channel::Sender<Task>) -> Result<()> {
        let mut planner = Planner::new(&*self.outgoing.source, self.outgoing.geometry);
        let mut number = 0;
        while let Some(work) = planner.next().await? {
            if tasks.send(Task { number, work }).await.is_err() {
                return Ok(());
            }
            number += 1;
        }
        self.planned.store(number, Ordering::Release);
        Ok(())
    }

    /// To be called when `ready` is closed and empty: what was sent, if that was the whole disk and the disk lay still.
    pub async fn conclude(&self) -> Result<Agreed> {
        if let Some(error) = take(&self.failure) {
            return Err(error);
        }
        self.outgoing.source.check_unchanged().await?;
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
    }

    fn fail(&self, error: Error) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.close();
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
