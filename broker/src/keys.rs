//! Private keys that wait to be handed out. The broker keeps none: it asks whoever does, and passes a key on to the one caller
//! that gets it.

use std::fmt;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::kept::KeyReport;
use fluidcloud_proto::status::RelocationStatus;

/// Calls are short. `hand_out` gives each key once, whoever asks, in whatever process.
pub trait KeyDesk: Send + Sync + fmt::Debug {
    /// By its name or component; without one, the only one of the relocation.
    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Failure>;

    /// Which there are, and whether each was taken.
    fn standing(&self, relocation: RelocationId) -> Vec<KeyReport>;
}

pub struct Handed {
    pub name: String,
    pub private: String,
}

impl fmt::Debug for Handed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handed").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Of a broker that is not where the conduit keeps its state.
#[derive(Clone, Copy, Debug)]
pub struct NoKeys;

impl KeyDesk for NoKeys {
    fn hand_out(&self, relocation: RelocationId, _name: Option<&str>) -> Result<Handed, Failure> {
        let message = format!("no key of relocation {relocation} is here");
        Err(Failure::never(Code::UnknownKey, message, "ask on the host where the conduit keeps its state"))
    }

    fn standing(&self, _relocation: RelocationId) -> Vec<KeyReport> {
        Vec::new()
    }
}

/// The status with what is known of its keys now; the conduit does not hear of one that is taken.
pub fn told(mut status: RelocationStatus, desk: &dyn KeyDesk) -> RelocationStatus {
    let Some(report) = status.report.as_mut().filter(|report| !report.keys.is_empty()) else { return status };
    for known in desk.standing(status.id) {
        if let Some(key) = report.keys.iter_mut().find(|key| key.component == known.component) {
            *key = known;
        }
    }
    let waiting = report.keys.iter().filter(|key| key.taken_at.is_none());
    let told = waiting.map(|key| {
        format!(
            "key_waits: {}: the private half of key pair {} was not downloaded yet; take it once with `fluidcloud key {}`",
            key.component, key.name, status.id
        )
    });
    status.conditions.extend(told);
    status
}
