//! What a job does: the body of each due effect that takes time. A job owns copies of all it needs, reports by its
//! return value, and never touches the state.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::bus::{self, Queue, SharedBus, publish_command};
use fluidcloud_proto::command::{BrokerCommand, WorkerCommand};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{RelocationId, WorkerId};
use fluidcloud_proto::offer::Need;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::task::{Task, TaskKey};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::jobs::Ended;
use crate::relocation::Relocation;
use crate::runner::{Means, inspect::inspect};

/// How long the broker may take to answer before it is asked again, and how often it is asked.
pub const OFFERS_WAIT: Duration = Duration::from_secs(30);
pub const OFFERS_ASKED_MAX: u32 = 20;
/// The broker is told again which workers are needed, in case it was started anew.
pub const PLACE_AGAIN: Duration = Duration::from_secs(60);
/// A queue that no worker serves yet is tried again.
pub const ROUTE_AGAIN: Duration = Duration::from_secs(5);
/// How long a task may lie in a queue that no worker serves, before that counts as a failed attempt. One that waits for
/// workers that are busy waits as long as it takes.
pub const UNSERVED_MAX: Duration = Duration::from_secs(600);
/// How often to look whether an unclaimed task is still in its queue.
pub const UNCLAIMED_LOOK: Duration = Duration::from_secs(60);
/// A worker that has to stop is told so again, and fenced when it does not for this long.
pub const ABORT_AGAIN: Duration = Duration::from_secs(5);
pub const ABORT_MAX: Duration = Duration::from_secs(300);

pub async fn wait(wait: Duration) -> Ended {
    tokio::time::sleep(wait).await;
    Ended::Waited
}

pub async fn look(means: Arc<Means>, relocation: Relocation, wait: Duration) -> Ended {
    tokio::time::sleep(wait).await;
    Ended::Inspected(inspect(&means.registry, &*means.web, &relocation.request).await.map(Box::new))
}

pub async fn ask_offers(bus: SharedBus, relocation: RelocationId, need: Result<Need, Failure>) -> Ended {
    let need = match need {
        Ok(need) => need,
        Err(failure) => return Ended::Unanswered(failure),
    };
    let ask = BrokerCommand::MakeOffers { relocation, need };
    for _ in 0..OFFERS_ASKED_MAX {
        if let Err(error) = publish_command(&*bus, &Queue::Broker, &ask).await {
            tracing::warn!(%relocation, %error, "could not ask for offers");
        }
        tokio::time::sleep(OFFERS_WAIT).await;
    }
    let secs = OFFERS_WAIT.as_secs() * u64::from(OFFERS_ASKED_MAX);
    let message = format!("no broker answered within {secs} s");
    Ended::Unanswered(Failure::never(Code::NoOffer, message, "start one with `fluidcloud broker`"))
}

pub async fn place_workers(bus: SharedBus, command: BrokerCommand) -> Ended {
    loop {
        if let Err(error) = publish_command(&*bus, &Queue::Broker, &command).await {
            tracing::warn!(%error, "could not ask for workers");
        }
        tokio::time::sleep(PLACE_AGAIN).await;
    }
}

/// Keeps the task in its queue until it is claimed: a worker may have lost it, or the bus given it up.
pub async fn hand(bus: SharedBus, task: Result<Task, Failure>) -> Ended {
    let task = match task {
        Ok(task) => task,
        Err(failure) => return Ended::Ran(Err(failure)),
    };
    let queue = Queue::Tasks { kind: task.kind, site: task.site.clone() };
    let mut served = Instant::now();
    while served.elapsed() < UNSERVED_MAX {
        match publish_command(&*bus, &queue, &task).await {
            Ok(()) => served = gone(&bus, &queue, Instant::now()).await,
            Err(bus::Error::Unroutable(_)) => tokio::time::sleep(ROUTE_AGAIN).await,
            Err(error) => {
                tracing::warn!(task = %task.key, %error, "could not hand the task out");
                // No bus is no lack of workers.
                served = Instant::now();
                tokio::time::sleep(ROUTE_AGAIN).await;
            }
        }
    }
    let message =
        format!("no worker of kind {} serves {} since {} s", task.kind, task.site, UNSERVED_MAX.as_secs());
    let remedy = format!(
        "start one with `fluidcloud migrator {} --site {}`, or see why the broker cannot",
        task.kind, task.site
    );
    Ended::Ran(Err(Failure::later(Code::TimedOut, message, remedy)))
}

/// Returns when nothing is left in the queue, so that an unclaimed task is not there any more, or when no worker has
/// served it for too long. Tells when one was last seen to.
async fn gone(bus: &SharedBus, queue: &Queue, mut served: Instant) -> Instant {
    loop {
        tokio::time::sleep(UNCLAIMED_LOOK).await;
        match bus.depth(queue).await {
            Ok(depth) if depth.ready == 0 => return Instant::now(),
            Ok(depth) if depth.consumers > 0 => served = Instant::now(),
            Ok(_) if served.elapsed() >= UNSERVED_MAX => return served,
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(%queue, %error, "cannot see how deep the queue is");
                served = Instant::now();
            }
        }
    }
}

pub async fn abort(bus: SharedBus, worker: WorkerId, key: TaskKey) -> Ended {
    let queue = Queue::Worker(worker);
    let tell = async {
        loop {
            if let Err(error) =
                publish_command(&*bus, &queue, &WorkerCommand::Abort { key: key.clone() }).await
            {
                tracing::debug!(task = %key, %error, "cannot tell the worker to stop");
            }
            tokio::time::sleep(ABORT_AGAIN).await;
        }
    };
    let _: Result<(), _> = tokio::time::timeout(ABORT_MAX, tell).await;
    Ended::Overdue
}

pub async fn run(means: Arc<Means>, relocation: Relocation, step: StepId, halt: CancellationToken) -> Ended {
    Ended::Ran(means.run(&relocation, &step, &halt).await)
}

pub async fn undo(means: Arc<Means>, relocation: Relocation, step: StepId) -> Ended {
    Ended::Undone(means.undo(&relocation, &step).await)
}
