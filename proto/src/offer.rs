//! A provider's answer to a need, and why it ranks where it does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::ProviderId;
use crate::request::Needs;

/// What the service takes at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Need {
    /// The only provider asked, when the request names one.
    pub fixed: Option<ProviderId>,
    /// Never offered: where the service is now.
    pub source: ProviderId,
    pub wants: Needs,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    pub provider: ProviderId,
    pub fits: bool,
    /// Why it fits, or every reason why it does not.
    pub reasons: Vec<String>,
}
