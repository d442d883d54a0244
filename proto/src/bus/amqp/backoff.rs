//! Waits between attempts: doubling, bounded.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

/// The bus was closed while waiting.
#[derive(Debug)]
pub(super) struct Closed;

impl Backoff {
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    pub async fn wait(&mut self, closed: &CancellationToken) -> Result<(), Closed> {
        let pause = self.next;
        self.next = (pause * 2).min(LONGEST);
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            () = closed.cancelled() => Err(Closed),
        }
    }
}
