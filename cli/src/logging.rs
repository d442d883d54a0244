//! Logs go to standard error; standard output is for answers.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::args::LogFormat;
use crate::fault::Fault;

/// What is logged when nothing is asked for: roles tell what they do, commands only what is wrong. The AMQP client
/// calls errors what the bus handles and tells itself.
pub const ROLE: &str = "info,lapin=off";
pub const COMMAND: &str = "warn,lapin=off";

pub fn start(filter: Option<&str>, default: &str, format: LogFormat) -> Result<(), Fault> {
    let filter = EnvFilter::try_new(filter.unwrap_or(default)).map_err(|error| {
        Fault::usage(
            format!("log filter: {error}"),
            "use a level such as `info`, or `TARGET=LEVEL` pairs with commas",
        )
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
