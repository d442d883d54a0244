//! The steps of what stays beside an instance. It is made after the commit: however long that takes, and whether it can be made
//! or not, the service has moved. Only what an image is made of is set aside before the target starts on it.

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::plan::{Runner, StepId};
use fluidcloud_proto::request::{Launch, RelocationRequest};
use fluidcloud_providers::Provider;

use super::{Part, Planner};
use crate::relocation::moving;

impl Planner<'_> {
    /// Returns what comes after the commit, and before what only the move needed goes.
    pub(super) fn keep(&mut self, part: &Part<'_>) -> Vec<StepId> {
        let mut kept = Vec::new();
        if part.wanted.snapshot.is_some() {
            let snapshot = StepId::Snapshot(part.name.clone());
            self.add(snapshot.clone(), vec![StepId::Commit], Runner::Conduit);
            kept.push(snapshot);
        }
        if part.wanted.image.is_some() {
            let (aside, image) = (StepId::SetAside(part.name.clone()), StepId::KeepImage(part.name.clone()));
            self.add(aside.clone(), vec![StepId::Create(part.name.clone())], Runner::Conduit);
            self.add(image.clone(), vec![aside, StepId::Commit], Runner::Conduit);
            kept.push(image);
        }
        kept
    }
}

impl Part<'_> {
    /// After which the target may start.
    pub(super) fn ready(&self) -> StepId {
        match self.wanted.image {
            Some(_) => StepId::SetAside(self.name.clone()),
            None => StepId::Create(self.name.clone()),
        }
    }
}

/// Whether anything is decided in place of what the source has.
pub(super) fn decides(request: &RelocationRequest) -> bool {
    moving(request).any(|(_, wanted)| wanted.launch != Launch::default())
}

/// Whether both ends can, or what to leave out.
pub(super) fn suits(
    request: &RelocationRequest,
    source: &dyn Provider,
    target: &dyn Provider,
) -> Result<(), Failure> {
    let refused = |what: String, remedy: &str| Err(Failure::never(Code::InvalidRequest, what, remedy));
    for (name, wanted) in moving(request) {
        if wanted.snapshot.is_some() && source.keepsakes().is_err() {
            return refused(
                format!("component {name} asks for a snapshot at {}, which keeps none", source.id()),
                "leave out `snapshot`, or move it from a provider of driver openstack",
            );
        }
        if wanted.image.is_some() && target.keepsakes().is_err() {
            return refused(
                format!("component {name} asks for an image at {}, which has no image service", target.id()),
                "leave out `image`, or choose a target of driver openstack",
            );
        }
        if wanted.launch != Launch::default() && !target.decides() {
            return refused(
                format!(
                    "component {name} has `launch`, but {} knows no key pairs, security groups or floating IPs",
                    target.id()
                ),
                "leave out `launch`, or choose a target of driver openstack",
            );
        }
    }
    Ok(())
}
