//! Furnish: what the instances stand in is made at the target, before anything of the source is touched.

use fluidcloud_proto::failure::Failure;
use fluidcloud_providers::{Furnishing, Size};

use super::{Scene, call};
use crate::relocation::Done;

impl Scene<'_> {
    pub(super) async fn furnish(&self) -> Result<Done, Failure> {
        let relocation = self.relocation;
        let around = relocation.topology.as_ref().map(|topology| topology.surroundings.clone());
        let around = around.unwrap_or_default();
        let order = Furnishing {
            relocation: relocation.id,
            source: relocation.request.service.provider.clone(),
            surroundings: self.undecided(&around),
            decisions: self.decisions(&around)?,
        };
        let furnished = call("the furnishing of the target", self.target.furnish(&order)).await?;
        Ok(Done::Furnished { furnished })
    }

    pub(super) async fn unfurnish(&self) -> Result<(), Failure> {
        let id = self.relocation.id;
        call("the removal of what was furnished", self.target.unfurnish(id)).await?;
        // Of no use any more.
        self.keys.remove(id).map_err(|error| error.to_failure())
    }

    /// How large each instance is that moves.
    pub(super) fn sizes(&self) -> Result<Vec<Size>, Failure> {
        let mut sizes = Vec::new();
        for (component, wanted) in self.relocation.moving() {
            let found = &self.relocation.placed(component)?.instance;
            let flavor = found.settings.as_ref().map(|settings| settings.flavor.clone());
            sizes.push(Size {
                instance: crate::relocation::target_name(wanted).clone(),
                vcpus: found.vcpus,
                memory_bytes: found.memory_bytes,
                flavor: flavor.filter(|flavor| !flavor.is_empty()),
            });
        }
        Ok(sizes)
    }

    /// Networks of NICs of which the source tells nothing, so that nothing can be made after them.
    pub(super) fn untold_networks(&self) -> Result<Vec<String>, Failure> {
        let mut untold: Vec<String> = Vec::new();
        let told = self.relocation.topology.iter().flat_map(|topology| &topology.surroundings.networks);
        let told: Vec<&str> = told.map(|network| network.name.as_str()).collect();
        for (component, _) in self.relocation.moving() {
            let nics = &self.relocation.placed(component)?.instance.nics;
            let networks = nics.iter().map(|nic| &nic.network);
            untold.extend(networks.filter(|network| !told.contains(&network.as_str())).cloned());
        }
        untold.sort();
        untold.dedup();
        Ok(untold)
    }
}
