//! `fluidcloud retry ID`: a person removed what a relocation was stuck on.

use crate::api::Api;
use crate::args::OrderArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

pub async fn run(config: &Config, told: &OrderArgs) -> Result<(), Fault> {
    Api::new(config)?.retry(told.id).await?;
    output::line(format!("relocation {} is tried again", told.id))
}
