//! One file per command. A command parses nothing and prints its own answer.

mod addresses;
mod approve;
mod broker;
mod cancel;
mod conduit;
mod events;
mod inspect;
mod key;
mod migrator;
mod overview;
mod pause;
mod plan;
mod providers;
mod relocate;
mod request;
mod resume;
mod retry;
mod roles;
mod schema;
mod status;
pub mod token;
mod up;
mod usage;

use crate::args::{Args, Command};
use crate::config;
use crate::fault::Fault;
use crate::logging;

pub async fn run(args: Args) -> Result<(), Fault> {
    let is_role =
        matches!(args.command, Command::Up(_) | Command::Conduit | Command::Broker(_) | Command::Migrator(_));
    let default = if is_role { logging::ROLE } else { logging::COMMAND };
    logging::start(args.log.as_deref(), default, args.log_format)?;
    let file = args.config.as_deref();
    let config = || config::load(file);
    let client = || config::load_or_default(file);
    match args.command {
        Command::Up(told) => Box::pin(up::run(&config()?, told.development)).await,
        Command::Conduit => Box::pin(conduit::run(&config()?)).await,
        Command::Broker(told) => Box::pin(broker::run(&config()?, &told, args.log_format)).await,
        Command::Migrator(told) => Box::pin(migrator::run(&config()?, told)).await,
        Command::Providers(told) => Box::pin(providers::run(&config()?, told.output)).await,
        Command::Inspect(told) => Box::pin(inspect::run(&config()?, told)).await,
        Command::Plan(told) => Box::pin(plan::run(&config()?, told)).await,
        Command::Relocate(told) => Box::pin(relocate::run(&client()?, told)).await,
        Command::Status(told) => Box::pin(status::run(&client()?, told)).await,
        Command::Addresses(told) => Box::pin(addresses::run(&client()?, &told)).await,
        Command::Overview(told) => Box::pin(overview::run(&config()?, &told)).await,
        Command::Key(told) => key::run(&client()?, &told).await,
        Command::Usage(told) => Box::pin(usage::run(&config()?, told)).await,
        Command::Cancel(told) => Box::pin(cancel::run(&client()?, told)).await,
        Command::Retry(told) => retry::run(&client()?, &told).await,
        Command::Approve(told) => approve::run(&client()?, &told).await,
        Command::Pause(told) => pause::run(&client()?, &told).await,
        Command::Resume(told) => resume::run(&client()?, &told).await,
        Command::Events(told) => events::run(&client()?, &told).await,
        Command::Token(told) => token::run(&config()?, &told),
        Command::Schema(told) => schema::run(&told.name),
    }
}
