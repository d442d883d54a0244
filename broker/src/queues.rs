//! How full the queues are, asked in the background and remembered, so that a status never waits for the bus.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::bus::{Depth, Queue, SharedBus};
use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::status::QueueStatus;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two looks at all queues.
pub const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Task queues that nobody uses, or that do not exist yet, are looked at only every so many times.
pub const IDLE_LOOKS: u64 = 5;
/// How long one look at one queue may take.
pub const LOOK_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub struct Queues {
    bus: SharedBus,
    watched: Vec<Queue>,
    depths: watch::Sender<Vec<(Queue, Depth)>>,
}

impl Queues {
    /// The standing queues, and the task queues of all `sites`.
    pub fn new<'a>(bus: SharedBus, sites: impl Iterator<Item = &'a ProviderId>) -> Self {
        let tasks = sites.flat_map(|site| {
            MigratorKind::ALL.into_iter().map(|kind| Queue::Tasks { kind, site: site.clone() })
        });
        let watched = Queue::STANDING.into_iter().chain(tasks).collect();
        Self { bus, watched, depths: watch::Sender::new(Vec::new()) }
    }

    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let looking = async {
            for round in 0_u64.. {
                let depths = self.look(round % IDLE_LOOKS == 0).await;
                self.depths.send_replace(depths);
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn look(&self, at_idle_ones_too: bool) -> Vec<(Queue, Depth)> {
        let before: Vec<(Queue, Depth)> = self.depths.borrow().clone();
        let idle = |queue: &Queue| !before.iter().any(|known| known.0 == *queue && is_used(known));
        let mut depths = Vec::with_capacity(self.watched.len());
        for queue in &self.watched {
            if matches!(queue, Queue::Tasks { .. }) && !at_idle_ones_too && idle(queue) {
                continue;
            }
            match tokio::time::timeout(LOOK_WITHIN, self.bus.depth(queue)).await {
                Ok(Ok(depth)) => depths.push((queue.clone(), depth)),
                Ok(Err(error)) => tracing::debug!(%queue, %error, "depth is not known"),
                // The bus is away: the others would wait as long.
                Err(_) => break,
            }
        }
        depths
    }

    /// From memory, at once. A queue whose depth is not known now is missing; task queues nobody uses are left out.
    pub fn statuses(&self) -> Vec<QueueStatus> {
        let depths = self.depths.borrow();
        let status = |(queue, depth): &(Queue, Depth)| QueueStatus {
            name: queue.to_string(),
            ready: depth.ready,
            consumers: depth.consumers,
        };
        depths.iter().filter(|known| is_used(known)).map(status).collect()
    }

    /// Where tasks wait and nobody takes them.
    pub fn waiting_for_workers(&self) -> Vec<WorkerNeed> {
        let depths = self.depths.borrow();
        let waiting = |(queue, depth): &(Queue, Depth)| match queue {
            Queue::Tasks { kind, site } if depth.ready > 0 && depth.consumers == 0 => {
                Some(WorkerNeed { kind: *kind, site: site.clone() })
            }
            _ => None,
        };
        depths.iter().filter_map(waiting).collect()
    }
}

fn is_used((queue, depth): &(Queue, Depth)) -> bool {
    !matches!(queue, Queue::Tasks { .. }) || depth.ready > 0 || depth.consumers > 0
}
