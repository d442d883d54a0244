//! What is left of the project's quotas, and whether a relocation fits into it. Quotas are all that a member sees of a
//! cloud's room: a host may still be full.

use std::collections::BTreeMap;

use fluidcloud_proto::status::Capacity;

use super::OpenstackProvider;
use super::volumes::GIB;
use crate::error::Error;
use crate::provider::Reservation;

const MIB: u64 = 1 << 20;
/// Where there is no quota: more than anybody asks for, and sums do not overflow.
const UNLIMITED: u64 = u64::MAX >> 8;

impl OpenstackProvider {
    pub(super) async fn free(&self) -> Result<Capacity, Error> {
        let (compute, volume) =
            futures::future::try_join(self.api.compute_limits(), self.api.volume_limits()).await?;
        Ok(left(&compute, &volume))
    }

    pub(super) async fn check_room(&self, wanted: &Reservation) -> Result<(), Error> {
        let (servers, volumes) = futures::future::try_join(self.api.servers(), self.api.volumes()).await?;
        for name in &wanted.instances {
            self.is_free_or_ours(&servers, &volumes, name, wanted.relocation)?;
        }
        let free = self.free().await?;
        self.fits("memory", wanted.memory_bytes, free.memory_bytes)?;
        self.fits("volumes", wanted.disk_bytes, free.disk_bytes)?;
        if wanted.vcpus > free.vcpus {
            return Err(Error::Unsupported {
                provider: self.id.to_string(),
                what: format!("give {} processors, the project has {} left", wanted.vcpus, free.vcpus),
                remedy: "ask for a larger quota, or choose another target".to_owned(),
            });
        }
        // What is wrong with the configuration is told now, not when the source is already stopped.
        self.stands_for(wanted).await?;
        let flavors = self.api.flavors().await?;
        for size in &wanted.sizes {
            self.flavor_for(&flavors, size)?;
        }
        // One server more: the helper.
        let helpers = usize::from(self.config.helper.is_some());
        let (servers, disks) =
            (wanted.instances.len() + helpers, usize::try_from(wanted.disks).unwrap_or(usize::MAX));
        self.allows(&self.left().await?, &[("servers", servers), ("volumes", disks)])
    }

    /// Every network that the configuration names is there, and every NIC will have one.
    async fn stands_for(&self, wanted: &Reservation) -> Result<(), Error> {
        if let Some(network) = &self.config.network {
            return self.api.network_named(network).await.map(drop);
        }
        for network in self.config.networks.values() {
            self.api.network_named(network).await?;
        }
        match wanted.networks.iter().find(|name| !self.config.networks.contains_key(*name)) {
            Some(nothing) => Err(self.no_network(nothing)),
            None => Ok(()),
        }
    }

    pub(super) fn fits(&self, place: &str, needed: u64, free: u64) -> Result<(), Error> {
        if needed <= free {
            return Ok(());
        }
        Err(Error::NoRoom {
            provider: self.id.to_string(),
            place: format!("the project's quota of {place}"),
            needed,
            free,
        })
    }
}

fn left(compute: &BTreeMap<String, i64>, volume: &BTreeMap<String, i64>) -> Capacity {
    let of = |limits: &BTreeMap<String, i64>, most: &str, used: &str, unit: u64| match limits.get(most) {
        // -1 is no limit.
        None | Some(..0) => UNLIMITED,
        Some(most) => {
            let used = limits.get(used).copied().unwrap_or(0).max(0);
            u64::try_from(most - used).unwrap_or(0).saturating_mul(unit)
        }
    };
    let vcpus = of(compute, "maxTotalCores", "totalCoresUsed", 1);
    Capacity {
        vcpus: u32::try_from(vcpus).unwrap_or(u32::MAX - 1),
        memory_bytes: of(compute, "maxTotalRAMSize", "totalRAMUsed", MIB),
        disk_bytes: of(volume, "maxTotalVolumeGigabytes", "totalGigabytesUsed", GIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(pairs: &[(&str, i64)]) -> BTreeMap<String, i64> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn what_is_left_is_quota_less_usage() {
        let compute = limits(&[
            ("maxTotalCores", 16),
            ("totalCoresUsed", 20),
            ("maxTotalRAMSize", 8192),
            ("totalRAMUsed", 192),
        ]);
        let free = left(&compute, &limits(&[("maxTotalVolumeGigabytes", -1), ("totalGigabytesUsed", 5)]));
        assert_eq!((free.vcpus, free.memory_bytes, free.disk_bytes), (0, 8000 * MIB, UNLIMITED));
    }
}
