//! What a configuration says of a cloud, beside its shape.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenstackConfig {
    /// The entry of clouds.yaml. Credentials are there and in secure.yaml, never here.
    pub cloud: String,
    /// Where that file is; looked for as openstack's own clients do when left out.
    #[serde(default)]
    pub clouds_file: Option<PathBuf>,
    #[serde(default)]
    pub region: Option<String>,
    /// Name or id of the network that takes all NICs. Left out: networks as at the source, made where there are none.
    #[serde(default)]
    pub network: Option<String>,
    /// What stands for a network of a source, by their names.
    #[serde(default)]
    pub networks: BTreeMap<String, String>,
    /// Where routers that are made lead, and where floating IPs come from. Left out: `floating_network`, or one of the same
    /// name as at the source, or the only one.
    #[serde(default)]
    pub external_network: Option<String>,
    /// Security groups of all instances, by name or id. Left out: groups as at the source, made where there are none.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// Gives each instance an address from here, for a network that is not reached from outside. Left out: those that had
    /// one at the source get one, where their networks are made as at the source.
    #[serde(default)]
    pub floating_network: Option<String>,
    /// The cloud's default when left out.
    #[serde(default)]
    pub volume_type: Option<String>,
    /// What stands for a volume type of a source; `volume_type` for all others.
    #[serde(default)]
    pub volume_types: BTreeMap<String, String>,
    /// What stands for a flavor of a source. It must be large enough.
    #[serde(default)]
    pub flavors: BTreeMap<String, String>,
    #[serde(default)]
    pub availability_zone: Option<String>,
    pub helper: HelperConfig,
}

/// The small server in which bytes are worked on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelperConfig {
    /// Any Linux that runs a `#!` script given as user data, with sshd or dropbear.
    pub image: String,
    pub flavor: String,
    /// A network from which the other site is reached.
    pub network: String,
    /// Takes a floating IP from here, for a network that is not reached from outside.
    #[serde(default)]
    pub floating_network: Option<String>,
    #[serde(default = "root")]
    pub user: String,
    /// The private half, on this host; the public one is beside it with `.pub`.
    pub key: PathBuf,
    /// Whether libguestfs and qemu-utils are in it. Otherwise work inside guests is done on the worker's host, which
    /// then needs them, and nbdfuse.
    #[serde(default)]
    pub guest_tools: bool,
    /// A directory of ours in it.
    #[serde(default = "dir")]
    pub dir: PathBuf,
}

fn root() -> String {
    "root".into()
}

fn dir() -> PathBuf {
    PathBuf::from("/var/lib/fluidcloud-site")
}
