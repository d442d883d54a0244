//! What happened, said by those who did it: workers and the broker to the conduit, the conduit to whoever watches.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::ids::{ProviderId, RelocationId, WorkerId};
use crate::offer::Offer;
use crate::plan::MigratorKind;
use crate::progress::TransferProgress;
use crate::status::RelocationStatus;
use crate::task::{Output, TaskKey};

/// To the conduit, on its own queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// A worker asks for the lease of a task it was delivered. Answered by `Granted` or `Refused` on its queue.
    TaskClaimed {
        key: TaskKey,
        worker: WorkerId,
    },
    /// Heartbeat of a lease, with how far the work is.
    TaskProgressed {
        key: TaskKey,
        worker: WorkerId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transfer: Option<TransferProgress>,
    },
    TaskSucceeded {
        key: TaskKey,
        worker: WorkerId,
        output: Output,
    },
    TaskFailed {
        key: TaskKey,
        worker: WorkerId,
        failure: Failure,
    },
    OffersMade {
        relocation: RelocationId,
        offers: Vec<Offer>,
    },
}

/// To everyone who watches, by topic. Losing one loses nothing: the next says it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "notice", rename_all = "snake_case", deny_unknown_fields)]
pub enum Notice {
    RelocationChanged {
        status: Box<RelocationStatus>,
    },
    /// The conduit moved a request to the dead-letter queue, such as the same id with another body: no relocation
    /// was made or changed. Who waits for this id stops with the failure. `id` when one could be read.
    RequestRefused {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<RelocationId>,
        failure: Failure,
    },
    /// Sent every few seconds by each worker; a worker that is silent for long is gone.
    WorkerSeen(WorkerSeen),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerSeen {
    pub worker: WorkerId,
    pub kinds: Vec<MigratorKind>,
    pub sites: Vec<ProviderId>,
    pub slots: u32,
    pub busy: Vec<TaskKey>,
    pub version: String,
    pub draining: bool,
}
