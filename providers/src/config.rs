//! The `providers` part of the configuration. Credentials are named by file, never held in a message.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::task::Hardware;
use serde::Deserialize;

use crate::openstack::OpenstackConfig;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
    pub id: ProviderId,
    pub driver: Driver,
    /// libvirt connection URI, such as `qemu:///system` or `qemu+ssh://root@host/system?keyfile=…`.
    #[serde(default)]
    pub uri: Option<String>,
    #[serde(default)]
    pub site: Option<SiteConfig>,
    /// Storage pool that takes disks.
    #[serde(default = "default_name")]
    pub pool: String,
    /// Network that takes NICs.
    #[serde(default = "default_name")]
    pub network: String,
    pub shape: Hardware,
    /// How guests run: `kvm`, `tcg`, or `auto`: `kvm` where it proves itself by booting.
    #[serde(default)]
    pub accel: Accel,
    #[serde(default)]
    pub region: Option<String>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Of the driver `openstack`, in place of `uri`, `site`, `pool` and `network`.
    #[serde(default)]
    pub openstack: Option<Box<OpenstackConfig>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Driver {
    Libvirt,
    Memory,
    Openstack,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Accel {
    #[default]
    Auto,
    Kvm,
    Tcg,
}

fn default_name() -> String {
    "default".into()
}

/// Where the provider's bytes are worked on.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteConfig {
    /// How commands are run there; on this very host when left out.
    #[serde(default)]
    pub ssh: Option<SshConfig>,
    /// The address other sites reach it at: where a viaduct listens.
    pub address: String,
    /// A directory of ours there: pushed binaries, identities, locks.
    #[serde(default = "default_dir")]
    pub dir: PathBuf,
    /// How another site's sender logs in here over ssh, for the `ssh` transport: key and known hosts are files at
    /// that other site.
    #[serde(default)]
    pub peer_ssh: Option<SshConfig>,
}

fn default_dir() -> PathBuf {
    PathBuf::from("/var/lib/fluidcloud-site")
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SshConfig {
    pub host: String,
    #[serde(default = "ssh_port")]
    pub port: u16,
    pub user: String,
    pub key: PathBuf,
    pub known_hosts: PathBuf,
}

fn ssh_port() -> u16 {
    22
}
