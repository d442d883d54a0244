//! What the receiver knows of every block: durable with a digest, durable as zeros, or unknown; and what the present session
//! has settled. Judges every claim of the sender before anything is written. Memory only; the keeper writes it down.

use super::journal::Record;
use super::seeds::Seeds;
use crate::blocks::Geometry;
use crate::digest::{Digest, Root};
use crate::limits::FORGET_AHEAD;
use crate::table::{BlockSet, DigestTable, runs};
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug)]
pub struct Ledger {
    geometry: Geometry,
    state: Mutex<State>,
    /// A block is sown.
    sown: Condvar,
}

#[derive(Debug)]
struct State {
    data: DigestTable,
    zeros: BlockSet,
    /// Whether blocks that were never written to in this process are known to be zeros.
    began_as_zeros: bool,
    touched: BlockSet,
    settled: BlockSet,
    /// Blocks whose digest was seen by reading the target in this session and is not written down.
    seen: BlockSet,
    /// Blocks that are about to be forgotten in the journal though their turn has not come: what is known of them holds.
    ahead: BlockSet,
    /// Blocks that were asked for again in this session.
    wanted: BlockSet,
    seeds: Seeds,
    /// The root of the last transfer that came to its end, as long as what is known rests on it.
    base: Option<Digest>,
    finished: Option<(Digest, u64)>,
    identity: Option<u64>,
}

/// Why a claim is refused. The sender is wrong, or lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Illegal {
    #[error("block {0} came twice")]
    Twice(u64),
    #[error("block {0} is not here with that digest")]
    NotHere(u64),
}

/// What has to be done to have a block of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writing {
    /// Something else is written down about the block, which must be forgotten first: a crash in the middle would leave a
    /// torn block under a good name. Blocks behind it, which are likely to be next, are forgotten with it, and written
    /// down again if they stay.
    pub forget: Option<Range<u64>>,
    /// The block is known to hold zeros now.
    pub on_zeros: bool,
}

/// What has to be done to have a run of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zeroing {
    /// They are durable zeros already.
    Nothing,
    /// They are known to be zeros: only note it.
    Note,
    /// Write zeros. `forget` first, if something is written down about them.
    Write { forget: bool },
}

impl Ledger {
    pub fn new(geometry: Geometry, began_as_zeros: bool) -> Ledger {
        let blocks = geometry.blocks();
        let state = State {
            data: DigestTable::new(blocks),
            zeros: BlockSet::new(blocks),
            began_as_zeros,
            touched: BlockSet::new(blocks),
            settled: BlockSet::new(blocks),
            seen: BlockSet::new(blocks),
            ahead: BlockSet::new(blocks),
            wanted: BlockSet::new(blocks),
            seeds: Seeds::new(blocks),
            base: None,
            finished: None,
            identity: None,
        };
        Ledger { geometry, state: Mutex::new(state), sown: Condvar::new() }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// Takes in what was written down, or has just been.
    pub fn apply(&self, record: &Record) {
        let mut state = self.state();
        let state = &mut *state;
        if !matches!(record, Record::Opened { .. }) {
            // Anything written after the end of a transfer begins another one.
            state.finished = None;
        }
        match record {
            Record::Opened { identity } => state.identity = Some(*identity),
            Record::Data { index, digest } => {
                state.zeros.remove(*index);
                state.data.set(*index, Some(*digest));
                state.seen.remove(*index);
                state.touched.insert(*index);
            }
            Record::Zeros { blocks } => {
                for index in blocks.clone() {
                    state.data.set(index, None);
                    state.seen.remove(index);
                    state.zeros.insert(index);
                }
            }
            Record::Forgotten { blocks } => {
                if *blocks == (0..self.geometry.blocks()) {
                    state.base = None;
                }
                for index in blocks.clone() {
                    if state.ahead.contains(index) {
                        state.ahead.remove(index);
                        state.seen.insert(index);
                        continue;
                    }
                    state.data.set(index, None);
                    state.seen.remove(index);
                    state.zeros.remove(index);
                    state.touched.insert(index);
                }
            }
            Record::Finished { root, stamp } => {
                state.base = Some(*root);
                state.finished = Some((*root, *stamp));
            }
        }
    }

    /// The root and the target's stamp, if the last transfer came to its end and nothing was written since.
    pub fn finished(&self) -> Option<(Digest, u64)> {
        self.state().finished
    }

    /// The root of the state on which what is known rests: blocks of it that were written over since are known as what they
    /// are now.
    pub fn base(&self) -> Option<Digest> {
        self.state().base
    }

    /// Which target the records speak of; `None` where there are none.
    pub fn identity(&self) -> Option<u64> {
        self.state().identity
    }

    /// Begins a session: nothing is settled.
    pub fn begin_session(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.settled.clear();
        state.wanted.clear();
        state.ahead.clear();
        state.seeds.clear();
        // What was seen may have been half written over since.
        for index in 0..self.geometry.blocks() {
            if state.seen.contains(index) {
                state.data.set(index, None);
            }
        }
        state.seen.clear();
    }

    pub fn have_count(&self) -> u64 {
        self.state().data.len()
    }

    /// At most `limit` durable blocks from block `from` on.
    pub fn have(&self, from: u64, limit: usize) -> Vec<(u64, Digest)> {
        self.state().data.iter_from(from).take(limit).collect()
    }

    /// The target was read: it holds this block, which nobody has settled yet.
    pub fn saw(&self, index: u64, digest: Digest) {
        let mut state = self.state();
        let known = state.data.get(index).is_some() && !state.seen.contains(index);
        if !known && !state.settled.contains(index) && !state.zeros.contains(index) {
            state.seen.insert(index);
            state.data.set(index, Some(digest));
        }
    }

    /// Takes a block to sow it: one of an empty target that nobody has touched or spoken of. To be followed by [`Ledger::sown`];
    /// whoever claims the block waits for that. What is sown and not claimed takes no more than `room` bytes.
    pub fn sow(&self, index: u64, room: u64) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        let free = state.began_as_zeros
            && (state.seeds.open() + 1) * u64::from(self.geometry.block_bytes()) <= room
            && !state.settled.contains(index)
            && !state.zeros.contains(index)
            && state.data.get(index).is_none()
            && state.seeds.worthwhile()
            && state.touched.insert(index);
        if free {
            state.seeds.begin(index);
        }
        free
    }

    /// A block taken with [`Ledger::sow`] holds this now, or, without a digest, something unknown.
    pub fn sown(&self, index: u64, digest: Option<Digest>) {
        let mut state = self.state();
        state.seeds.end(index, digest.is_some());
        if digest.is_some() {
            state.seen.insert(index);
            state.data.set(index, digest);
        }
        drop(state);
        self.sown.notify_all();
    }

    /// Whether this block lies in the target, sown and not claimed by anybody.
    pub fn lies(&self, index: u64, digest: Digest) -> bool {
        let state = self.state();
        state.seeds.is_sown(index) && state.data.get(index) == Some(digest)
    }

    /// Whether a block may be asked for again: once, and only before it is settled.
    pub fn may_want(&self, index: u64) -> bool {
        let mut state = self.state();
        !state.settled.contains(index) && state.wanted.insert(index)
    }

    /// The sender wants to have this block written.
    pub fn claim_data(&self, index: u64, digest: Digest) -> Result<Writing, Illegal> {
        let mut state = self.state_without_sower(index..index + 1);
        if !state.settled.insert(index) {
            return Err(Illegal::Twice(index));
        }
        let same = state.data.get(index) == Some(digest);
        state.seeds.claimed(index, same);
        if state.seen.contains(index) {
            state.seen.remove(index);
            state.data.set(index, None);
        }
        let untouched = state.touched.insert(index);
        let written_down =
            state.zeros.contains(index) || state.data.get(index).is_some_and(|durable| durable != digest);
        let forget = written_down.then(|| index..state.forget_ahead(index + 1));
        Ok(Writing { forget, on_zeros: state.began_as_zeros && untouched })
    }

    /// The sender says the block is here already. Whether that is written down.
    pub fn claim_same(&self, index: u64, digest: Digest) -> Result<bool, Illegal> {
        let mut state = self.state_without_sower(index..index + 1);
        if state.data.get(index) != Some(digest) {
            return Err(Illegal::NotHere(index));
        }
        if !state.settled.insert(index) {
            return Err(Illegal::Twice(index));
        }
        state.seeds.claimed(index, true);
        Ok(!state.seen.contains(index) && !state.ahead.contains(index))
    }

    /// The sender says these blocks are zeros. What has to be done for each run of them.
    pub fn claim_zeros(&self, blocks: Range<u64>) -> Result<Vec<(Range<u64>, Zeroing)>, Illegal> {
        let mut state = self.state_without_sower(blocks.clone());
        if let Some(index) = blocks.clone().find(|index| state.settled.contains(*index)) {
            return Err(Illegal::Twice(index));
        }
        let todo = runs(blocks.clone(), |index| match () {
            () if state.zeros.contains(index) => Zeroing::Nothing,
            () if state.seen.contains(index) => Zeroing::Write { forget: false },
            () if state.data.get(index).is_some() => Zeroing::Write { forget: true },
            () if state.began_as_zeros && !state.touched.contains(index) => Zeroing::Note,
            () => Zeroing::Write { forget: false },
        });
        for index in blocks {
            state.seeds.claimed(index, false);
            state.settled.insert(index);
        }
        Ok(todo)
    }

    /// How many blocks this session has not settled.
    pub fn unsettled(&self) -> u64 {
        self.geometry.blocks() - self.state().settled.len()
    }

    /// The root over what is durable; `None` while a block is not.
    pub fn root(&self) -> Option<Digest> {
        let state = self.state();
        if state.data.len() + state.zeros.len() != self.geometry.blocks() {
            return None;
        }
        let mut root = Root::new(self.geometry);
        for (index, digest) in state.data.iter_from(0) {
            root.push(index, digest);
        }
        Some(root.finish())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, on this thread, while one of these blocks is being sown on another.
    fn state_without_sower(&self, blocks: Range<u64>) -> MutexGuard<'_, State> {
        let sowing = |state: &mut State| state.seeds.is_sowing(blocks.clone());
        self.sown.wait_while(self.state(), sowing).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Marks the blocks from `from` on whose turn has not come, up to the first that is not known as data; where that is.
    fn forget_ahead(&mut self, from: u64) -> u64 {
        let mut end = from;
        while end < from + FORGET_AHEAD
            && self.data.get(end).is_some()
            && !self.settled.contains(end)
            && !self.seen.contains(end)
            && self.ahead.insert(end)
        {
            end += 1;
        }
        end
    }
}

#[cfg(test)]
mod tests;
