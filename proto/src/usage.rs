//! What instances have used, by their provider's own accounting: what `fluidcloud usage --output json` prints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::ids::ProviderId;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    pub provider: ProviderId,
    /// What was asked for; absent: since each instance was made.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub from: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub to: OffsetDateTime,
    /// Oldest first.
    pub instances: Vec<InstanceUsage>,
    pub total: Hours,
}

/// One instance. It counts from its first start until it was deleted, whether it runs or not, as clouds bill it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceUsage {
    /// As its provider writes it.
    pub instance: String,
    pub id: String,
    /// In the provider's words, such as `active`, `stopped`, `terminated`.
    pub state: String,
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub started_at: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    #[schemars(with = "Option<String>")]
    pub ended_at: Option<OffsetDateTime>,
    /// Since its first start, also before `from`.
    pub uptime_seconds: u64,
    pub vcpus: u32,
    pub memory_mib: u64,
    /// Of its own disk; volumes are accounted for apart.
    pub disk_gib: u64,
    #[serde(flatten)]
    pub hours: Hours,
}

/// Within the period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Hours {
    pub hours: f64,
    pub vcpu_hours: f64,
    pub memory_gib_hours: f64,
    pub disk_gib_hours: f64,
}

impl Hours {
    /// Of an instance of that size that was there for so long.
    pub fn of(hours: f64, vcpus: u32, memory_mib: u64, disk_gib: u64) -> Self {
        Self {
            hours,
            vcpu_hours: hours * f64::from(vcpus),
            memory_gib_hours: hours * memory_mib as f64 / 1024.0,
            disk_gib_hours: hours * disk_gib as f64,
        }
    }
}

impl Usage {
    /// Sorts and sums.
    pub fn new(
        provider: ProviderId,
        from: Option<OffsetDateTime>,
        to: OffsetDateTime,
        mut instances: Vec<InstanceUsage>,
    ) -> Self {
        instances.sort_by(|a, b| (a.started_at, &a.id).cmp(&(b.started_at, &b.id)));
        let total = instances.iter().fold(Hours::default(), |sum, one| Hours {
            hours: sum.hours + one.hours.hours,
            vcpu_hours: sum.vcpu_hours + one.hours.vcpu_hours,
            memory_gib_hours: sum.memory_gib_hours + one.hours.memory_gib_hours,
            disk_gib_hours: sum.disk_gib_hours + one.hours.disk_gib_hours,
        });
        Self { provider, from, to, instances, total }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_sum_and_sizes_are_in_gib() {
        let at = OffsetDateTime::UNIX_EPOCH;
        let one = |id: &str, hours| InstanceUsage {
            instance: "app".into(),
            id: id.into(),
            state: "active".into(),
            started_at: at,
            ended_at: None,
            uptime_seconds: 3600,
            vcpus: 2,
            memory_mib: 512,
            disk_gib: 3,
            hours: Hours::of(hours, 2, 512, 3),
        };
        let usage = Usage::new("cloud".parse().unwrap(), None, at, vec![one("b", 1.0), one("a", 3.0)]);
        assert_eq!(usage.instances[0].id, "a");
        let total = Hours { hours: 4.0, vcpu_hours: 8.0, memory_gib_hours: 2.0, disk_gib_hours: 12.0 };
        assert_eq!(usage.total, total);
    }
}
