//! `fluidcloud broker`: offers, the HTTP API, and workers as processes of their own, over RabbitMQ.

use std::ffi::OsString;
use std::sync::Arc;

use fluidcloud_broker::placement::processes::DRAIN_WITHIN;
use fluidcloud_broker::placement::{ByHand, Placement, Processes, ProcessesOptions};

use super::roles;
use crate::args::{BrokerArgs, LogFormat};
use crate::bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::service;
use crate::tokens;

pub async fn run(config: &Config, told: &BrokerArgs, log_format: LogFormat) -> Result<(), Fault> {
    let access = tokens::access(config, told.development)?;
    config.http_options().check(&access)?;
    let end = service::told_to_end()?;
    let role = async {
        let bus = bus::amqp(config, "broker", roles::BUS_PATIENCE).await?;
        let registry = service::registry(config)?;
        let placement: Arc<dyn Placement> =
            if told.no_workers { Arc::new(ByHand) } else { Arc::new(processes(config, log_format)?) };
        let broker = roles::broker(config, bus.clone(), &registry, placement, access).await?;
        Ok(bus::until_done(bus, broker.run(end.clone())).await?)
    };
    service::run_until_told(&end, role).await
}

fn processes(config: &Config, log_format: LogFormat) -> Result<Processes, Fault> {
    let program = std::env::current_exe().map_err(|error| {
        Fault::failed(
            format!("cannot tell where this program is: {error}"),
            "start workers by hand with --no-workers",
        )
    })?;
    let mut args = Vec::new();
    if let Some(file) = &config.file {
        args.extend([OsString::from("--config"), OsString::from(file)]);
    }
    if log_format == LogFormat::Json {
        args.extend(["--log-format", "json"].map(OsString::from));
    }
    Ok(Processes::new(ProcessesOptions { program, args, drain: DRAIN_WITHIN }))
}
