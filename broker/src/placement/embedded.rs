//! Workers as tasks of this process: nothing to install, nothing left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::ids::WorkerId;
use futures::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Placement, backoff::Backoff};
use crate::error::Error;

/// How long a worker may take to finish when it is told to end; then it is dropped.
pub const DRAIN_WITHIN: Duration = Duration::from_secs(20);

/// Runs one worker until the token is cancelled. An early end is its failure, told as a text.
pub type WorkerBody =
    Arc<dyn Fn(WorkerNeed, CancellationToken) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

pub struct Embedded {
    body: WorkerBody,
    all: CancellationToken,
    running: Mutex<BTreeMap<WorkerNeed, Running>>,
}

struct Running {
    token: CancellationToken,
    task: JoinHandle<()>,
}

impl std::fmt::Debug for Embedded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Embedded").finish_non_exhaustive()
    }
}

impl Embedded {
    pub fn new(body: WorkerBody) -> Self {
        Self { body, all: CancellationToken::new(), running: Mutex::new(BTreeMap::new()) }
    }

    fn take(&self, need: &WorkerNeed) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(need)
    }
}

#[async_trait]
impl Placement for Embedded {
    async fn place(&self, need: &WorkerNeed) -> Result<(), Error> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.all.is_cancelled() || running.contains_key(need) {
            return Ok(());
        }
        let token = self.all.child_token();
        let task = tokio::spawn(keep_running(self.body.clone(), need.clone(), token.clone()));
        running.insert(need.clone(), Running { token, task });
        Ok(())
    }

    async fn retire(&self, need: &WorkerNeed) {
        if let Some(running) = self.take(need) {
            end(need, running).await;
        }
    }

    async fn drain(&self) {
        self.all.cancel();
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        futures::future::join_all(running.into_iter().map(|(need, running)| async move {
            end(&need, running).await;
        }))
        .await;
    }

    fn pid(&self, _worker: &WorkerId) -> Option<u32> {
        None
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.all.cancel();
    }
}

async fn keep_running(body: WorkerBody, need: WorkerNeed, token: CancellationToken) {
    let mut backoff = Backoff::started_now();
    loop {
        // As a task of its own, so that a worker that panics is seen to have ended like any other.
        let ended = AbortOnDropHandle::new(tokio::spawn(body(need.clone(), token.clone()))).await;
        if token.is_cancelled() {
            return;
        }
        let error = match ended {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(error)) => error,
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(kind = %need.kind, site = %need.site, %error, "worker ended by itself; it is started again");
        tokio::select! {
            () = backoff.pause() => {}
            () = token.cancelled() => return,
        }
    }
}

async fn end(need: &WorkerNeed, running: Running) {
    running.token.cancel();
    let abort = running.task.abort_handle();
    if tokio::time::timeout(DRAIN_WITHIN, running.task).await.is_err() {
        tracing::warn!(kind = %need.kind, site = %need.site, "worker did not end in time; it is dropped");
        abort.abort();
    }
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::plan::MigratorKind;
    use tokio::sync::mpsc;

    use super::*;

    fn need(site: &str) -> WorkerNeed {
        WorkerNeed { kind: MigratorKind::Volume, site: site.parse().unwrap() }
    }

    /// Workers that say when they start and end, and run until told to end.
    fn placement() -> (Embedded, mpsc::UnboundedReceiver<String>) {
        let (said, hear) = mpsc::unbounded_channel();
        let body: WorkerBody = Arc::new(move |need, token: CancellationToken| {
            let said = said.clone();
            Box::pin(async move {
                said.send(format!("start {}", need.site)).unwrap();
                token.cancelled().await;
                said.send(format!("end {}", need.site)).unwrap();
                Ok(())
            })
        });
        (Embedded::new(body), hear)
    }

    #[tokio::test]
    async fn a_need_that_has_a_worker_gets_no_second_one() {
        let (placement, mut hear) = placement();
        placement.place(&need("a")).await.unwrap();
        placement.place(&need("a")).await.unwrap();
        placement.place(&need("b")).await.unwrap();
        let mut heard = [hear.recv().await.unwrap(), hear.recv().await.unwrap()];
        heard.sort();
        assert_eq!(heard, ["start a", "start b"]);
        placement.drain().await;
        let mut heard = [hear.recv().await.unwrap(), hear.recv().await.unwrap()];
        heard.sort();
        assert_eq!(heard, ["end a", "end b"]);
        assert!(hear.try_recv().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_panics_or_fails_is_started_again() {
        let (said, mut hear) = mpsc::unbounded_channel();
        let body: WorkerBody = Arc::new(move |_, _| {
            said.send(()).unwrap();
            Box::pin(async { panic!("lost its head") })
        });
        let placement = Embedded::new(body);
        placement.place(&need("a")).await.unwrap();
        for _ in 0..4 {
            hear.recv().await.unwrap();
        }
        placement.drain().await;
    }

    #[tokio::test]
    async fn a_retired_worker_ends_and_may_be_placed_again() {
        let (placement, mut hear) = placement();
        placement.place(&need("a")).await.unwrap();
        placement.retire(&need("a")).await;
        placement.place(&need("a")).await.unwrap();
        for expected in ["start a", "end a", "start a"] {
            assert_eq!(hear.recv().await.unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn nothing_is_placed_after_a_drain() {
        let (placement, mut hear) = placement();
        placement.drain().await;
        placement.place(&need("a")).await.unwrap();
        drop(placement);
        assert_eq!(hear.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_will_not_end_is_dropped_after_the_bound() {
        let body: WorkerBody = Arc::new(|_, _| Box::pin(std::future::pending()));
        let placement = Embedded::new(body);
        placement.place(&need("a")).await.unwrap();
        let before = tokio::time::Instant::now();
        placement.drain().await;
        assert_eq!(before.elapsed(), DRAIN_WITHIN);
    }
}
