//! What a person can do about a relocation that waits for one, and how long one that does not will take.

use fluidcloud_proto::status::{Phase, RelocationStatus};

use crate::units;

/// As the conduit calls it.
const PAUSED: &str = "paused";

/// What it waits for, with the command; the pause first, as an approval alone does not let it go on.
pub fn advice(status: &RelocationStatus) -> Option<String> {
    let id = status.id;
    if status.conditions.iter().any(|condition| condition == PAUSED) {
        return Some(format!("it is paused: let it go on with `fluidcloud resume {id}`"));
    }
    (status.phase == Phase::AwaitingCutover).then(|| {
        format!(
            "all is ready and the source still runs: let it stop with `fluidcloud approve {id}`, or undo with \
             `fluidcloud cancel {id}`"
        )
    })
}

/// Until it has ended, where that can be told.
pub fn time_left(status: &RelocationStatus) -> Option<String> {
    Some(format!("about {} left", units::seconds(status.eta_seconds? as f64)))
}
