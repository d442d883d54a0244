//! The report of a relocation for people.

use std::fmt::Write;

use fluidcloud_proto::alone::ContainerCopied;
use fluidcloud_proto::furniture::Furniture;
use fluidcloud_proto::kept::KeptKind;
use fluidcloud_proto::progress::{Area, TransferReport};
use fluidcloud_proto::report::{AddressReport, CheckReport, Report, StepReport, TargetReport};
use fluidcloud_proto::status::RelocationStatus;
use fluidcloud_proto::topology::Severity;

use crate::table::Table;
use crate::units;

/// The report in the status; when the conduit gave none, what the status itself tells.
pub fn of(status: &RelocationStatus) -> Report {
    status.report.clone().unwrap_or_else(|| Report {
        id: status.id,
        state: status.phase,
        downtime_seconds: None,
        steps: status
            .steps
            .iter()
            .map(|step| StepReport {
                name: step.id.to_string(),
                seconds: step.seconds,
                attempts: step.attempts,
            })
            .collect(),
        transfers: Vec::new(),
        target: None,
        instances: Vec::new(),
        volumes: Vec::new(),
        images: Vec::new(),
        containers: Vec::new(),
        furnished: Vec::new(),
        kept: Vec::new(),
        keys: Vec::new(),
        folded: Vec::new(),
        rewritten: Vec::new(),
        adapted: Vec::new(),
        checks: Vec::new(),
        addresses: Vec::new(),
        concerns: Vec::new(),
        failure: status.failure.clone(),
    })
}

/// Several lines, without the last line break.
pub fn text(report: &Report) -> String {
    let mut parts = vec![head(report), steps(&report.steps)];
    if !report.transfers.is_empty() {
        parts.push(transfers(&report.transfers));
    }
    parts.push(alone(report));
    parts.push(furnished(&report.furnished));
    parts.push(kept(report));
    parts.push(guests(report));
    parts.push(checks(&report.checks));
    parts.push(report.instances.iter().map(instance).collect::<Vec<_>>().join("\n"));
    parts.push(addresses(&report.addresses));
    parts.push(concerns(report));
    if let Some(failure) = &report.failure {
        parts.push(format!("why: {}\nremedy: {}", failure.message, failure.remedy));
    }
    parts.retain(|part| !part.is_empty());
    parts.join("\n\n")
}

fn head(report: &Report) -> String {
    let mut head = format!("relocation {}: {:?}", report.id, report.state);
    if let Some(downtime) = report.downtime_seconds {
        let _ = write!(head, "\ndowntime: {}", units::seconds(downtime));
    }
    head
}

fn steps(steps: &[StepReport]) -> String {
    if steps.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&["STEP", "TIME", "ATTEMPTS"]);
    for step in steps {
        table.row([step.name.clone(), units::seconds(step.seconds), step.attempts.to_string()]);
    }
    table.to_string()
}

fn transfers(transfers: &[TransferReport]) -> String {
    let header =
        ["DISK", "ON DISK", "READ", "ZERO", "FREE", "REUSED", "ON WIRE", "TIME", "DIGEST", "BOTH ENDS"];
    let mut table = Table::new(&header);
    for transfer in transfers {
        table.row([
            transfer.disk.to_string(),
            units::bytes(transfer.bytes_total),
            units::bytes(transfer.bytes_read),
            units::bytes(transfer.bytes_zero),
            units::bytes(transfer.bytes_free),
            units::bytes(transfer.bytes_reused),
            units::bytes(transfer.bytes_on_wire),
            units::seconds(transfer.seconds),
            shortened(&transfer.digest),
            if transfer.verified { "equal" } else { "NOT COMPARED" }.to_owned(),
        ]);
    }
    let areas = transfers
        .iter()
        .flat_map(|transfer| transfer.areas.iter().map(|area| format!("{} {}", transfer.disk, found(area))));
    std::iter::once(table.to_string()).chain(areas).collect::<Vec<_>>().join("\n")
}

/// What was found at a place of a disk, and what was made of it.
fn found(area: &Area) -> String {
    let read = match &area.whole_because {
        Some(why) => format!("read whole, as {why}"),
        None => format!("{} of it free, not read", units::bytes(area.bytes_free)),
    };
    let (start, length) = (units::bytes(area.start_bytes), units::bytes(area.length_bytes));
    format!("at {start}: {} of {length}, {read}", area.content)
}

/// What moved without an instance.
fn alone(report: &Report) -> String {
    let volumes = report
        .volumes
        .iter()
        .map(|volume| format!("{} is volume {} in {}", volume.component, volume.name, volume.provider));
    let images = report.images.iter().map(|image| {
        format!(
            "{} is image {} ({}): {} of {}, {}, compared with {}, in {}",
            image.component,
            image.name,
            image.id,
            units::bytes(image.bytes),
            image.disk_format,
            shortened(&image.digest),
            image.compared.join(", "),
            units::seconds(image.seconds)
        )
    });
    let containers = report.containers.iter().map(container);
    volumes.chain(images).chain(containers).collect::<Vec<_>>().join("\n")
}

fn container(copied: &ContainerCopied) -> String {
    let mut told = format!(
        "{} is container {}: {} objects, {}, {}; {} written ({}), {} there already, {} digested by us, {} manifests, in {}",
        copied.component,
        copied.name,
        copied.objects,
        units::bytes(copied.bytes),
        shortened(&copied.digest),
        copied.copied,
        units::bytes(copied.bytes_copied),
        copied.reused,
        copied.digested,
        copied.manifests,
        units::seconds(copied.seconds)
    );
    if !copied.segment_containers.is_empty() {
        let _ = write!(told, "; segments in {}", copied.segment_containers.join(", "));
    }
    if copied.gone > 0 {
        let _ = write!(told, "; {} gone meanwhile", copied.gone);
    }
    told
}

fn shortened(digest: &str) -> String {
    digest.chars().take(16).collect()
}

fn furnished(all: &[Furniture]) -> String {
    let told = all.iter().map(|it| {
        let how = if it.made { "made" } else { "there already" };
        let notes: String = it.notes.iter().map(|note| format!(", {note}")).collect();
        let name = if it.decided_for.is_some() { &it.target } else { &it.source };
        let whom = it.decided_for.as_ref().map_or(String::new(), |component| format!(" of {component}"));
        format!("{} {name}{whom}: {how}{notes}", it.kind)
    });
    told.collect::<Vec<_>>().join("\n")
}

/// What stays because it was asked for.
fn kept(report: &Report) -> String {
    let kept = report.kept.iter().map(|it| {
        let kind = match it.kind {
            KeptKind::Image => "image",
            KeptKind::Snapshot => "snapshot",
        };
        let size = units::bytes(it.size_bytes);
        format!("{kind} {} of {} stays at {} ({}): {size}", it.name, it.component, it.provider, it.id)
    });
    let keys = report.keys.iter().map(|key| match key.taken_at {
        Some(_) => format!("key pair {} was created for {}; its private half was downloaded", key.name, key.component),
        None => format!(
            "key pair {} was created for {}; its private half waits to be downloaded, once: fluidcloud key {}",
            key.name, key.component, report.id
        ),
    });
    kept.chain(keys).collect::<Vec<_>>().join("\n")
}

fn guests(report: &Report) -> String {
    let folded = report.folded.iter().map(|folded| {
        format!("folded into {}: {} entries, {}", folded.into, folded.entries, units::bytes(folded.bytes))
    });
    let rewritten =
        report.rewritten.iter().map(|file| format!("rewritten {}: {} matches", file.file, file.matches));
    let adapted = report.adapted.iter().map(|change| format!("adapted: {change}"));
    folded.chain(rewritten).chain(adapted).collect::<Vec<_>>().join("\n")
}

fn checks(checks: &[CheckReport]) -> String {
    let told = checks.iter().map(|check| {
        let verdict = if check.passed { "passed" } else { "FAILED" };
        let values = match (&check.before, &check.after) {
            (Some(before), Some(after)) if before == after => format!(" ({after}, as before)"),
            (Some(before), Some(after)) => format!(" ({before} before, {after} after)"),
            (None, Some(after)) => format!(" ({after})"),
            _ => String::new(),
        };
        format!("check {} at {}: {verdict}{values}", check.component, check.url)
    });
    told.collect::<Vec<_>>().join("\n")
}

fn instance(target: &TargetReport) -> String {
    let addresses: Vec<String> = target.addresses.iter().map(ToString::to_string).collect();
    let at = if addresses.is_empty() { String::new() } else { format!(" at {}", addresses.join(", ")) };
    format!("{} runs as {} in {}{at}", target.component, target.instance, target.provider)
}

/// Only those that are other than before.
fn addresses(addresses: &[AddressReport]) -> String {
    let changed = addresses.iter().filter(|one| one.old != one.new);
    let told = changed.map(|one| {
        let shown = |one: Option<std::net::IpAddr>| one.map_or("none".to_owned(), |one| one.to_string());
        format!(
            "{} address of {}: {} -> {}",
            one.kind.as_str(),
            one.component,
            shown(one.old),
            shown(one.new)
        )
    });
    told.collect::<Vec<_>>().join("\n")
}

fn concerns(report: &Report) -> String {
    let told = report.concerns.iter().map(|concern| {
        let severity = severity(concern.severity);
        format!("{severity}: {}: {}; {}", concern.subject, concern.message, concern.remedy)
    });
    told.collect::<Vec<_>>().join("\n")
}

pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Information => "information",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_read_is_told_with_the_reason() {
        let report: Report = serde_json::from_str(include_str!("../../proto/examples/report.json")).unwrap();
        let text = text(&report);
        assert!(text.contains("384.0 MiB"), "{text}");
        assert!(
            text.contains("app/vda at 1.0 MiB: ext4 of 8.0 GiB, 384.0 MiB of it free, not read"),
            "{text}"
        );
        assert!(text.contains("unknown of 16.0 KiB, read whole, as it is nothing"), "{text}");
    }
}
