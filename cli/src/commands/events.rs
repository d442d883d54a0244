//! `fluidcloud events`: what happened lately, one JSON object per line; with `--follow` what happens from now on.

use std::time::Duration;

use crate::api::{Api, ApiError};
use crate::args::EventsArgs;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;

/// Before a stream that ended is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// Attempts to open it again before we give up.
const ATTEMPTS_MAX: u32 = 120;

pub async fn run(config: &Config, told: &EventsArgs) -> Result<(), Fault> {
    let api = Api::new(config)?;
    let mut events = api.events(told.follow, true).await?;
    loop {
        while let Some(line) = events.next_line().await {
            output::line(line)?;
        }
        if !told.follow {
            return Ok(());
        }
        output::remark(format!("{} ended the stream; trying again", api.base()));
        events = reopen(&api).await?;
    }
}

async fn reopen(api: &Api) -> Result<crate::api::Events, Fault> {
    let mut attempt = 0;
    loop {
        tokio::time::sleep(PAUSE).await;
        attempt += 1;
        match api.events(true, false).await {
            Err(ApiError::Silent(_)) if attempt < ATTEMPTS_MAX => {}
            opened => return Ok(opened?),
        }
    }
}
