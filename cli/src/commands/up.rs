//! `fluidcloud up`: every role in this process, over memory, or over RabbitMQ when `bus.amqp` is set, so that more
//! workers can join from elsewhere.

use std::sync::Arc;

use fluidcloud_broker::Broker;
use fluidcloud_broker::placement::Embedded;
use fluidcloud_conduit::Conduit;
use tokio_util::sync::CancellationToken;

use super::roles;
use crate::bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::service::{self, StateLock};
use crate::tokens;

pub async fn run(config: &Config, development: bool) -> Result<(), Fault> {
    let _lock = StateLock::take(&config.state)?;
    let access = tokens::access(config, development)?;
    config.http_options().check(&access)?;
    let registry = service::registry(config)?;
    let migrators = roles::migrators(config, registry.clone())?;
    let told = service::told_to_end()?;
    let role = async {
        let bus = bus::amqp_or_memory(config, "up", roles::BUS_PATIENCE).await?;
        let body = roles::embedded(bus.clone(), config.workers.slots, migrators);
        let placement = Arc::new(Embedded::new(body));
        let broker = roles::broker(config, bus.clone(), &registry, placement, access).await?;
        let conduit = roles::conduit(config, bus.clone(), &registry)?;
        bus::until_done(bus, together(conduit, broker, &told)).await
    };
    service::run_until_told(&told, role).await
}

/// The broker with its workers ends first, so that the conduit still hears their last words.
async fn together(conduit: Conduit, broker: Broker, told: &CancellationToken) -> Result<(), Fault> {
    let (end_conduit, end_broker) = (CancellationToken::new(), told.child_token());
    let mut conduit = tokio::spawn(conduit.run(end_conduit.clone()));
    let mut broker = tokio::spawn(broker.run(end_broker.clone()));
    tracing::info!("FluidCloud is up");
    let (by_broker, by_conduit) = tokio::select! {
        by_broker = &mut broker => {
            end_conduit.cancel();
            (by_broker, conduit.await)
        }
        by_conduit = &mut conduit => {
            end_broker.cancel();
            (broker.await, by_conduit)
        }
    };
    let panicked = |error: tokio::task::JoinError| {
        Fault::failed(format!("a part of FluidCloud failed: {error}"), "start it again, and report this")
    };
    by_conduit.map_err(panicked)??;
    by_broker.map_err(panicked)??;
    tracing::info!("FluidCloud has ended");
    Ok(())
}
