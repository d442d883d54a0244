//! `fluidcloud conduit`: accepts requests and drives relocations, over RabbitMQ.

use super::roles;
use crate::bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::service::{self, StateLock};

pub async fn run(config: &Config) -> Result<(), Fault> {
    let told = service::told_to_end()?;
    let role = async {
        let bus = bus::amqp(config, "conduit", roles::BUS_PATIENCE).await?;
        let _lock = StateLock::take(&config.state)?;
        let registry = service::registry(config)?;
        let conduit = roles::conduit(config, bus.clone(), &registry)?;
        Ok(bus::until_done(bus, conduit.run(told.clone())).await?)
    };
    service::run_until_told(&told, role).await
}
