//! What a target is asked to make after the source's, and what it is told beforehand of the instances that come.

use fluidcloud_proto::ids::{InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::surroundings::Surroundings;

/// Networks, routers, security groups, key pairs and server groups for the instances that move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Furnishing {
    pub relocation: RelocationId,
    /// For names of what has a name of its own only there.
    pub source: ProviderId,
    pub surroundings: Surroundings,
}

/// How large one instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    pub instance: InstanceName,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// What its provider calls this size.
    pub flavor: Option<String>,
}
