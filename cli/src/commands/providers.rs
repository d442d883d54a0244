//! `fluidcloud providers`: asks each configured provider what is free there.

use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::status::{Capacity, ProviderStatus};
use fluidcloud_proto::task::Hardware;
use fluidcloud_providers::{Provider, ProviderConfig};
use serde::Serialize;

use crate::args::Output;
use crate::config::Config;
use crate::fault::Fault;
use crate::output;
use crate::service;
use crate::table::Table;
use crate::units;

/// A provider that takes longer counts as unreachable.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);

#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    status: ProviderStatus,
    hardware: Hardware,
    /// What the driver's tests ran against.
    verified_against: &'static str,
}

pub async fn run(config: &Config, output: Output) -> Result<(), Fault> {
    let registry = service::registry(config)?;
    let mut asked = Vec::new();
    for configured in &config.providers {
        asked.push((configured, registry.get(&configured.id)?));
    }
    let answers =
        futures::future::join_all(asked.iter().map(|(configured, provider)| ask(configured, &**provider)));
    let shown = answers.await;
    match output {
        Output::Json => output::json(&shown),
        Output::Text => output::line(text(&shown)),
    }
}

async fn ask(config: &ProviderConfig, provider: &dyn Provider) -> Shown {
    let question = async {
        let capacity = provider.capacity().await?;
        Ok::<_, fluidcloud_providers::Error>((capacity, provider.instances().await?.len() as u64))
    };
    let answer = match tokio::time::timeout(ANSWER_WITHIN, question).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_failure()),
        Err(_) => Err(Failure::later(
            Code::TimedOut,
            format!("provider `{}` did not answer within {} s", config.id, ANSWER_WITHIN.as_secs()),
            "check that its host is up and its service answers",
        )),
    };
    let status = ProviderStatus {
        id: config.id.clone(),
        driver: provider.driver().to_owned(),
        reachable: answer.is_ok(),
        failure: answer.as_ref().err().cloned(),
        region: config.region.clone(),
        labels: config.labels.clone(),
        capacity: answer.as_ref().ok().map(|(capacity, _)| *capacity),
        instances: answer.map_or(0, |(_, instances)| instances),
    };
    Shown {
        status,
        hardware: provider.hardware().clone(),
        verified_against: verified_against(provider.driver()),
    }
}

fn verified_against(driver: &str) -> &'static str {
    match driver {
        "libvirt" => "a real libvirt with QEMU",
        "openstack" => "a real OpenStack (Zed)",
        "memory" => "nothing real: it simulates a cloud, for tests",
        _ => "unknown",
    }
}

fn text(shown: &[Shown]) -> String {
    let statuses: Vec<ProviderStatus> = shown.iter().map(|one| one.status.clone()).collect();
    let mut hardware = Table::new(&["PROVIDER", "HARDWARE", "DRIVER VERIFIED AGAINST"]);
    for one in shown {
        let Hardware { machine, disk_bus, nic, format } = &one.hardware;
        let format = format!("{format:?}").to_lowercase();
        let shape = format!("{machine}, disks {disk_bus} {format}, NICs {nic}");
        hardware.row([one.status.id.to_string(), shape, one.verified_against.to_owned()]);
    }
    let failures = shown.iter().filter_map(|one| one.status.failure.as_ref()).map(ToString::to_string);
    let mut parts = vec![table(&statuses), hardware.to_string()];
    parts.push(failures.collect::<Vec<_>>().join("\n"));
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

/// Also part of `fluidcloud status`.
pub fn table(providers: &[ProviderStatus]) -> String {
    let mut table =
        Table::new(&["PROVIDER", "DRIVER", "REACHABLE", "VCPUS", "MEMORY", "DISK", "INSTANCES", "REGION"]);
    for provider in providers {
        let free = |show: fn(&Capacity) -> String| provider.capacity.as_ref().map_or("-".to_owned(), show);
        table.row([
            provider.id.to_string(),
            provider.driver.clone(),
            if provider.reachable { "yes" } else { "NO" }.to_owned(),
            free(|capacity| capacity.vcpus.to_string()),
            free(|capacity| units::bytes(capacity.memory_bytes)),
            free(|capacity| units::bytes(capacity.disk_bytes)),
            if provider.reachable { provider.instances.to_string() } else { "-".to_owned() },
            provider.region.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.to_string()
}
