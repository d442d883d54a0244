//! The configuration: what its keys are, and what holds when they are left out. `config/load.rs` finds and reads it.

mod amqp;
mod load;

use std::net::SocketAddr;
use std::path::PathBuf;

use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_providers::ProviderConfig;
use serde::Deserialize;

pub use amqp::AmqpUrl;
pub use load::{load, load_or_default};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory of the relocation log.
    #[serde(default = "default_state")]
    pub state: PathBuf,
    #[serde(default)]
    pub http: HttpConfig,
    #[serde(default)]
    pub bus: BusConfig,
    /// In order of preference.
    #[serde(default)]
    pub providers: Vec<ProviderConfig>,
    #[serde(default)]
    pub workers: WorkersConfig,
    /// Where it was read from.
    #[serde(skip)]
    pub file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusConfig {
    /// Left out: memory, and everything runs in one process.
    #[serde(default)]
    pub amqp: Option<AmqpConfig>,
}

/// One of the two.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AmqpConfig {
    #[serde(default)]
    pub url: Option<AmqpUrl>,
    /// A file whose first line is the url: keeps the password out of this one.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersConfig {
    /// Tasks that a worker does at the same time.
    #[serde(default = "default_slots")]
    pub slots: u32,
    #[serde(default = "default_kinds")]
    pub kinds: Vec<MigratorKind>,
    /// The binary that is pushed to sites; `viaduct` beside this program when left out.
    #[serde(default)]
    pub viaduct: Option<PathBuf>,
}

fn default_state() -> PathBuf {
    PathBuf::from("/var/lib/fluidcloud")
}

fn default_listen() -> SocketAddr {
    fluidcloud_broker::API_LISTEN_DEFAULT
}

fn default_slots() -> u32 {
    fluidcloud_migrators::worker::SLOTS_DEFAULT
}

fn default_kinds() -> Vec<MigratorKind> {
    MigratorKind::ALL.to_vec()
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { listen: default_listen() }
    }
}

impl Default for WorkersConfig {
    fn default() -> Self {
        Self { slots: default_slots(), kinds: default_kinds(), viaduct: None }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            state: default_state(),
            http: HttpConfig::default(),
            bus: BusConfig::default(),
            providers: Vec::new(),
            workers: WorkersConfig::default(),
            file: None,
        }
    }
}

impl Config {
    /// Where RabbitMQ is, when it is used.
    pub fn amqp_url(&self) -> Option<&AmqpUrl> {
        self.bus.amqp.as_ref().and_then(|amqp| amqp.url.as_ref())
    }

    /// For messages.
    pub fn place(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "the configuration".to_owned(),
        }
    }
}
