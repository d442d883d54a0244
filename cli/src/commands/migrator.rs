//! `fluidcloud migrator KIND… --site S…`: a worker in a process of its own, over RabbitMQ.

use std::collections::BTreeSet;
use std::io::Read;
use std::time::Duration;

use fluidcloud_migrators::worker::{self, Worker, WorkerOptions};
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_providers::Registry;
use tokio_util::sync::CancellationToken;

use super::roles;
use crate::args::MigratorArgs;
use crate::bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::service;

/// When who started us has died: how long the work may take to stop.
const ORPHAN_END_WITHIN: Duration = Duration::from_secs(20);

pub async fn run(config: &Config, told: MigratorArgs) -> Result<(), Fault> {
    let end = service::told_to_end()?;
    if told.die_with_stdin {
        die_with_stdin(end.clone());
    }
    let role = async {
        let bus = bus::amqp(config, "migrator", roles::BUS_PATIENCE).await?;
        let registry = service::registry(config)?;
        let options = WorkerOptions {
            bus: bus.clone(),
            id: told.worker.unwrap_or_else(worker::new_id),
            kinds: if told.kinds.is_empty() {
                config.workers.kinds.clone()
            } else {
                without_repeats(told.kinds)
            },
            sites: sites(&registry, told.sites)?,
            slots: told.slots.unwrap_or(config.workers.slots),
            drain: worker::DRAIN,
            migrators: roles::migrators(config, registry.clone())?,
        };
        Ok(bus::until_done(bus, Worker::new(options).run(end.clone())).await?)
    };
    service::run_until_told(&end, role).await
}

fn sites(registry: &Registry, told: Vec<ProviderId>) -> Result<Vec<ProviderId>, Fault> {
    if told.is_empty() {
        return Ok(registry.ids().cloned().collect());
    }
    for site in &told {
        registry.get(site)?;
    }
    Ok(without_repeats(told))
}

fn without_repeats<T: Ord>(given: Vec<T>) -> Vec<T>
where
    Vec<T>: FromIterator<T>,
{
    BTreeSet::from_iter(given).into_iter().collect()
}

/// Ends in order when standard input is closed, and in any case after the bound. A thread of its own, as a read of
/// standard input cannot be given up.
fn die_with_stdin(end: CancellationToken) {
    std::thread::spawn(move || {
        let mut nothing = [0; 64];
        loop {
            match std::io::stdin().read(&mut nothing) {
                Ok(0) => break,
                Err(error) if error.kind() != std::io::ErrorKind::Interrupted => break,
                _ => {}
            }
        }
        tracing::warn!("whoever started this worker has gone; it ends");
        end.cancel();
        std::thread::sleep(ORPHAN_END_WITHIN);
        std::process::exit(1);
    });
}
