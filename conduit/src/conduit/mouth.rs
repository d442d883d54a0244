//! Everything the conduit says, in the order it decided to say it, so that the owner never waits for the bus. What
//! is lost here in a crash is said again after recovery: it all follows from the log.

use std::time::Duration;

use fluidcloud_proto::bus::{self, Delivery, Queue, SharedBus, publish_command, publish_notice};
use fluidcloud_proto::command::WorkerCommand;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::ids::WorkerId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Sentences that wait to be said; when it is full the owner waits.
pub const SENTENCES_MAX: usize = 1024;
/// At the end, how long what was decided may take to be said.
const LAST_WORDS_MAX: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub enum Sentence {
    ToWorker(WorkerId, WorkerCommand),
    Notice(Box<Notice>),
    Ack(Delivery),
    Reject(Delivery, String),
}

#[derive(Debug)]
pub struct Mouth {
    sentences: mpsc::Sender<Sentence>,
    speaker: JoinSet<()>,
}

impl Mouth {
    pub fn new(bus: SharedBus) -> Self {
        let (sentences, mut waiting) = mpsc::channel(SENTENCES_MAX);
        let mut speaker = JoinSet::new();
        speaker.spawn(async move {
            while let Some(sentence) = waiting.recv().await {
                if let Err(error) = say(&bus, sentence).await {
                    tracing::warn!(%error, "could not be said");
                }
            }
        });
        Self { sentences, speaker }
    }

    pub async fn say(&self, sentence: Sentence) {
        // It fails only when the speaker is gone, which is when we are.
        let _ = self.sentences.send(sentence).await;
    }

    /// Only if nothing has to wait for it: the next one says the same again.
    pub fn mention(&self, notice: Notice) {
        if self.sentences.capacity() > SENTENCES_MAX / 2 {
            let _ = self.sentences.try_send(Sentence::Notice(Box::new(notice)));
        }
    }

    pub async fn close(self) {
        let Self { sentences, mut speaker } = self;
        drop(sentences);
        let _ = tokio::time::timeout(LAST_WORDS_MAX, speaker.join_next()).await;
    }
}

async fn say(bus: &SharedBus, sentence: Sentence) -> Result<(), bus::Error> {
    match sentence {
        Sentence::ToWorker(worker, command) => {
            match publish_command(&**bus, &Queue::Worker(worker.clone()), &command).await {
                Err(bus::Error::Unroutable(_)) => {
                    tracing::debug!(%worker, ?command, "the worker is gone");
                    Ok(())
                }
                other => other,
            }
        }
        Sentence::Notice(notice) => publish_notice(&**bus, &notice).await,
        Sentence::Ack(delivery) => delivery.ack().await,
        Sentence::Reject(delivery, reason) => delivery.reject(&reason).await,
    }
}
