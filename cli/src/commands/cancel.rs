//! `fluidcloud cancel ID`: asks to undo a relocation. With `--wait` until the source runs again.

use fluidcloud_proto::status::Phase;

use crate::api::Api;
use crate::args::CancelArgs;
use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::follow::{self, Follow};
use crate::output;
use crate::report;

pub async fn run(config: &Config, told: CancelArgs) -> Result<(), Fault> {
    let api = Api::new(config)?;
    api.cancel(told.id).await?;
    if !told.wait {
        return output::line(format!("relocation {} is being canceled", told.id));
    }
    let mut show = follow::show();
    let status =
        Follow { api: &api, id: told.id, timeout: None, heard: None }.until_it_ends(show.as_mut()).await?;
    output::line(report::text(&report::of(&status)))?;
    match status.phase {
        Phase::Canceled => Ok(()),
        Phase::Stuck => Err(Fault::quiet(Exit::Stuck)),
        // It ended otherwise before it could be canceled; the report says how.
        _ => Err(Fault::quiet(Exit::Failed)),
    }
}
