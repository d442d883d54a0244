//! Inspection: the service as its provider runs it, with what may hinder the move. Reads only.

use std::time::Duration;

use fluidcloud_proto::alone::Alone;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{InstanceName, InvalidName, ProviderId};
use fluidcloud_proto::request::{Component, RelocationRequest};
use fluidcloud_proto::surroundings::Surroundings;
use fluidcloud_proto::topology::{Concern, Link, Placed, Severity, Topology};
use fluidcloud_providers::{Provider, Registry};

use super::{call, told};
use crate::web::Web;

/// How long what stays behind may take to answer.
const LINK_WAIT_MAX: Duration = Duration::from_secs(5);

pub async fn inspect(
    registry: &Registry,
    web: &dyn Web,
    request: &RelocationRequest,
) -> Result<Topology, Failure> {
    let provider = registry.get(&request.service.provider).map_err(told)?;
    let mut topology = empty(request.service.provider.clone());
    for component in &request.service.components {
        if let Some(wanted) = &component.instance {
            let instance = call("the inspection", provider.inspect(&wanted.id)).await?;
            let (component, needs) = (component.name.clone(), component.needs.clone());
            topology.instances.push(Placed { component, needs, instance });
        }
        alone(&*provider, component, &mut topology).await?;
        if let Some(link) = link(component) {
            topology.concerns.extend(reach(web, &link).await);
            topology.stays.push(link);
        }
    }
    topology.surroundings = surroundings(&*provider, &topology).await?;
    Ok(topology)
}

/// The same of instances that no request names: each is a component of its own name.
pub async fn survey(provider: &dyn Provider, instances: &[InstanceName]) -> Result<Topology, Failure> {
    let mut topology = empty(provider.id().clone());
    for name in instances {
        let instance = call("the inspection", provider.inspect(name)).await?;
        let component = name.as_str().parse().map_err(|error: InvalidName| {
            Failure::never(Code::Internal, error.to_string(), "report this with the name of the instance")
        })?;
        topology.instances.push(Placed { component, needs: Vec::new(), instance });
    }
    topology.surroundings = surroundings(provider, &topology).await?;
    Ok(topology)
}

async fn surroundings(provider: &dyn Provider, topology: &Topology) -> Result<Surroundings, Failure> {
    let names: Vec<InstanceName> =
        topology.instances.iter().map(|placed| placed.instance.name.clone()).collect();
    call("the look at what the instances stand in", provider.surroundings(&names)).await
}

fn empty(provider: ProviderId) -> Topology {
    Topology {
        provider,
        instances: Vec::new(),
        volumes: Vec::new(),
        images: Vec::new(),
        containers: Vec::new(),
        stays: Vec::new(),
        surroundings: Surroundings::default(),
        concerns: Vec::new(),
    }
}

/// What moves without an instance.
async fn alone(
    provider: &dyn Provider,
    component: &Component,
    topology: &mut Topology,
) -> Result<(), Failure> {
    let name = || component.name.clone();
    if let Some(volume) = &component.volume {
        let volumes = provider.volumes().map_err(told)?;
        let found = call("the look at a volume", volumes.volume(&volume.id)).await?;
        topology.volumes.push(Alone { component: name(), found });
    }
    if let Some(image) = &component.image {
        let images = provider.images().map_err(told)?;
        let found = call("the look at an image", images.image(&image.id)).await?;
        topology.images.push(Alone { component: name(), found });
    }
    if let Some(container) = &component.container {
        let objects = provider.objects().map_err(told)?;
        let found = call("the look at a container", objects.container(&container.id)).await?;
        topology.containers.push(Alone { component: name(), found });
    }
    Ok(())
}

fn link(component: &Component) -> Option<Link> {
    let stays = component.stays.as_ref()?;
    Some(Link { component: component.name.clone(), kind: stays.kind.clone(), url: stays.url.clone() })
}

/// Any answer will do: what stays may well want a login that we do not have.
async fn reach(web: &dyn Web, link: &Link) -> Option<Concern> {
    if !link.url.starts_with("http://") {
        return None;
    }
    let why = match tokio::time::timeout(LINK_WAIT_MAX, web.get(&link.url)).await {
        Ok(Ok(_)) => return None,
        Ok(Err(error)) => error.told(),
        Err(_) => format!("{} does not answer within {} s", link.url, LINK_WAIT_MAX.as_secs()),
    };
    Some(Concern {
        severity: Severity::Warning,
        subject: link.component.to_string(),
        message: format!("the {} that stays cannot be reached from here: {why}", link.kind),
        remedy: "see that it runs and can be reached from the target's network".to_owned(),
    })
}
