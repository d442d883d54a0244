//! Settlements on their way. A delivery belongs to its subscription until it is settled, so no subscription is given
//! up while one of these flies.

use std::time::Duration;

use fluidcloud_proto::bus::{self, Delivery};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A bus that takes longer has lost the delivery, and delivers it again.
const SETTLE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Settling(JoinSet<()>);

impl Settling {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn ack(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        for delivery in deliveries {
            self.spawn("ack", async move { delivery.ack().await });
        }
    }

    pub fn give_back(&mut self, deliveries: impl IntoIterator<Item = Delivery>) {
        for delivery in deliveries {
            self.spawn("give back", async move { delivery.retry().await });
        }
    }

    /// When one has landed; waits for ever when none flies. Cancel-safe.
    pub async fn next(&mut self) {
        if self.0.join_next().await.is_none() {
            futures::future::pending().await
        }
    }

    /// One that is lost costs a second delivery, which is expected anyway.
    fn spawn(
        &mut self,
        how: &'static str,
        settling: impl Future<Output = Result<(), bus::Error>> + Send + 'static,
    ) {
        self.0.spawn(async move {
            match timeout(SETTLE, settling).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, how, "could not settle; it will be delivered again"),
                Err(_) => tracing::warn!(how, "settling takes too long; it will be delivered again"),
            }
        });
    }
}
