//! `fluidcloud inspect`: what runs at a provider, some instances of it, or the service of a request, what they stand in, and
//! what may hinder a move. Reads only.

mod alone;
mod around;
mod draft;
mod text;

use std::path::Path;

use fluidcloud_conduit::runner::inspect::{inspect, survey};
use fluidcloud_conduit::web::HttpWeb;
use fluidcloud_proto::ids::{InstanceName, ProviderId};
use fluidcloud_proto::topology::Topology;
use fluidcloud_providers::Registry;

use super::request;
use crate::args::{InspectArgs, Output};
use crate::config::Config;
use crate::fault::Fault;
use crate::output;
use crate::service;

pub use text::concerns as concerns_text;

pub async fn run(config: &Config, told: InspectArgs) -> Result<(), Fault> {
    let registry = service::registry(config)?;
    let topology = find(&registry, &told).await?;
    match told.output {
        _ if told.request => output::line(draft::draft(&topology)?),
        Output::Json => output::json(&topology),
        Output::Text => output::line(text::topology(&topology)),
    }
}

async fn find(registry: &Registry, told: &InspectArgs) -> Result<Topology, Fault> {
    let provider = told.what.parse::<ProviderId>().ok().filter(|id| registry.get(id).is_ok());
    if let Some(id) = provider {
        return at_provider(registry, &id, &told.instances).await;
    }
    let is_file = told.instances.is_empty() && (told.what == "-" || Path::new(&told.what).exists());
    if !is_file {
        return Err(Fault::usage(
            format!("`{}` is neither a configured provider nor a request file", told.what),
            "name a provider that `fluidcloud providers` lists, or a file that exists",
        ));
    }
    if told.request {
        return Err(Fault::usage(
            format!("`{}` is a request already", told.what),
            "name a provider, and instances of it, to have a request drafted",
        ));
    }
    let request = request::read(Path::new(&told.what))?;
    Ok(inspect(registry, &HttpWeb::new(), &request).await?)
}

async fn at_provider(
    registry: &Registry,
    id: &ProviderId,
    named: &[InstanceName],
) -> Result<Topology, Fault> {
    let provider = registry.get(id)?;
    let mut names: Vec<InstanceName> = named.to_vec();
    if names.is_empty() {
        names = provider.instances().await?.into_iter().map(|(name, _)| name).collect();
    }
    names.sort();
    names.dedup();
    Ok(survey(&*provider, &names).await?)
}
