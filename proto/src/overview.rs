//! What stands at a target after a move, read back from its provider at this moment: what `fluidcloud overview` prints.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::ids::{ComponentName, InstanceName, ProviderId, RelocationId};
use crate::kept::{Kept, KeyReport};
use crate::surroundings::{BootSource, SecurityGroup};
use crate::topology::Nic;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overview {
    pub relocation: RelocationId,
    pub provider: ProviderId,
    /// When it was looked at.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub at: OffsetDateTime,
    pub instances: Vec<InstanceOverview>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceOverview {
    pub component: ComponentName,
    pub name: InstanceName,
    #[serde(flatten)]
    pub details: Details,
    /// Since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub flavor: String,
    pub vcpus: u32,
    pub memory_bytes: u64,
    pub boots_from: BootSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keypair: Option<KeypairShown>,
    /// With the rules that are in force now.
    pub security_groups: Vec<SecurityGroup>,
    /// With fixed and floating addresses.
    pub nics: Vec<Nic>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// Images at the target and snapshots at the source that were asked for and are there.
    pub kept: Vec<Kept>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeypairShown {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fingerprint: String,
    /// Where it was created by the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_half: Option<KeyReport>,
}

/// What only a person wants to know of an instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Details {
    /// The provider's own.
    pub id: String,
    /// In the provider's words, such as `ACTIVE`.
    pub status: String,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub created_at: Option<OffsetDateTime>,
    /// What the move wrote at it: where it came from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// Root first.
    pub volumes: Vec<VolumeShown>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VolumeShown {
    pub name: String,
    pub id: String,
    pub device: String,
    pub size_bytes: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub volume_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
}
