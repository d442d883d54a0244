//! Tries the rewrite rules of a request on its running source, through the migrator that will apply them.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, DiskId};
use fluidcloud_proto::request::{RelocationRequest, RewriteRule};
use fluidcloud_proto::task::{FileDiff, GuestDisk, RewriteConfig};
use fluidcloud_proto::topology::{Placed, Topology};
use fluidcloud_providers::Registry;

use crate::fault::Fault;

pub async fn rehearse(
    registry: &Registry,
    request: &RelocationRequest,
    topology: &Topology,
) -> Result<Vec<FileDiff>, Fault> {
    let source = registry.get(&request.service.provider)?;
    let mut files = Vec::new();
    for component in &request.service.components {
        let Some(wanted) = component.instance.as_ref().filter(|wanted| !wanted.rewrite.is_empty()) else {
            continue;
        };
        let Some(placed) = topology.placed(&component.name) else { continue };
        let Some(site) = source.site() else { return Err(no_site(request).into()) };
        let order = order(&component.name, placed, &wanted.rewrite);
        let tried = fluidcloud_migrators::rewrite::rehearse(&site, &order).await;
        files.extend(tried.map_err(|error| Fault::from(error.to_failure()))?);
    }
    Ok(files)
}

fn order(component: &ComponentName, placed: &Placed, rules: &[RewriteRule]) -> RewriteConfig {
    let disks = placed.instance.disks.iter().map(|disk| GuestDisk {
        disk: DiskId { component: component.clone(), disk: disk.name.clone() },
        place: disk.place.clone(),
        guest_device: disk.guest_device.clone(),
        staging: false,
    });
    RewriteConfig { disks: disks.collect(), rules: rules.to_vec() }
}

fn no_site(request: &RelocationRequest) -> Failure {
    let message =
        format!("provider `{}` has no site at which rules could be tried", request.service.provider);
    Failure::never(Code::Provider, message, "plan without --rewrites")
}
