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
    /// Needed where other hosts reach it.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Where commands call it, such as `https://fluidcloud.example:7411`; `listen` when left out.
    #[serde(default)]
    pub url: Option<String>,
    /// PEM file with the authority that commands trust besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Whose first line is the token that commands show.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
}

/// PEM files.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The server's own first, then those that lead to its authority.
    pub certificate: PathBuf,
    pub key: PathBuf,
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
        Self { listen: default_listen(), tls: None, url: None, ca: None, token_file: None }
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

    pub fn http_options(&self) -> fluidcloud_broker::HttpOptions {
        let tls = self.http.tls.as_ref().map(|tls| fluidcloud_broker::TlsFiles {
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        });
        fluidcloud_broker::HttpOptions { listen: self.http.listen, tls }
    }

    /// Where commands call.
    pub fn http_url(&self) -> String {
        let scheme = if self.http.tls.is_some() { "https" } else { "http" };
        let listens = || format!("{scheme}://{}", self.http.listen);
        self.http.url.clone().map_or_else(listens, |url| url.trim_end_matches('/').to_owned())
    }

    /// For messages.
    pub fn place(&self) -> String {
        match &self.file {
            Some(file) => file.display().to_string(),
            None => "the configuration".to_owned(),
        }
    }
}
