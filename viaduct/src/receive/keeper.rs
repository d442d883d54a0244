//! The one task that owns the journal. Workers tell it what they wrote; every so often it makes the target durable, and only
//! then writes that down. What must be forgotten is written down before the worker goes on.

use super::journal::{Journal, Record};
use super::ledger::Ledger;
use super::lock::Lock;
use crate::ends::Target;
use crate::error::{Error, Failure, Result};
use crate::limits::{FLUSH_BYTES, FLUSH_EVERY, KEEPER_QUEUE};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

#[derive(Debug)]
enum Note {
    /// Written, not yet durable: a [`Record::Data`] or [`Record::Zeros`] to be, and the bytes that are at stake.
    Written { record: Record, bytes: u64 },
    /// Write it down now.
    Record { record: Record, done: oneshot::Sender<()> },
    /// Make everything durable.
    Settle { done: oneshot::Sender<()> },
}

/// Clones speak to the same keeper. When the last one is dropped, the keeper settles and ends.
#[derive(Clone, Debug)]
pub struct Keeper {
    notes: mpsc::Sender<Note>,
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Keeper {
    /// `lock` is held as long as anything may be written.
    pub fn start(journal: Journal, ledger: Arc<Ledger>, target: Arc<dyn Target>, lock: Arc<Lock>) -> Keeper {
        let (notes, queue) = mpsc::channel(KEEPER_QUEUE);
        let failure = Arc::new(Mutex::new(None));
        let owner = Owner { journal, ledger, target, pending: Vec::new(), bytes: 0, due: None, _lock: lock };
        let slot = failure.clone();
        tokio::spawn(async move {
            if let Err(error) = owner.run(queue).await {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.failure());
            }
        });
        Keeper { notes, failure }
    }

    pub async fn written(&self, record: Record, bytes: u64) -> Result<()> {
        self.tell(Note::Written { record, bytes }).await
    }

    /// Returns when it is written down that nothing is known of these blocks.
    pub async fn forget(&self, blocks: Range<u64>) -> Result<()> {
        self.record(Record::Forgotten { blocks }).await
    }

    /// Returns when the record is written down.
    pub async fn record(&self, record: Record) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.tell(Note::Record { record, done }).await?;
        answer.await.map_err(|_| self.cause())
    }

    /// Returns when everything told so far is durable and written down.
    pub async fn settle(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.tell(Note::Settle { done }).await?;
        answer.await.map_err(|_| self.cause())
    }

    async fn tell(&self, note: Note) -> Result<()> {
        self.notes.send(note).await.map_err(|_| self.cause())
    }

    fn cause(&self) -> Error {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        failure.map_or(Error::CallerGone, Error::Keeper)
    }
}

struct Owner {
    journal: Journal,
    ledger: Arc<Ledger>,
    target: Arc<dyn Target>,
    pending: Vec<Record>,
    bytes: u64,
    due: Option<Instant>,
    _lock: Arc<Lock>,
}

impl Owner {
    async fn run(mut self, mut queue: mpsc::Receiver<Note>) -> Result<()> {
        loop {
            let due = self.due.unwrap_or_else(|| Instant::now() + FLUSH_EVERY);
            let note = tokio::select! {
                note = queue.recv() => note,
                () = tokio::time::sleep_until(due), if self.due.is_some() => {
                    self.flush().await?;
                    continue;
                }
            };
            match note {
                None => return self.flush().await,
                Some(Note::Written { record, bytes }) => {
                    self.pending.push(record);
                    self.bytes += bytes;
                    self.due.get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
                    if self.bytes >= FLUSH_BYTES || self.pending.len() >= KEEPER_QUEUE {
                        self.flush().await?;
                    }
                }
                Some(Note::Record { record, done }) => {
                    self.write_down(vec![record], done, &mut queue).await?;
                }
                Some(Note::Settle { done }) => {
                    self.flush().await?;
                    let _ = done.send(());
                }
            }
        }
    }

    /// Writes down this record and those that wait right behind it: one sync for all of them.
    async fn write_down(
        &mut self,
        mut records: Vec<Record>,
        done: oneshot::Sender<()>,
        queue: &mut mpsc::Receiver<Note>,
    ) -> Result<()> {
        let mut waiting = vec![done];
        let mut settling = Vec::new();
        while let Ok(note) = queue.try_recv() {
            match note {
                Note::Record { record, done } => {
                    records.push(record);
                    waiting.push(done);
                }
                Note::Written { record, bytes } => {
                    self.pending.push(record);
                    self.bytes += bytes;
                    self.due.get_or_insert_with(|| Instant::now() + FLUSH_EVERY);
                }
                Note::Settle { done } => {
                    settling.push(done);
                    break;
                }
            }
        }
        self.write(&records)?;
        for done in waiting {
            let _ = done.send(());
        }
        if !settling.is_empty() || self.bytes >= FLUSH_BYTES {
            self.flush().await?;
        }
        for done in settling {
            let _ = done.send(());
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.due = None;
        self.bytes = 0;
        if self.pending.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.pending);
        // The order of these two lines is what resuming rests on.
        self.target.flush().await?;
        self.write(&records)
    }

    /// A short write with a sync; the workers go on meanwhile on threads of their own.
    fn write(&mut self, records: &[Record]) -> Result<()> {
        self.journal.append(records)?;
        records.iter().for_each(|record| self.ledger.apply(record));
        Ok(())
    }
}
