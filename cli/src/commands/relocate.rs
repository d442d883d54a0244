//! `fluidcloud relocate FILE`: publishes the request, to RabbitMQ when it is configured, else to the HTTP API of
//! `fluidcloud up`. With `--wait` it follows the relocation and ends with the report.

use std::path::Path;
use std::time::Duration;

use fluidcloud_proto::bus::{Message, Queue};
use fluidcloud_proto::report::Report;
use fluidcloud_proto::request::RelocationRequest;
use serde_json::json;

use super::request;
use crate::addresses;
use crate::api::Api;
use crate::args::{AddressFormat, Output, RelocateArgs};
use crate::bus;
use crate::config::Config;
use crate::fault::Fault;
use crate::follow::{self, Follow, Listener};
use crate::output;
use crate::report;

/// How long RabbitMQ may take to answer at first.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How long RabbitMQ may take to confirm the request.
const CONFIRM_WITHIN: Duration = Duration::from_secs(30);

pub async fn run(config: &Config, told: RelocateArgs) -> Result<(), Fault> {
    let request = request::read(&told.file)?;
    let api = Api::new(config)?;
    // Before it is published, so that a refusal cannot be missed.
    let heard = if told.wait { Some(Listener::start(&api, request.id).await) } else { None };
    publish(config, &api, &request).await?;
    let id = request.id;
    match (told.output, told.wait) {
        (Output::Text, _) => output::line(format!("relocation {id}"))?,
        (Output::Json, false) => return output::json(&json!({ "id": id })),
        (Output::Json, true) => output::remark(format!("relocation {id}")),
    }
    if !told.wait {
        return Ok(());
    }
    let mut show = follow::show();
    let follow = Follow { api: &api, id, timeout: told.timeout, heard };
    let status = follow.until_it_ends(show.as_mut()).await?;
    let report = report::of(&status);
    if let Some(file) = &told.report {
        let text = serde_json::to_string_pretty(&report)
            .map_err(|error| Fault::failed(format!("cannot write JSON: {error}"), "report this"))?;
        write(file, "the report", text, &report)?;
    }
    if let Some(file) = &told.addresses {
        let text = addresses::text(&report, AddressFormat::of(file))?;
        write(file, "the addresses", text, &report)?;
    }
    match told.output {
        Output::Text => output::line(report::text(&report))?,
        Output::Json => output::json(&report)?,
    }
    follow::verdict(status.phase).map_err(Fault::quiet)
}

/// Whole or not at all.
fn write(file: &Path, what: &str, text: String, report: &Report) -> Result<(), Fault> {
    let unfinished = file.with_extension("part");
    let written = std::fs::write(&unfinished, text + "\n").and_then(|()| std::fs::rename(&unfinished, file));
    written.map_err(|error| {
        let what = format!("cannot write {what} to {}: {error}", file.display());
        Fault::failed(what, format!("the relocation has ended; see `fluidcloud status {}`", report.id))
    })
}

async fn publish(config: &Config, api: &Api, request: &RelocationRequest) -> Result<(), Fault> {
    let body = serde_json::to_vec(request).map_err(|error| {
        Fault::failed(format!("cannot write the request as JSON: {error}"), "report this")
    })?;
    if config.amqp_url().is_none() {
        return Ok(api.submit(body).await?);
    }
    let bus = bus::amqp(config, "relocate", CONNECT_WITHIN).await?;
    let publishing = bus.publish(&Queue::Requests, Message::new(body));
    let confirmed = tokio::time::timeout(CONFIRM_WITHIN, publishing);
    match bus::until_done(bus.clone(), confirmed).await {
        Ok(published) => Ok(published?),
        Err(_) => Err(Fault::unreachable(
            format!(
                "the bus did not confirm relocation {} within {} s",
                request.id,
                CONFIRM_WITHIN.as_secs()
            ),
            "see that RabbitMQ runs, then send the same file again, with this id in it",
        )),
    }
}
