//! `fluidcloud usage`: what the instances of a provider, one of them, or those that a relocation moved have used, by the
//! provider's own accounting. Reads only.

use fluidcloud_proto::ids::{InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::usage::{InstanceUsage, Usage};
use fluidcloud_providers::{Period, Registry};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api::Api;
use crate::args::{TableOutput as Output, UsageArgs};
use crate::config::Config;
use crate::csv;
use crate::fault::Fault;
use crate::output;
use crate::report;
use crate::service;
use crate::table::Table;
use crate::units;

/// As in the JSON, so that either can be read by the names of the other.
const COLUMNS: [&str; 14] = [
    "provider",
    "instance",
    "id",
    "state",
    "started_at",
    "ended_at",
    "uptime_seconds",
    "vcpus",
    "memory_mib",
    "disk_gib",
    "hours",
    "vcpu_hours",
    "memory_gib_hours",
    "disk_gib_hours",
];

pub async fn run(config: &Config, told: UsageArgs) -> Result<(), Fault> {
    let registry = service::registry(config)?;
    let period = Period { from: told.from, to: told.to };
    if let (Some(from), Some(to)) = (period.from, period.to)
        && from >= to
    {
        return Err(Fault::usage("the period ends before it begins", "give a --from that is before --to"));
    }
    let (provider, instances) = asked(config, &registry, &told).await?;
    let usage = registry.get(&provider)?.usage(&instances, period).await;
    let usage = usage.map_err(|error| Fault::from(error.to_failure()))?;
    match told.output {
        Output::Text => output::line(text(&usage)),
        Output::Json => output::json(&usage),
        Output::Csv => output::line(csv::text(&COLUMNS, usage.instances.iter().map(|one| row(&usage, one)))),
    }
}

/// Whose usage: all of a provider's when no instance is named.
async fn asked(
    config: &Config,
    registry: &Registry,
    told: &UsageArgs,
) -> Result<(ProviderId, Vec<InstanceName>), Fault> {
    if let Some(provider) = told.what.parse::<ProviderId>().ok().filter(|id| registry.get(id).is_ok()) {
        return Ok((provider, told.instance.iter().cloned().collect()));
    }
    let Ok(id) = told.what.parse::<RelocationId>() else {
        return Err(Fault::usage(
            format!("`{}` is neither a configured provider nor the id of a relocation", told.what),
            "name a provider that `fluidcloud providers` lists, or a relocation that `fluidcloud status` does",
        ));
    };
    if told.instance.is_some() {
        return Err(Fault::usage(
            "an instance is named beside a relocation",
            "name the provider instead of the relocation, or leave the instance out",
        ));
    }
    let report = report::of(&Api::new(config)?.relocation(id).await?);
    let Some(first) = report.instances.first() else {
        return Err(Fault::failed(
            format!("relocation {id} runs nothing at a target"),
            format!("see how it stands with `fluidcloud status {id}`"),
        ));
    };
    let instances = report.instances.iter().map(|moved| moved.instance.clone()).collect();
    Ok((first.provider.clone(), instances))
}

fn row(usage: &Usage, one: &InstanceUsage) -> Vec<String> {
    let number = |value: f64| format!("{value:.6}");
    vec![
        usage.provider.to_string(),
        one.instance.clone(),
        one.id.clone(),
        one.state.clone(),
        moment(one.started_at),
        one.ended_at.map_or(String::new(), moment),
        one.uptime_seconds.to_string(),
        one.vcpus.to_string(),
        one.memory_mib.to_string(),
        one.disk_gib.to_string(),
        number(one.hours.hours),
        number(one.hours.vcpu_hours),
        number(one.hours.memory_gib_hours),
        number(one.hours.disk_gib_hours),
    ]
}

fn text(usage: &Usage) -> String {
    let from = usage.from.map_or("since each was made".to_owned(), |from| format!("from {}", moment(from)));
    let head = format!("{}: {from}, to {}", usage.provider, moment(usage.to));
    let mut table = Table::new(&[
        "INSTANCE",
        "STATE",
        "STARTED",
        "UP",
        "VCPUS",
        "MEMORY",
        "DISK",
        "HOURS",
        "VCPU H",
        "MEMORY GIB H",
        "DISK GIB H",
    ]);
    let number = |value: f64| format!("{value:.3}");
    for one in &usage.instances {
        table.row([
            one.instance.clone(),
            one.state.clone(),
            moment(one.started_at),
            units::seconds(one.uptime_seconds as f64),
            one.vcpus.to_string(),
            units::bytes(one.memory_mib << 20),
            units::bytes(one.disk_gib << 30),
            number(one.hours.hours),
            number(one.hours.vcpu_hours),
            number(one.hours.memory_gib_hours),
            number(one.hours.disk_gib_hours),
        ]);
    }
    let sum = usage.total;
    let sums = [sum.hours, sum.vcpu_hours, sum.memory_gib_hours, sum.disk_gib_hours].map(number);
    table.row(["total".to_owned()].into_iter().chain(std::iter::repeat_n(String::new(), 6)).chain(sums));
    format!("{head}\n\n{table}")
}

/// Whole seconds, UTC.
fn moment(at: OffsetDateTime) -> String {
    let whole = at.to_offset(time::UtcOffset::UTC).truncate_to_second();
    whole.format(&Rfc3339).unwrap_or_default()
}
