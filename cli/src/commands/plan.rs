//! `fluidcloud plan FILE`: what a relocation would do, in this process, without doing it: inspection, choice of the
//! target, steps, bytes and an estimate of the time. Reads only.

use fluidcloud_conduit::plan::for_target;
use fluidcloud_conduit::plan::preview::of_plan;
use fluidcloud_conduit::runner::inspect::inspect;
use fluidcloud_conduit::web::HttpWeb;
use fluidcloud_conduit::{Preview, need, suits};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::ProviderId;
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::plan::Runner;
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::task::Rehearsed;
use fluidcloud_proto::topology::Severity;
use serde::Serialize;

mod rehearse;

use super::inspect::concerns_text;
use super::request;
use crate::args::{Output, PlanArgs};
use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::output;
use crate::service;
use crate::table::Table;
use crate::units;

#[derive(Debug, Serialize)]
struct Planned {
    offers: Vec<Offer>,
    target: ProviderId,
    #[serde(flatten)]
    preview: Preview,
    /// What would be done inside each guest; absent when it was not tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    rehearsed: Option<Vec<Rehearsed>>,
}

pub async fn run(config: &Config, told: PlanArgs) -> Result<(), Fault> {
    let request = request::read(&told.file)?;
    let registry = service::registry(config)?;
    let topology = inspect(&registry, &HttpWeb::new(), &request).await?;
    let offers =
        fluidcloud_broker::offers_now(&registry, &config.providers, &need(&request, &topology)).await;
    let target = chosen(&offers)?;
    let provider = registry.get(&target)?;
    suits(&request, &*registry.get(&request.service.provider)?, &*provider)?;
    let plan = for_target(&request, &topology, &*provider)?;
    let preview = of_plan(plan, &request, &topology, None);
    let rehearsed = match told.rehearse {
        true => Some(rehearse::rehearse(&registry, &request, &topology, &target).await?),
        false => None,
    };
    let planned = Planned { offers, target, preview, rehearsed };
    match told.output {
        Output::Json => output::json(&planned)?,
        Output::Text => output::line(text(&request, &planned))?,
    }
    match topology.worst() {
        Some(concern) if concern.severity == Severity::Critical => Err(Fault::quiet(Exit::Failed)),
        _ => Ok(()),
    }
}

fn chosen(offers: &[Offer]) -> Result<ProviderId, Fault> {
    if let Some(offer) = offers.iter().find(|offer| offer.fits) {
        return Ok(offer.provider.clone());
    }
    let refused = offers.iter().map(|offer| format!("{}: {}", offer.provider, offer.reasons.join(", ")));
    let why = match offers {
        [] => "no other provider is configured".to_owned(),
        _ => refused.collect::<Vec<_>>().join("; "),
    };
    let remedy = "free the room that is missing, ask for less, or add a provider";
    Err(Failure::never(Code::NoOffer, format!("no provider fits: {why}"), remedy).into())
}

fn text(request: &RelocationRequest, planned: &Planned) -> String {
    let preview = &planned.preview;
    let source = &request.service.provider;
    let mut steps = Table::new(&["STEP", "AFTER", "BY", "BYTES", "ABOUT"]);
    for (step, timed) in preview.plan.steps.iter().zip(&preview.steps) {
        let after: Vec<String> = step.after.iter().map(ToString::to_string).collect();
        let by = match &step.runs {
            Runner::Conduit => "conduit".to_owned(),
            Runner::Migrator { kind, site } => format!("{kind} at {site}"),
        };
        let bytes = if timed.bytes == 0 { "-".to_owned() } else { units::bytes(timed.bytes) };
        steps.row([step.id.to_string(), after.join(", "), by, bytes, units::seconds(timed.seconds)]);
    }
    let reasons = planned.offers.iter().find(|offer| offer.fits).map(|offer| offer.reasons.join(", "));
    let head = format!(
        "{} would move from {source} to {} ({})",
        request.service.name,
        planned.target,
        reasons.unwrap_or_default()
    );
    let sums = format!(
        "to move: {} of {}\ntime: about {}, of which the service is down for about {}",
        units::bytes(preview.bytes_to_move),
        units::bytes(preview.bytes_total),
        units::seconds(preview.estimated_seconds),
        units::seconds(preview.estimated_downtime_seconds)
    );
    let assumed: Vec<String> = preview.assumptions.iter().map(|line| format!("assumed: {line}")).collect();
    let mut parts = vec![head, steps.to_string(), sums, assumed.join("\n"), concerns_text(&preview.concerns)];
    parts.extend(planned.rehearsed.iter().map(|guests| rehearse::text(guests)));
    parts.push("nothing was changed".to_owned());
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}
