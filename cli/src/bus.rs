//! The bus that the configuration asks for.

use std::time::Duration;

use fluidcloud_proto::bus::SharedBus;
use fluidcloud_proto::bus::amqp::AmqpBus;
use fluidcloud_proto::bus::memory::MemoryBus;

use crate::config::Config;
use crate::fault::Fault;

/// Longest wait for the bus to take our leave.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Does the work and then takes leave of the bus, however the work ended.
pub async fn until_done<T>(bus: SharedBus, work: impl Future<Output = T>) -> T {
    let done = work.await;
    // Unconfirmed messages are kept by whoever publishes; a broker that is away is not worth a wait.
    let _ = tokio::time::timeout(CLOSE_WITHIN, bus.close()).await;
    done
}

/// RabbitMQ when it is configured; else memory, which joins only what runs in this process.
pub async fn amqp_or_memory(config: &Config, role: &str, patience: Duration) -> Result<SharedBus, Fault> {
    if config.amqp_url().is_some() { amqp(config, role, patience).await } else { Ok(MemoryBus::new()) }
}

/// For roles in processes of their own. `patience`: how long RabbitMQ may take to answer at first.
pub async fn amqp(config: &Config, role: &str, patience: Duration) -> Result<SharedBus, Fault> {
    let Some(url) = config.amqp_url() else {
        return Err(Fault::usage(
            format!(
                "`fluidcloud {role}` meets the other parts over RabbitMQ, and {} names none",
                config.place()
            ),
            "add `bus: {amqp: {url: amqp://…}}` to it, or run everything in one process with `fluidcloud up`",
        ));
    };
    tracing::info!(bus = %url, "connecting");
    let options = url.options().client_name(format!("fluidcloud {role}")).patience(patience);
    Ok(AmqpBus::connect(options).await?)
}
