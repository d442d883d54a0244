//! Tries on the running source what a relocation would do inside its guests, through the migrators that will do it.

use fluidcloud_conduit::rehearsals;
use fluidcloud_migrators::open_source;
use fluidcloud_migrators::rehearse::{is_nothing, rehearse as rehearse_at};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ProviderId, RelocationId};
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::task::Rehearsed;
use fluidcloud_proto::topology::Topology;
use fluidcloud_providers::{Moment, Registry};

use crate::fault::Fault;
use crate::units;

pub async fn rehearse(
    registry: &Registry,
    request: &RelocationRequest,
    topology: &Topology,
    target: &ProviderId,
) -> Result<Vec<Rehearsed>, Fault> {
    let (source, target) = (registry.get(&request.service.provider)?, registry.get(target)?);
    let mut guests = Vec::new();
    for order in rehearsals(request, topology, target.hardware())? {
        if is_nothing(&order) {
            guests.push(Rehearsed::default());
            continue;
        }
        if !source.has_site() {
            return Err(no_site(request).into());
        }
        let places: Vec<_> = order.disks.iter().map(|disk| disk.place.clone()).collect();
        // An id of its own, as nothing that was made for it stays.
        let looking = RelocationId::new();
        let tried = match open_source(&*source, looking, &places, Moment::Running).await {
            Ok(site) => Ok(rehearse_at(&site, &order).await),
            Err(error) => Err(Fault::from(error.to_failure())),
        };
        source.settle(looking).await?;
        let tried = tried?;
        guests.push(tried.map_err(|error| Fault::from(error.to_failure()))?);
    }
    Ok(guests)
}

fn no_site(request: &RelocationRequest) -> Failure {
    let message = format!(
        "provider `{}` has no site at which its guests could be looked into",
        request.service.provider
    );
    Failure::never(Code::Provider, message, "plan without --rehearse")
}

pub fn text(guests: &[Rehearsed]) -> String {
    if guests.is_empty() {
        return "nothing is changed inside a guest".to_owned();
    }
    let mut lines = Vec::new();
    for guest in guests {
        lines.extend(guest.changes.iter().map(|change| format!("would adapt: {change}")));
        let folds = guest.folded_bytes.iter();
        lines.extend(folds.map(|bytes| format!("would fold: {} into the root disk", units::bytes(*bytes))));
        let files = guest.files.iter();
        lines.extend(files.map(|file| {
            format!("would rewrite {}: {} matches\n{}", file.file, file.matches, file.diff.trim_end())
        }));
    }
    lines.join("\n")
}
