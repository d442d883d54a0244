//! The accounts of the simulated cloud: an instance counts from when it was made.

use fluidcloud_proto::ids::InstanceName;
use fluidcloud_proto::usage::{Hours, InstanceUsage};
use time::OffsetDateTime;

use super::cloud::{Cloud, Held};

/// `None` for one that was made later.
pub(super) fn used(
    name: &InstanceName,
    held: &Held,
    cloud: &Cloud,
    from: Option<OffsetDateTime>,
    to: OffsetDateTime,
) -> Option<InstanceUsage> {
    let since = from.map_or(held.made_at, |from| from.max(held.made_at));
    if since > to {
        return None;
    }
    let hours = (to - since).as_seconds_f64() / 3600.0;
    let bytes = held.disks.iter().filter_map(|(_, place)| cloud.disks.get(&place.path));
    let bytes: usize = bytes.map(|disk| disk.bytes.len()).sum();
    let (memory_mib, disk_gib) = (held.memory_bytes >> 20, (bytes as u64).div_ceil(1 << 30));
    Some(InstanceUsage {
        instance: name.to_string(),
        id: name.to_string(),
        state: format!("{:?}", held.power).to_lowercase(),
        started_at: held.made_at,
        ended_at: None,
        uptime_seconds: (to - held.made_at).whole_seconds().unsigned_abs(),
        vcpus: held.vcpus,
        memory_mib,
        disk_gib,
        hours: Hours::of(hours, held.vcpus, memory_mib, disk_gib),
    })
}
