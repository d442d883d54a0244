//! `fluidcloud overview RELOCATION`: what stands at the target now, read back from its provider. Reads only.

use std::fmt::Write;

use fluidcloud_conduit::overview;
use fluidcloud_proto::overview::{InstanceOverview, KeypairShown, Overview};
use fluidcloud_proto::surroundings::{BootSource, Direction, Remote, Rule};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::api::Api;
use crate::args::{Output, OverviewArgs};
use crate::config::Config;
use crate::fault::Fault;
use crate::output;
use crate::report;
use crate::service;
use crate::units;

pub async fn run(config: &Config, told: &OverviewArgs) -> Result<(), Fault> {
    let registry = service::registry(config)?;
    let status = Api::new(config)?.relocation(told.id).await?;
    let seen = overview(&registry, &status.source, &report::of(&status), OffsetDateTime::now_utc()).await;
    let seen = seen.map_err(Fault::from)?;
    match told.output {
        Output::Json => output::json(&seen),
        Output::Text => output::line(text(&seen)),
    }
}

fn text(seen: &Overview) -> String {
    let head = format!("relocation {} at {}, as of {}", seen.relocation, seen.provider, moment(seen.at));
    let mut parts = vec![head];
    parts.extend(seen.instances.iter().map(|one| instance(one, seen)));
    parts.join("\n\n")
}

fn instance(one: &InstanceOverview, seen: &Overview) -> String {
    let mut told = format!("{}: {}", one.component, one.name);
    let mut line = |what: &str, text: String| {
        if !text.is_empty() {
            let _ = write!(told, "\n  {what:<15} {text}");
        }
    };
    line("id", one.details.id.clone());
    line("status", one.details.status.clone());
    let age = one.age_seconds.map_or(String::new(), |age| format!(", {} old", units::seconds(age as f64)));
    line("made", one.details.created_at.map_or(String::new(), |at| format!("{}{age}", moment(at))));
    line("flavor", format!("{} ({} vcpus, {})", one.flavor, one.vcpus, units::bytes(one.memory_bytes)));
    line("boots from", boots_from(&one.boots_from));
    line("key pair", one.keypair.as_ref().map_or("none".to_owned(), |pair| keypair(pair, seen)));
    for nic in &one.nics {
        let joined =
            |all: &[std::net::IpAddr]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let floating = if nic.floating.is_empty() {
            String::new()
        } else {
            format!(", floating {}", joined(&nic.floating))
        };
        line("network", format!("{} ({}): {}{floating}", nic.network, nic.mac, joined(&nic.addresses)));
    }
    for group in &one.security_groups {
        line("security group", format!("{}, {} rules", group.name, group.rules.len()));
        group.rules.iter().for_each(|one| line("", rule(one)));
    }
    for volume in &one.details.volumes {
        let kind = if volume.volume_type.is_empty() { "" } else { " of type " };
        let size = units::bytes(volume.size_bytes);
        line(
            "volume",
            format!(
                "{} {} ({}): {size}{kind}{}, {}",
                volume.device, volume.name, volume.id, volume.volume_type, volume.status
            ),
        );
    }
    for kept in &one.kept {
        let shown = [kept.format.as_str(), kept.visibility.as_str(), kept.status.as_str()];
        let shown: Vec<&str> = shown.into_iter().filter(|text| !text.is_empty()).collect();
        let what = if kept.provider == seen.provider { "kept image" } else { "kept snapshot" };
        let size = units::bytes(kept.size_bytes);
        line(what, format!("{} ({}) at {}: {}, {size}", kept.name, kept.id, kept.provider, shown.join(", ")));
    }
    one.metadata.iter().for_each(|(key, value)| line("metadata", format!("{key} = {value}")));
    line("note", one.details.note.clone());
    told
}

fn keypair(pair: &KeypairShown, seen: &Overview) -> String {
    let print = if pair.fingerprint.is_empty() { String::new() } else { format!(" ({})", pair.fingerprint) };
    let private = match &pair.private_half {
        None => String::new(),
        Some(key) => match key.taken_at {
            Some(at) => format!(", private half downloaded at {}", moment(at)),
            None => format!(", private half NOT downloaded yet: `fluidcloud key {}`", seen.relocation),
        },
    };
    format!("{}{print}{private}", pair.name)
}

fn boots_from(source: &BootSource) -> String {
    match source {
        BootSource::Unknown => String::new(),
        BootSource::Image(name) => format!("image {name}"),
        BootSource::Volume(kind) if kind.is_empty() => "a volume".to_owned(),
        BootSource::Volume(kind) => format!("a volume of type {kind}"),
    }
}

fn rule(rule: &Rule) -> String {
    let direction = match rule.direction {
        Direction::Ingress => "in",
        Direction::Egress => "out",
    };
    let ports = match (rule.port_min, rule.port_max) {
        (Some(from), Some(to)) if from != to => format!(" {from}-{to}"),
        (Some(port), _) | (None, Some(port)) => format!(" {port}"),
        (None, None) => String::new(),
    };
    let remote = match &rule.remote {
        Remote::Anywhere => "anywhere".to_owned(),
        Remote::Addresses(cidr) => cidr.clone(),
        Remote::Group(name) => format!("group {name}"),
    };
    let protocol = rule.protocol.as_deref().unwrap_or("any");
    let side = if rule.direction == Direction::Ingress { "from" } else { "to" };
    format!("{direction} {} {protocol}{ports} {side} {remote}", rule.ethertype)
}

/// Whole seconds, UTC.
fn moment(at: OffsetDateTime) -> String {
    let whole = at.to_offset(time::UtcOffset::UTC).truncate_to_second();
    whole.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_decided_is_shown() {
        let seen: Overview =
            serde_json::from_str(include_str!("../../../proto/examples/overview.json")).unwrap();
        let text = text(&seen);
        for shown in [
            "app: shop-b",
            "ACTIVE",
            "m1.small (1 vcpus, 2.0 GiB)",
            "a volume of type ssd",
            "shop-ops (5e:6f:aa:10), private half downloaded at 2026-11-27T20:10:00Z",
            "shop-net (fa:16:3e:00:00:01): 10.20.0.5, floating 172.24.4.30",
            "in IPv4 tcp 80 from anywhere",
            "kept image      shop-golden",
            "vmdk, shared, active",
            "tier = gold",
        ] {
            assert!(text.contains(shown), "no `{shown}` in {text}");
        }
        let mut untaken = seen;
        let pair = untaken.instances[0].keypair.as_mut().unwrap();
        pair.private_half.as_mut().unwrap().taken_at = None;
        assert!(super::text(&untaken).contains("private half NOT downloaded yet: `fluidcloud key 7b0c2d0e"));
    }
}
