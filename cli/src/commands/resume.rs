//! `fluidcloud resume ID`: a person lets a paused relocation go on.

use crate::api::Api;
use crate::args::OrderArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

pub async fn run(config: &Config, told: &OrderArgs) -> Result<(), Fault> {
    Api::new(config)?.resume(told.id).await?;
    output::line(format!("relocation {} goes on", told.id))
}
