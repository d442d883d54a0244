//! What is remembered of relocations that have ended: the newest statuses, for watchers, and where each moved
//! instance went, so that a kept source is not moved a second time.

use std::collections::{HashMap, VecDeque};

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{InstanceName, ProviderId, RelocationId};
use fluidcloud_proto::status::{Phase, RelocationStatus};
use fluidcloud_proto::topology::{Power, Topology};

use crate::relocation::{Relocation, target_name};

/// Ended relocations shown to who asks for a report; older ones stay in the log.
pub const PAST_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub struct Past {
    ended: VecDeque<RelocationStatus>,
    moved: HashMap<(ProviderId, InstanceName), Moved>,
}

#[derive(Clone, Debug)]
struct Moved {
    by: RelocationId,
    to: ProviderId,
    name: InstanceName,
}

impl Past {
    pub fn add(&mut self, relocation: &Relocation, status: RelocationStatus) {
        if status.phase == Phase::Succeeded
            && let Some(to) = &relocation.target
        {
            let from = &relocation.request.service.provider;
            for (_, wanted) in relocation.moving() {
                let name = target_name(wanted).clone();
                self.moved.remove(&(to.clone(), name.clone()));
                let moved = Moved { by: relocation.id, to: to.clone(), name };
                self.moved.insert((from.clone(), wanted.id.clone()), moved);
            }
        }
        self.ended.push_back(status);
        if self.ended.len() > PAST_MAX {
            self.ended.pop_front();
        }
    }

    pub fn statuses(&self) -> impl Iterator<Item = &RelocationStatus> {
        self.ended.iter()
    }

    pub fn status(&self, id: RelocationId) -> Option<&RelocationStatus> {
        self.ended.iter().find(|status| status.id == id)
    }

    /// Why this service cannot be moved from where it was found: it is what an earlier relocation left behind. One
    /// that runs again was taken back into service by a person, and may move.
    pub fn moved_away(&self, topology: &Topology) -> Option<Failure> {
        topology.instances.iter().find_map(|placed| {
            let instance = &placed.instance;
            if instance.power == Power::Running {
                return None;
            }
            let moved = self.moved.get(&(topology.provider.clone(), instance.name.clone()))?;
            let message = format!(
                "instance {} at {} was moved to {} at {} by relocation {} and is only kept as its source",
                instance.name, topology.provider, moved.name, moved.to, moved.by
            );
            let remedy = format!(
                "relocate {} from {} instead; or start {} first, if it is to serve again",
                moved.name, moved.to, instance.name
            );
            Some(Failure::never(Code::ConflictingRequest, message, remedy))
        })
    }
}
