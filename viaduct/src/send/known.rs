//! What the sender has learnt of the receiver while it sends: which grains are there to be copied, what lies under a block
//! that is to be written, how far its other disks have been told, and which blocks still wait for their receipt.
//! Memory only, no lock is held across a wait. Every hint may be wrong: the receiver checks whole blocks.

use super::index::GrainIndex;
use crate::digest::Digest;
use crate::limits::{ASK_BYTES, GRAIN_BYTES};
use crate::wire::Grains;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Blocks whose receipt is awaited with their grains; those beyond are sent all the same, but not copied from.
const UNSETTLED_MAX: usize = 1024;
/// Asking what lies under blocks is given up for most of them when of so many answers ...
const ASKED_ENOUGH: u64 = 64;
/// ... not one in this many was of use; one block in [`STILL_ASKED`] is asked about all the same.
const USEFUL_ONE_IN: u64 = 20;
const STILL_ASKED: u64 = 16;

#[derive(Debug)]
pub struct Known {
    state: Mutex<State>,
    /// Whether blocks the receiver did not name may hold something.
    old: bool,
    told: Notify,
}

#[derive(Debug)]
struct State {
    index: GrainIndex,
    asked: HashMap<u64, oneshot::Sender<Grains>>,
    answers: u64,
    useful: u64,
    shelf: Vec<Told>,
    unsettled: HashMap<u64, Unsettled>,
    /// Nothing more is told.
    closed: bool,
}

/// How far one of the receiver's other disks has been told.
#[derive(Debug)]
struct Told {
    place: u64,
    size: u64,
    asked: u64,
    open: BTreeSet<u64>,
}

/// A block that was sent and may be asked for again.
#[derive(Debug)]
struct Unsettled {
    digest: Digest,
    grains: Vec<Digest>,
    mixed: bool,
    wanted: bool,
}

/// What a receipt means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// A block that was waited for.
    Awaited,
    Unimportant,
}

impl Known {
    /// `shelf` are the places and sizes of the receiver's other disks.
    pub fn new(index: GrainIndex, old: bool, shelf: impl Iterator<Item = (u64, u64)>) -> Known {
        let told = |(place, size)| Told { place, size, asked: 0, open: BTreeSet::new() };
        let state = State {
            index,
            asked: HashMap::new(),
            answers: 0,
            useful: 0,
            shelf: shelf.map(told).collect(),
            unsettled: HashMap::new(),
            closed: false,
        };
        Known { state: Mutex::new(state), old, told: Notify::new() }
    }

    /// Where the receiver has each of these grains.
    pub fn places(&self, grains: &[Digest]) -> Vec<Option<u64>> {
        let state = self.state();
        grains.iter().map(|grain| state.index.get(*grain)).collect()
    }

    /// Whether it is worth asking what lies under a block of which nothing is known.
    pub fn worth_asking(&self, index: u64) -> bool {
        let state = self.state();
        let useless = state.answers >= ASKED_ENOUGH && state.useful * USEFUL_ONE_IN < state.answers;
        self.old && (!useless || index.is_multiple_of(STILL_ASKED))
    }

    /// To be called before the question leaves.
    pub fn expect(&self, place: u64) -> oneshot::Receiver<Grains> {
        let (answer, answered) = oneshot::channel();
        let mut state = self.state();
        if !state.closed {
            state.asked.insert(place, answer);
        }
        answered
    }

    /// An answer was of use, or not.
    pub fn judge(&self, useful: bool) {
        let mut state = self.state();
        state.answers += 1;
        if useful {
            state.useful += 1;
        }
    }

    /// The receiver's answer to a question. `false` where none was asked.
    pub fn answer(&self, place: u64, grains: Grains) -> bool {
        let mut state = self.state();
        let state = &mut *state;
        if let Some(answer) = state.asked.remove(&place) {
            // Who asked may have given up.
            let _ = answer.send(grains);
            return true;
        }
        let Some(told) = state.shelf.iter_mut().find(|told| told.open.contains(&place)) else { return false };
        told.open.remove(&place);
        for (number, grain) in grains.each.iter().enumerate() {
            state.index.insert(*grain, place + (number * GRAIN_BYTES) as u64);
        }
        self.told.notify_waiters();
        true
    }

    /// The next questions about the other disks so that they are told up to `ahead` bytes from their start: places and
    /// lengths.
    pub fn ask_up_to(&self, ahead: u64) -> Vec<(u64, u64)> {
        let mut questions = Vec::new();
        for told in &mut self.state().shelf {
            while told.asked < ahead.min(told.size) {
                let (place, length) = (told.place + told.asked, (told.size - told.asked).min(ASK_BYTES));
                questions.push((place, length));
                told.open.insert(place);
                told.asked += length;
            }
        }
        questions
    }

    /// How much of the data the index remembers may be asked for ahead.
    pub fn index_bytes(&self) -> u64 {
        self.state().index.bytes()
    }

    /// Waits until the other disks are told up to `offset` from their start, as far as they were asked about.
    pub async fn told_up_to(&self, offset: u64) {
        loop {
            let told = self.told.notified();
            if !self.behind(offset) {
                return;
            }
            told.await;
        }
    }

    fn behind(&self, offset: u64) -> bool {
        let state = self.state();
        let mut open =
            state.shelf.iter().filter_map(|disk| disk.open.first().map(|place| place - disk.place));
        !state.closed && open.any(|first| first < offset)
    }

    /// Lets go of everybody who waits for an answer.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.asked.clear();
        drop(state);
        self.told.notify_waiters();
    }

    /// A block leaves; one that is mixed may be asked for again.
    pub fn leaves(&self, index: u64, digest: Digest, grains: Vec<Digest>, mixed: bool) {
        let mut state = self.state();
        if mixed || state.unsettled.len() < UNSETTLED_MAX {
            state.unsettled.insert(index, Unsettled { digest, grains, mixed, wanted: false });
        }
    }

    /// The receiver has written a block at `place`: its grains can be copied from now on.
    pub fn settled(&self, index: u64, place: u64) -> Receipt {
        let mut state = self.state();
        let Some(block) = state.unsettled.remove(&index) else { return Receipt::Unimportant };
        for (number, grain) in block.grains.iter().enumerate() {
            state.index.insert(*grain, place + (number * GRAIN_BYTES) as u64);
        }
        if block.mixed { Receipt::Awaited } else { Receipt::Unimportant }
    }

    /// The receiver could not make this block of what it has. `false` where it cannot rightly say so.
    pub fn wanted(&self, index: u64) -> bool {
        match self.state().unsettled.get_mut(&index) {
            Some(block) if block.mixed && !block.wanted => {
                block.wanted = true;
                true
            }
            _ => false,
        }
    }

    /// The digest with which a block was announced.
    pub fn announced(&self, index: u64) -> Option<Digest> {
        self.state().unsettled.get(&index).map(|block| block.digest)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
