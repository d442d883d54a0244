//! What a target is asked to make after the source's, and what it is told beforehand of the instances that come.

use fluidcloud_proto::ids::{ComponentName, InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::request::FloatingIp;
use fluidcloud_proto::surroundings::{SecurityGroup, Surroundings};

/// Networks, routers, security groups, key pairs and server groups for the instances that move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Furnishing {
    pub relocation: RelocationId,
    /// For names of what has a name of its own only there.
    pub source: ProviderId,
    pub surroundings: Surroundings,
    /// What the request decides in place of that, where [`crate::Provider::decides`].
    pub decisions: Vec<Decision>,
}

/// Of one instance; what is not decided is as at its source. Answered as furniture that is `decided_for` its component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub component: ComponentName,
    /// Its name at the target.
    pub instance: InstanceName,
    pub key: Option<KeyWanted>,
    pub group: Option<GroupWanted>,
    /// One that is free or new is held for the instance from now on.
    pub address: Option<FloatingIp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyWanted {
    /// It is there, or is imported by another decision of the same order.
    Select(String),
    /// Fails where another key has the name.
    Import { name: String, public_key: String },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupWanted {
    /// A group of this name that is not there yet; the project's own `default` when `None`, which only gains rules.
    pub new: Option<String>,
    /// Whose rules it gets. What they say of each other is said of itself then.
    pub like: Vec<SecurityGroup>,
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
