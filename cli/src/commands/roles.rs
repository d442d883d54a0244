//! How the parts are put together, for `up` and for the roles in processes of their own.

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_broker::access::Access;
use fluidcloud_broker::placement::{Placement, WorkerBody};
use fluidcloud_broker::{Broker, BrokerOptions, Handed, KeyDesk};
use fluidcloud_conduit::{Conduit, ConduitOptions, DirectoryKeys, Keys, SqliteStore};
use fluidcloud_migrators::worker::{self, Worker, WorkerOptions};
use fluidcloud_migrators::{Migrators, ViaductBinary};
use fluidcloud_proto::bus::SharedBus;
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::kept::KeyReport;
use fluidcloud_providers::Registry;

use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::tokens;

/// The relocation log, in the state directory.
const LOG_FILE: &str = "relocations.sqlite";
/// Beside it.
const KEYS_DIR: &str = "keys";
/// How long a role waits at its start for RabbitMQ, which may be starting too.
pub const BUS_PATIENCE: Duration = Duration::from_secs(60);

pub fn conduit(config: &Config, bus: SharedBus, registry: &Registry) -> Result<Conduit, Fault> {
    let path = config.state.join(LOG_FILE);
    let store = SqliteStore::open(&path).map_err(|error| Fault::from_error(Exit::Failed, &error))?;
    tracing::info!(log = %path.display(), "relocation log opened");
    Ok(Conduit::new(ConduitOptions::new(bus, Arc::new(store), registry.clone(), Arc::new(keys(config)))))
}

/// Where the private halves of created key pairs wait. A broker on the conduit's host finds them there too.
fn keys(config: &Config) -> DirectoryKeys {
    DirectoryKeys::at(config.state.join(KEYS_DIR))
}

#[derive(Debug)]
struct Desk(DirectoryKeys);

impl KeyDesk for Desk {
    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Failure> {
        let handed = self.0.hand_out(relocation, name).map_err(|error| error.to_failure())?;
        Ok(Handed { name: handed.name, private: handed.private.reveal().to_owned() })
    }

    fn standing(&self, relocation: RelocationId) -> Vec<KeyReport> {
        self.0.standing(relocation).unwrap_or_else(|error| {
            tracing::warn!(%relocation, %error, "cannot tell of its keys");
            Vec::new()
        })
    }
}

pub async fn broker(
    config: &Config,
    bus: SharedBus,
    registry: &Registry,
    placement: Arc<dyn Placement>,
    access: Access,
) -> Result<Broker, Fault> {
    let options = BrokerOptions {
        bus,
        registry: registry.clone(),
        providers: config.providers.clone(),
        http: config.http_options(),
        access,
        audit: Some(tokens::audit_file(config)),
        placement,
        keys: Arc::new(Desk(keys(config))),
    };
    let broker = Broker::new(options).await?;
    tracing::info!(http = config.http_url(), "the API listens");
    Ok(broker)
}

/// They need the viaduct binary. Simulated providers have no site, and so nothing to be done at it by a worker.
pub fn migrators(config: &Config, registry: Arc<Registry>) -> Result<Migrators, Fault> {
    if !registry.iter().any(|provider| provider.has_site()) {
        return Ok(Migrators::of(Vec::new()));
    }
    let found = match &config.workers.viaduct {
        Some(path) => ViaductBinary::at(path.clone()),
        None => ViaductBinary::locate(),
    };
    let binary = found.map_err(|error| Fault::usage(error.to_string(), error.to_failure().remedy))?;
    Ok(Migrators::new(registry, binary))
}

/// Workers as tasks of this process, one for each kind and site that is needed.
pub fn embedded(bus: SharedBus, slots: u32, migrators: Migrators) -> WorkerBody {
    Arc::new(move |need, end| {
        let options = WorkerOptions {
            bus: bus.clone(),
            id: worker::new_id(),
            kinds: vec![need.kind],
            sites: vec![need.site],
            slots,
            drain: worker::DRAIN,
            migrators: migrators.clone(),
        };
        Box::pin(async move { Worker::new(options).run(end).await.map_err(|error| error.to_string()) })
    })
}
