//! What the project's servers have used, by Nova's own account of it (`os-simple-tenant-usage`), which members may read of
//! their project. Nova counts a server from its first start until it is deleted, running or not, with the size its flavor
//! has now; of disks, that of the flavor.

use fluidcloud_proto::ids::InstanceName;
use fluidcloud_proto::usage::{Hours, InstanceUsage, Usage};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

use super::OpenstackProvider;
use super::api::{Api, Call, Service};
use super::lenient;
use super::power::Found;
use super::servers::Server;
use crate::error::Error;
use crate::provider::Period;

/// A row of Nova's account.
#[derive(Clone, Debug, Deserialize)]
struct Row {
    instance_id: String,
    name: String,
    state: String,
    started_at: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    ended_at: Option<String>,
    /// Of its whole life.
    uptime: u64,
    /// Within the period.
    hours: f64,
    vcpus: u32,
    /// MiB, whatever its name says.
    memory_mb: u64,
    /// GiB.
    local_gb: u64,
}

impl OpenstackProvider {
    pub(super) async fn used(&self, instances: &[InstanceName], period: Period) -> Result<Usage, Error> {
        let mut asked: Vec<Server> = Vec::new();
        for name in instances {
            match self.find(name).await? {
                Found::Server(server) => asked.push(*server),
                // It never ran: nothing was used.
                Found::Defined(_) => (),
            }
        }
        let to = period.to.unwrap_or_else(OffsetDateTime::now_utc);
        let from = match (period.from, instances.is_empty()) {
            (None, true) => oldest(&self.api.servers().await?),
            (from, _) => from,
        };
        let Some(since) = from.or_else(|| oldest(&asked)) else {
            return Ok(Usage::new(self.id.clone(), None, to, Vec::new()));
        };
        let mut rows = self.api.usage(since, period.to).await?;
        if !instances.is_empty() {
            rows.retain(|row| asked.iter().any(|server| server.id == row.instance_id));
        }
        let rows = rows.into_iter().map(|row| self.read(row)).collect::<Result<_, _>>()?;
        Ok(Usage::new(self.id.clone(), from, to, rows))
    }

    fn read(&self, row: Row) -> Result<InstanceUsage, Error> {
        let moment = |told: &str| {
            moment(told).ok_or_else(|| Error::Driver {
                provider: self.id.to_string(),
                what: format!("tell the usage of server {}", row.instance_id),
                cause: format!("`{told}` is no time").into(),
            })
        };
        Ok(InstanceUsage {
            started_at: moment(&row.started_at)?,
            ended_at: row.ended_at.as_deref().map(moment).transpose()?,
            uptime_seconds: row.uptime,
            vcpus: row.vcpus,
            memory_mib: row.memory_mb,
            disk_gib: row.local_gb,
            hours: Hours::of(row.hours, row.vcpus, row.memory_mb, row.local_gb),
            instance: row.name,
            id: row.instance_id,
            state: row.state,
        })
    }
}

impl Api {
    async fn usage(&self, from: OffsetDateTime, to: Option<OffsetDateTime>) -> Result<Vec<Row>, Error> {
        let path = format!("/os-simple-tenant-usage/{}", self.project().await?);
        let mut call = Call::get(Service::Compute, path, "tell what the project has used");
        call = call.query("start", written(from));
        if let Some(to) = to {
            call = call.query("end", written(to));
        }
        // A page without servers has no list of them.
        let list = |answer: &mut Value| match answer["tenant_usage"]["server_usages"].take() {
            Value::Null => json!([]),
            rows => rows,
        };
        self.pages(call, "tenant_usage", list).await
    }
}

fn oldest(servers: &[Server]) -> Option<OffsetDateTime> {
    servers.iter().filter_map(|server| moment(&server.created)).min()
}

/// As Nova wants it: UTC, which it does not let be said.
fn written(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    at.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// Servers have their times with a zone, rows without.
fn moment(told: &str) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(told, &Rfc3339) {
        return Some(at);
    }
    let format =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond]]]");
    PrimitiveDateTime::parse(told, format).ok().map(PrimitiveDateTime::assume_utc)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn times_are_read_and_written_as_nova_does() {
        let at = datetime!(2026-11-21 21:55:33 UTC);
        for told in ["2026-11-21T21:55:33.000000", "2026-11-21T21:55:33", "2026-11-21T21:55:33Z"] {
            assert_eq!(moment(told), Some(at), "{told}");
        }
        assert_eq!(moment("yesterday"), None);
        assert_eq!(written(datetime!(2026-11-21 22:55:33.5 +1)), "2026-11-21T21:55:33");
    }
}
