//! The tasks that run. Owns their futures and their leases; says what is due, and stops what must not go on.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::task::{Output, Task, TaskKey};
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Error;
use crate::migrator::{Context, Migrator};

use super::TICK;

/// How long a stopped task may take until nothing of it runs at its site.
const HALT: Duration = Duration::from_secs(30);
/// A lease is renewed this many times before it would expire.
const HEARTBEATS_PER_LEASE: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Runs {
    running: HashMap<TaskKey, Run>,
    ends: JoinSet<Ended>,
}

#[derive(Debug)]
struct Run {
    stop: watch::Sender<Option<Stop>>,
    progress: watch::Receiver<Option<TransferProgress>>,
    lease: Duration,
    /// The conduit has heard of us at this time or later.
    heard_at: Instant,
    said_at: Instant,
    /// Cancelled when the work has ended: a newer attempt waits for it.
    over: CancellationToken,
}

/// Why work is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Aborted,
    /// A newer attempt at the step has been delivered.
    Superseded(u64),
    /// No contact for the length of the lease.
    LeaseLost(u64),
    Draining,
}

#[derive(Debug)]
pub(super) struct Ended {
    pub key: TaskKey,
    pub outcome: Result<Output, Error>,
}

impl Runs {
    pub fn len(&self) -> usize {
        self.running.len()
    }

    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub fn has(&self, key: &TaskKey) -> bool {
        self.running.contains_key(key)
    }

    pub fn keys(&self) -> Vec<TaskKey> {
        self.running.keys().cloned().collect()
    }

    /// Begins the work once every older attempt at the same step has ended.
    pub fn begin(&mut self, task: Task, migrator: Arc<dyn Migrator>, heard_at: Instant) {
        self.stop_older(&task.key);
        let older: Vec<_> = self.older(&task.key).map(|(_, run)| run.over.clone()).collect();
        let (context, progress) = Context::new();
        let (stop, stopped) = watch::channel(None);
        let over = CancellationToken::new();
        let run = Run {
            stop,
            progress,
            lease: Duration::from_secs(task.lease_secs.max(1)),
            heard_at,
            said_at: Instant::now(),
            over: over.clone(),
        };
        let key = task.key.clone();
        self.running.insert(key.clone(), run);
        self.ends.spawn(async move {
            let _over = over.drop_guard();
            for older in older {
                older.cancelled().await;
            }
            Ended { key, outcome: perform(&task, &*migrator, &context, stopped).await }
        });
    }

    /// `false` when it does not run.
    pub fn stop(&self, key: &TaskKey, why: Stop) -> bool {
        let run = self.running.get(key);
        if let Some(run) = run {
            // The first reason is the one that is told.
            run.stop.send_if_modified(|stop| stop.is_none() && stop.replace(why).is_none());
        }
        run.is_some()
    }

    pub fn stop_all(&self, why: Stop) {
        for key in self.running.keys() {
            self.stop(key, why);
        }
    }

    pub fn stop_older(&self, key: &TaskKey) {
        let older: Vec<_> = self.older(key).map(|(older, _)| older.clone()).collect();
        for older in &older {
            self.stop(older, Stop::Superseded(key.epoch.0));
        }
    }

    fn older<'a>(&'a self, key: &'a TaskKey) -> impl Iterator<Item = (&'a TaskKey, &'a Run)> {
        self.running.iter().filter(|(other, _)| {
            other.relocation == key.relocation && other.step == key.step && other.epoch < key.epoch
        })
    }

    pub fn stop_without_lease(&self, now: Instant) {
        for (key, run) in &self.running {
            if now.duration_since(run.heard_at) >= run.lease {
                self.stop(key, Stop::LeaseLost(run.lease.as_secs()));
            }
        }
    }

    /// The bus has confirmed a word about this task that was begun at `at`.
    pub fn renewed(&mut self, key: &TaskKey, at: Instant) {
        if let Some(run) = self.running.get_mut(key) {
            run.heard_at = run.heard_at.max(at);
        }
    }

    /// What is to be told of now: news, or that we still live.
    pub fn due(&mut self, now: Instant) -> Vec<(TaskKey, Option<TransferProgress>)> {
        let mut due = Vec::new();
        for (key, run) in &mut self.running {
            let silent = now.duration_since(run.said_at);
            let news = silent >= TICK && run.progress.has_changed().unwrap_or(false);
            // One tick early, as the next one would be too late.
            if news || silent + TICK >= run.lease / HEARTBEATS_PER_LEASE {
                run.said_at = now;
                due.push((key.clone(), run.progress.borrow_and_update().clone()));
            }
        }
        due
    }

    /// The next that has ended; waits for ever when nothing runs. Cancel-safe.
    pub async fn next(&mut self) -> Ended {
        match self.ends.join_next().await {
            Some(Ok(ended)) => {
                self.running.remove(&ended.key);
                ended
            }
            // Panics are caught within, and nobody aborts these tasks: the runtime itself is ending.
            Some(Err(_)) | None => futures::future::pending().await,
        }
    }
}

async fn perform(
    task: &Task,
    migrator: &dyn Migrator,
    context: &Context,
    mut stopped: watch::Receiver<Option<Stop>>,
) -> Result<Output, Error> {
    let why = {
        let work = AssertUnwindSafe(migrator.perform(task, context)).catch_unwind();
        tokio::select! {
            biased;
            why = stopped.wait_for(Option::is_some) => why.ok().and_then(|why| *why),
            outcome = work => {
                return outcome.unwrap_or_else(|panic| Err(Error::Panicked(text_of(&*panic))));
            }
        }
    };
    match timeout(HALT, migrator.halt(task)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(task = %task.key, %error, "cannot see that the stopped work has ended")
        }
        Err(_) => tracing::warn!(task = %task.key, "the stopped work does not end in time"),
    }
    Err(match why {
        Some(Stop::Aborted) => Error::Canceled,
        Some(Stop::Superseded(newer)) => Error::Fenced { newer },
        Some(Stop::LeaseLost(secs)) => Error::LeaseLost { secs },
        Some(Stop::Draining) | None => Error::Draining,
    })
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
