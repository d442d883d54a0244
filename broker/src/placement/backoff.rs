//! How long to wait before a worker that ended is started again.

use std::time::Duration;

use tokio::time::Instant;

pub const PAUSE_FIRST: Duration = Duration::from_millis(250);
pub const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A worker that ran for so long was healthy: the next pause is short again.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    started: Instant,
}

impl Backoff {
    pub fn started_now() -> Self {
        Self { next: PAUSE_FIRST, started: Instant::now() }
    }

    /// Waits, and counts the next start from the end of the wait.
    pub async fn pause(&mut self) {
        if self.started.elapsed() >= HEALTHY_AFTER {
            self.next = PAUSE_FIRST;
        }
        tokio::time::sleep(self.next).await;
        self.next = (self.next * 2).min(PAUSE_MAX);
        self.started = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_the_bound_and_shrink_after_a_healthy_run() {
        let mut backoff = Backoff::started_now();
        for _ in 0..20 {
            backoff.pause().await;
        }
        let before = Instant::now();
        backoff.pause().await;
        assert_eq!(before.elapsed(), PAUSE_MAX);

        tokio::time::sleep(HEALTHY_AFTER).await;
        let before = Instant::now();
        backoff.pause().await;
        assert_eq!(before.elapsed(), PAUSE_FIRST);
    }
}
