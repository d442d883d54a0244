//! What is asked of whom, besides tasks: of the conduit by users, of the broker by the conduit, of one worker by
//! the conduit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ProviderId, RelocationId};
use crate::offer::Need;
use crate::plan::MigratorKind;
use crate::task::TaskKey;

/// To the conduit, on `fluidcloud.control`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "control", rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// Undo what was done and start the source again. Refused past the point of no return.
    Cancel { relocation: RelocationId },
    /// Try a stuck undo again, after a person removed its cause.
    Retry { relocation: RelocationId },
    /// The source may stop now, or as soon as all is ready. Means something with `cutover: manual` only. Given early it counts;
    /// given again it changes nothing.
    Approve { relocation: RelocationId },
    /// Begin nothing more, bring transfers to rest, and keep all that is there. Refused past the point of no return and while
    /// it is undone. The same message delivered again is the same order, whatever came in between.
    Pause { relocation: RelocationId },
    /// Go on where it was paused.
    Resume { relocation: RelocationId },
    /// Publish the status of every relocation again: somebody new is watching.
    Report,
}

/// To the broker, on `fluidcloud.broker`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
pub enum BrokerCommand {
    /// Answered by `Event::OffersMade`, best first.
    MakeOffers { relocation: RelocationId, need: Need },
    /// See that workers of these kinds serve these sites. Not answered: tasks wait in their queues meanwhile.
    PlaceWorkers { relocation: RelocationId, workers: Vec<WorkerNeed> },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct WorkerNeed {
    pub kind: MigratorKind,
    pub site: ProviderId,
}

/// To one worker, on its own queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum WorkerCommand {
    /// The lease is recorded: acknowledge the delivery and begin.
    Granted { key: TaskKey },
    /// Somebody else holds it, or it is over: acknowledge the delivery and forget it.
    Refused { key: TaskKey },
    /// Stop this work, leave no process behind, and answer with `TaskFailed` and the code `canceled`.
    Abort { key: TaskKey },
}
