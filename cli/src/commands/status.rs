//! `fluidcloud status [ID]`: what the broker sees, as tables or JSON; with `--watch` again and again.

use std::io::IsTerminal;
use std::time::Duration;

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::status::{RelocationStatus, StatusDocument};

use crate::api::Api;
use crate::args::{Output, StatusArgs};
use crate::config::Config;
use crate::fault::Fault;
use crate::follow::{self, Follow};
use crate::output;
use crate::report;
use crate::table::Table;
use crate::units;

const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// Ended relocations in the table; all are in the JSON.
const RELOCATIONS_SHOWN_MAX: usize = 20;
const CLEAR: &str = "\x1b[2J\x1b[H";

pub async fn run(config: &Config, told: StatusArgs) -> Result<(), Fault> {
    let api = Api::new(config)?;
    match (told.id, told.watch) {
        (None, false) => show_all(&api.status().await?, told.output),
        (None, true) => watch_all(&api, told.output).await,
        (Some(id), false) => show_one(&api.relocation(id).await?, told.output),
        (Some(id), true) => watch_one(&api, id, told.output).await,
    }
}

async fn watch_all(api: &Api, output: Output) -> Result<(), Fault> {
    loop {
        let document = api.status().await?;
        if output == Output::Text && std::io::stdout().is_terminal() {
            output::line(format!("{CLEAR}{}", text(&document)))?;
        } else {
            show_all(&document, output)?;
        }
        tokio::time::sleep(REFRESH_EVERY).await;
    }
}

async fn watch_one(api: &Api, id: RelocationId, output: Output) -> Result<(), Fault> {
    // What nobody knows is said at once; later it may be a restart.
    api.relocation(id).await?;
    let mut show = follow::show();
    let status = Follow { api, id, timeout: None, heard: None }.until_it_ends(show.as_mut()).await?;
    match output {
        Output::Text => output::line(report::text(&report::of(&status)))?,
        Output::Json => output::json(&status)?,
    }
    follow::verdict(status.phase).map_err(Fault::quiet)
}

fn show_all(document: &StatusDocument, output: Output) -> Result<(), Fault> {
    match output {
        Output::Text => output::line(text(document)),
        Output::Json => output::json(document),
    }
}

fn show_one(status: &RelocationStatus, output: Output) -> Result<(), Fault> {
    match output {
        Output::Json => output::json(status),
        Output::Text => output::line(one(status)),
    }
}

fn text(document: &StatusDocument) -> String {
    let parts = [
        relocations(&document.relocations),
        super::providers::table(&document.providers),
        workers(document),
        queues(document),
    ];
    parts.join("\n\n")
}

fn relocations(all: &[RelocationStatus]) -> String {
    if all.is_empty() {
        return "no relocations yet".to_owned();
    }
    let mut table = Table::new(&["RELOCATION", "SERVICE", "FROM", "TO", "PHASE", "DONE", "RATE", "LEFT"]);
    let mut ended = 0;
    for status in all {
        ended += usize::from(status.phase.is_final());
        if status.phase.is_final() && ended > RELOCATIONS_SHOWN_MAX {
            continue;
        }
        let total: u64 = status.transfers.iter().map(|transfer| transfer.progress.bytes_total).sum();
        let done: u64 = status.transfers.iter().map(|transfer| transfer.progress.bytes_done).sum();
        let rate = status.rate_bytes_per_sec.filter(|rate| *rate > 0 && !status.phase.is_final());
        table.row([
            status.id.to_string(),
            status.service.to_string(),
            status.source.to_string(),
            status.target.as_ref().map_or("-".to_owned(), ToString::to_string),
            phase(status),
            if total == 0 {
                "-".to_owned()
            } else {
                format!("{} of {}", units::bytes(done), units::bytes(total))
            },
            rate.map_or("-".to_owned(), |rate| format!("{}/s", units::bytes(rate))),
            status.eta_seconds.map_or("-".to_owned(), |eta| units::seconds(eta as f64)),
        ]);
    }
    let advice = all.iter().filter_map(|status| Some(format!("{}: {}", status.id, follow::advice(status)?)));
    let advice: Vec<String> = advice.collect();
    [table.to_string(), advice.join("\n")].join("\n").trim_end().to_owned()
}

fn phase(status: &RelocationStatus) -> String {
    let mut told = format!("{:?}", status.phase);
    if !status.conditions.is_empty() {
        told.push_str(&format!(" ({})", status.conditions.join(", ")));
    }
    told
}

fn workers(document: &StatusDocument) -> String {
    if document.workers.is_empty() {
        return "no workers".to_owned();
    }
    let mut table = Table::new(&["WORKER", "KINDS", "SITES", "BUSY", "SLOTS", "SEEN", "PID"]);
    for worker in &document.workers {
        let kinds: Vec<&str> = worker.seen.kinds.iter().map(|kind| kind.as_str()).collect();
        let sites: Vec<&str> = worker.seen.sites.iter().map(|site| site.as_str()).collect();
        table.row([
            worker.seen.worker.to_string(),
            kinds.join(","),
            sites.join(","),
            worker.seen.busy.len().to_string(),
            worker.seen.slots.to_string(),
            format!("{} s ago", worker.seconds_since_seen),
            worker.pid.map_or("-".to_owned(), |pid| pid.to_string()),
        ]);
    }
    table.to_string()
}

fn queues(document: &StatusDocument) -> String {
    let mut table = Table::new(&["QUEUE", "READY", "CONSUMERS"]);
    for queue in &document.queues {
        table.row([queue.name.clone(), queue.ready.to_string(), queue.consumers.to_string()]);
    }
    table.to_string()
}

fn one(status: &RelocationStatus) -> String {
    if status.phase.is_final() {
        return report::text(&report::of(status));
    }
    let mut table = Table::new(&["STEP", "STATE", "TIME", "ATTEMPTS", "WORKER"]);
    for step in &status.steps {
        table.row([
            step.id.to_string(),
            follow::state(step.state).to_owned(),
            units::seconds(step.seconds),
            step.attempts.to_string(),
            step.worker.as_ref().map_or("-".to_owned(), ToString::to_string),
        ]);
    }
    let transfers = status.transfers.iter().filter(|transfer| transfer.progress.bytes_total > 0);
    let transfers: Vec<String> =
        transfers.map(|transfer| format!("{}: {}", transfer.disk, follow::amount(transfer))).collect();
    let left = follow::time_left(status).map_or(String::new(), |left| format!(", {left}"));
    let mut head = format!("relocation {} of {}: {}{left}", status.id, status.service, phase(status));
    if let Some(advice) = follow::advice(status) {
        head.push_str(&format!("\n{advice}"));
    }
    [head, table.to_string(), transfers.join("\n")].join("\n\n").trim_end().to_owned()
}
