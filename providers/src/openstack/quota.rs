//! Neutron's quotas, and the counts of Nova and Cinder: what a move makes is counted before the first of it is made.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::OpenstackProvider;
use super::api::{Api, Call, Service};
use crate::error::Error;

/// How many more of a thing the project may have; what is not in it has no limit that anybody tells.
pub(super) type Left = BTreeMap<&'static str, u64>;

#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Quota {
    limit: i64,
    #[serde(default)]
    used: i64,
    #[serde(default)]
    reserved: i64,
}

#[derive(Clone, Debug, Deserialize)]
struct Tenant {
    tenant_id: String,
}

/// As Neutron calls them, and as people do.
const NETWORK: [(&str, &str); 7] = [
    ("network", "networks"),
    ("subnet", "subnets"),
    ("router", "routers"),
    ("port", "ports"),
    ("security_group", "security groups"),
    ("security_group_rule", "security group rules"),
    ("floatingip", "floating IPs"),
];

/// Most and used, as Nova and Cinder call them.
const COMPUTE: [(&str, &str, &str); 2] = [
    ("maxTotalInstances", "totalInstancesUsed", "servers"),
    ("maxServerGroups", "totalServerGroupsUsed", "server groups"),
];
const VOLUME: [(&str, &str, &str); 2] = [
    ("maxTotalVolumes", "totalVolumesUsed", "volumes"),
    ("maxTotalSnapshots", "totalSnapshotsUsed", "snapshots"),
];

impl Api {
    /// Empty where the cloud does not tell a member.
    async fn network_left(&self) -> Result<Left, Error> {
        let call = Call::get(Service::Network, "/quotas/tenant", "see the project's id");
        let Some(tenant) = untold(self.find::<Tenant>(call, "tenant").await)? else {
            return Ok(Left::new());
        };
        let path = format!("/quotas/{}/details", tenant.tenant_id);
        let call = Call::get(Service::Network, path, "see the quotas of networks");
        let found = untold(self.find::<BTreeMap<String, Quota>>(call, "quota").await)?.unwrap_or_default();
        let left = |quota: &Quota| u64::try_from(quota.limit - quota.used - quota.reserved).unwrap_or(0);
        let known = NETWORK.iter().filter_map(|(theirs, ours)| Some((*ours, found.get(*theirs)?)));
        Ok(known.filter(|(_, quota)| quota.limit >= 0).map(|(name, quota)| (name, left(quota))).collect())
    }
}

/// A cloud that does not answer such questions is asked for the thing itself, and refuses then.
fn untold<T>(found: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match found {
        Err(Error::Refused { status: 400 | 403 | 405 | 501, .. } | Error::Driver { .. }) => Ok(None),
        other => other,
    }
}

impl OpenstackProvider {
    pub(super) async fn left(&self) -> Result<Left, Error> {
        let api = &self.api;
        let (network, compute, volume) =
            futures::future::try_join3(api.network_left(), api.compute_limits(), api.volume_limits()).await?;
        let mut left = network;
        left.extend(counts(&compute, &COMPUTE));
        left.extend(counts(&volume, &VOLUME));
        Ok(left)
    }

    /// Fails with the first that the project may not have so many of.
    pub(super) fn allows(&self, left: &Left, wanted: &[(&'static str, usize)]) -> Result<(), Error> {
        for (what, count) in wanted {
            let free = left.get(what).copied().unwrap_or(u64::MAX);
            if *count as u64 > free {
                return Err(Error::Quota {
                    provider: self.id.to_string(),
                    what: (*what).to_owned(),
                    needed: *count as u64,
                    free,
                });
            }
        }
        Ok(())
    }
}

fn counts(limits: &BTreeMap<String, i64>, names: &[(&str, &str, &'static str)]) -> Left {
    let of = |name: &str| limits.get(name).copied();
    let told = names.iter().filter_map(|(most, used, name)| {
        let most = of(most).filter(|most| *most >= 0)?;
        Some((*name, u64::try_from(most - of(used).unwrap_or(0).max(0)).unwrap_or(0)))
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_is_no_entry() {
        let limits = [("maxTotalInstances", 12), ("totalInstancesUsed", 13), ("maxServerGroups", -1)];
        let limits = limits.map(|(name, value)| (name.to_owned(), value)).into();
        assert_eq!(counts(&limits, &COMPUTE), Left::from([("servers", 0)]));
    }
}
