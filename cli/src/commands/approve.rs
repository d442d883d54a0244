//! `fluidcloud approve ID`: a person says that the source may stop.

use crate::api::Api;
use crate::args::OrderArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

pub async fn run(config: &Config, told: &OrderArgs) -> Result<(), Fault> {
    Api::new(config)?.approve(told.id).await?;
    output::line(format!("relocation {} may cut over: its source stops as soon as all is ready", told.id))
}
