//! What stays of a move beside the instance, because its user asked for it: snapshots, images, keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::ids::{ComponentName, ProviderId};

/// A snapshot at the source or an image at the target, under the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Kept {
    /// Whose disk it shows.
    pub component: ComponentName,
    pub kind: KeptKind,
    pub provider: ProviderId,
    pub name: String,
    /// The provider's own.
    pub id: String,
    /// In the provider's words, such as `active`.
    pub status: String,
    /// Such as `qcow2`; empty for a snapshot that has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub format: String,
    /// Who sees it; empty where only its project can.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub visibility: String,
    /// What its service holds, or the size of the disk that it shows.
    pub size_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeptKind {
    /// In the image service: instances can be made of it.
    Image,
    /// Of a volume: volumes can be made of it.
    Snapshot,
}

/// A key pair that was created for a component.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyReport {
    pub component: ComponentName,
    /// At the target.
    pub name: String,
    /// When its private half was handed out; absent as long as it waits for that.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub taken_at: Option<OffsetDateTime>,
}
