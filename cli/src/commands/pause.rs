//! `fluidcloud pause ID`: a person holds a relocation.

use crate::api::Api;
use crate::args::OrderArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

pub async fn run(config: &Config, told: &OrderArgs) -> Result<(), Fault> {
    Api::new(config)?.pause(told.id).await?;
    output::line(format!(
        "relocation {0} is being paused; let it go on with `fluidcloud resume {0}`",
        told.id
    ))
}
