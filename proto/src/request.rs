//! The relocation request, schema version 1: what any AMQP client publishes to `fluidcloud.requests`, and what a
//! user writes in YAML or JSON. It names providers and never holds a credential.

mod alone;
mod launch;
mod parse;
pub mod placeholder;
#[cfg(test)]
mod tests;
mod validate;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{ComponentName, DiskName, InstanceName, ProviderId, RelocationId};

pub use alone::{ContainerComponent, ImageComponent, Visibility, VolumeComponent};
pub use launch::{FloatingIp, GroupChoice, ImageFormat, ImportKey, KeepImage, KeypairChoice, Launch};
pub use parse::{REQUEST_BYTES_MAX, from_json, from_text};
pub use validate::validate;

pub const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelocationRequest {
    /// Schema version; 1.
    #[schemars(extend("const" = 1))]
    pub version: u32,
    /// Makes the request idempotent. The command line fills it in when a file leaves it out.
    pub id: RelocationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    pub service: Service,
    pub target: Target,
    #[serde(default)]
    pub mode: Mode,
    /// Whether the source stops as soon as all is ready, or only when somebody approves.
    #[serde(default, skip_serializing_if = "Cutover::is_automatic")]
    pub cutover: Cutover,
    /// What must answer at the target before the relocation commits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<Check>,
    #[serde(default, skip_serializing_if = "Transport::is_default")]
    pub transport: Transport,
}

/// A service instance: the unit that moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: ComponentName,
    /// Where it runs now.
    pub provider: ProviderId,
    pub components: Vec<Component>,
}

/// One part of the service: an instance that moves, something that moves without one, or something that stays where it
/// is and is linked to. Exactly one of `instance`, `volume`, `image`, `container` and `stays` is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Component {
    pub name: ComponentName,
    /// Components that must answer before this one starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<ComponentName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceComponent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume: Option<VolumeComponent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageComponent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ContainerComponent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<StaysComponent>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InstanceComponent {
    /// Its name at the source provider.
    pub id: InstanceName,
    /// Its name at the target; the same when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_name: Option<InstanceName>,
    /// How volumes arrive. A disk that is not named here arrives as a disk.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumePlacement>,
    /// Whether the guest is made fit for the target's hardware.
    #[serde(default, skip_serializing_if = "Guest::is_adapt")]
    pub guest: Guest,
    /// How long the guest may take to shut down before it is forced off; it then loses what it had not written.
    #[serde(default = "default_shutdown_secs", skip_serializing_if = "is_default_shutdown")]
    pub shutdown_secs: u64,
    /// Rules applied in order to files inside the guest, after its volumes are in place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rewrite: Vec<RewriteRule>,
    /// A snapshot of the stopped source, that stays there under this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// An image of its root disk, that stays at the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<KeepImage>,
    #[serde(default, skip_serializing_if = "Launch::is_default")]
    pub launch: Launch,
}

/// Longest time a guest is given to shut down.
pub const SHUTDOWN_SECS_MAX: u64 = 540;

fn default_shutdown_secs() -> u64 {
    180
}

fn is_default_shutdown(secs: &u64) -> bool {
    *secs == default_shutdown_secs()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Guest {
    /// Drivers, device names and network names are adapted to the target's hardware.
    #[default]
    Adapt,
    /// Nothing inside the guest is changed: it boots anywhere, or holds no operating system we know. There is no
    /// `adapt` step then.
    AsIs,
}

impl Guest {
    pub fn is_adapt(&self) -> bool {
        *self == Self::Adapt
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumePlacement {
    pub disk: DiskName,
    /// Absolute path in the instance's own file system that takes the volume's content; the volume is then gone
    /// at the target. Left out: the volume arrives as a volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold_into: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RewriteRule {
    /// Absolute path of a file inside the guest.
    pub file: String,
    /// Regular expression (Rust `regex` syntax), matched on the whole file; `(?m)` makes ^ and $ match at lines.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Replacement; `$1` and `${name}` are the groups of the match, `{{address:COMPONENT}}` is the address of a component at
    /// the target: of one that stays, the host part of its URL.
    pub replace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StaysComponent {
    /// Such as `object-store`, `database`.
    pub kind: String,
    /// Checked from the control host when it is an http(s) URL; shown in the topology.
    pub url: String,
}

/// Where to: a named provider, or the first one that meets the needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<ProviderId>,
    #[serde(default, skip_serializing_if = "Needs::is_default")]
    pub needs: Needs,
}

/// What a target must offer beyond the room for the service itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Labels that the provider's configuration must carry with these values.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub labels: std::collections::BTreeMap<String, String>,
}

impl Needs {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Stop, copy, start.
    #[default]
    Cold,
}

/// When the source stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cutover {
    /// As soon as everything is done that can be done before.
    #[default]
    Automatic,
    /// When it is approved too (`fluidcloud approve`). Only for a service with an instance: nothing else stops.
    Manual,
}

impl Cutover {
    pub fn is_automatic(&self) -> bool {
        *self == Self::Automatic
    }
}

/// A check that must pass at the target before commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The component whose address is asked.
    pub component: ComponentName,
    pub http: HttpCheck,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpCheck {
    pub port: u16,
    #[serde(default = "root_path")]
    pub path: String,
    /// The status the answer must have.
    #[serde(default = "ok_status")]
    pub status: u16,
    /// Text that the answer must contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// A top-level field of the JSON answer whose value must be the same at the target as it was at the source
    /// just before it stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<String>,
    /// How long the service may take to come up at the target.
    #[serde(default = "default_within_secs")]
    pub within_secs: u64,
}

fn root_path() -> String {
    "/".into()
}

fn ok_status() -> u16 {
    200
}

fn default_within_secs() -> u64 {
    600
}

/// How bytes travel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    #[serde(default)]
    pub kind: TransportKind,
    /// Upper bound per disk, bytes per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_bytes_per_sec: Option<u64>,
    /// Parallel streams per disk; chosen by the viaduct when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<u8>,
    /// Copy the free space of file systems too: residue of deleted files, which is zeros at the target otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

impl Transport {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// TLS 1.3 over TCP, both ends pinned to each other's key.
    #[default]
    Tcp,
    /// The sender logs in to the target's site over ssh.
    Ssh,
}
