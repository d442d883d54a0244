//! How a relocation ended, from its log alone: what `relocate --wait` prints last.

mod addresses;

use fluidcloud_proto::alone::{ContainerCopied, VolumeMoved};
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::ComponentName;
use fluidcloud_proto::kept::KeyReport;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::progress::TransferReport;
use fluidcloud_proto::report::{Report, StepReport, TargetReport};
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::task::Output;
use fluidcloud_proto::topology::{Concern, Severity};
use fluidcloud_providers::Stopped;
use time::OffsetDateTime;

use crate::relocation::step::seconds_between;
use crate::relocation::target_name_of_volume;
use crate::relocation::{Done, Relocation, Stage, State, Step};
use crate::status::{phase, seconds};

pub fn report(relocation: &Relocation) -> Report {
    let state = phase(relocation);
    let instances = if state == Phase::Succeeded { targets(relocation) } else { Vec::new() };
    let mut report = Report {
        id: relocation.id,
        state,
        downtime_seconds: downtime(relocation),
        steps: steps(relocation),
        transfers: relocation.steps.iter().filter_map(transfer).collect(),
        target: instances.first().cloned(),
        instances,
        volumes: if state == Phase::Succeeded { volumes(relocation) } else { Vec::new() },
        images: Vec::new(),
        containers: Vec::new(),
        furnished: relocation.furnished().map(|furnished| furnished.0.clone()).unwrap_or_default(),
        kept: Vec::new(),
        keys: if state == Phase::Succeeded { keys(relocation) } else { Vec::new() },
        folded: Vec::new(),
        rewritten: Vec::new(),
        adapted: Vec::new(),
        checks: Vec::new(),
        addresses: if state == Phase::Succeeded { addresses::of(relocation) } else { Vec::new() },
        concerns: concerns(relocation),
        failure: relocation.failure.clone(),
    };
    for step in &relocation.steps {
        match &step.output {
            Some(Done::Migrated { output: Output::Adapted { changes } }) => {
                report.adapted.extend_from_slice(changes)
            }
            Some(Done::Migrated { output: Output::Folded(folded) }) => report.folded.push(folded.clone()),
            Some(Done::Migrated { output: Output::Rewritten { files } }) => {
                report.rewritten.extend_from_slice(files)
            }
            Some(Done::Migrated { output: Output::ImageCopied(copied) }) => {
                report.images.push(copied.clone())
            }
            Some(Done::Migrated { output: Output::ContainerCopied(copied) }) => {
                copied_once(&mut report.containers, copied)
            }
            Some(Done::Kept { kept }) if state == Phase::Succeeded => report.kept.extend_from_slice(kept),
            Some(Done::Verified { checks, .. }) => report.checks.extend_from_slice(checks),
            _ => {}
        }
    }
    report
}

/// A container that was copied once more is told as one: what there is by the latest, what was done by both.
fn copied_once(all: &mut Vec<ContainerCopied>, copied: &ContainerCopied) {
    let Some(told) = all.iter_mut().find(|told| told.component == copied.component) else {
        return all.push(copied.clone());
    };
    let mut segment_containers = std::mem::take(&mut told.segment_containers);
    segment_containers.extend_from_slice(&copied.segment_containers);
    segment_containers.sort();
    segment_containers.dedup();
    *told = ContainerCopied {
        segment_containers,
        copied: told.copied + copied.copied,
        bytes_copied: told.bytes_copied + copied.bytes_copied,
        reused: told.reused,
        manifests: told.manifests + copied.manifests,
        digested: told.digested + copied.digested,
        gone: told.gone + copied.gone,
        seconds: told.seconds + copied.seconds,
        ..copied.clone()
    };
}

fn volumes(relocation: &Relocation) -> Vec<VolumeMoved> {
    let (Some(provider), Some(topology)) = (&relocation.target, &relocation.topology) else {
        return Vec::new();
    };
    let all = topology.volumes.iter();
    all.map(|volume| VolumeMoved {
        component: volume.component.clone(),
        provider: provider.clone(),
        name: target_name_of_volume(relocation, &volume.component, &volume.found).to_owned(),
    })
    .collect()
}

/// Those that were created; whether they were taken is not in the log.
fn keys(relocation: &Relocation) -> Vec<KeyReport> {
    let created = relocation.moving().filter_map(|(component, wanted)| {
        let name = wanted.launch.keypair.as_ref()?.create.clone()?;
        Some(KeyReport { component: component.clone(), name, taken_at: None })
    });
    created.collect()
}

/// Those that were begun.
fn steps(relocation: &Relocation) -> Vec<StepReport> {
    let now = relocation.changed_at;
    let begun = relocation.steps.iter().filter(|step| step.begun());
    begun
        .map(|step| StepReport {
            name: step.id.to_string(),
            seconds: seconds(step, now),
            attempts: step.epoch.0,
        })
        .collect()
}

fn targets(relocation: &Relocation) -> Vec<TargetReport> {
    let Some(provider) = &relocation.target else { return Vec::new() };
    relocation
        .moving()
        .map(|(component, wanted)| {
            let verified = relocation.step(&StepId::Verify(component.clone()));
            let addresses = match verified.and_then(|step| step.output.as_ref()) {
                Some(Done::Verified { addresses, .. }) => addresses.clone(),
                _ => Vec::new(),
            };
            let instance = crate::relocation::target_name(wanted).clone();
            TargetReport { component: component.clone(), provider: provider.clone(), instance, addresses }
        })
        .collect()
}

/// Summed over every attempt by the worker, and never less than what failed attempts had told.
fn transfer(step: &Step) -> Option<TransferReport> {
    let Some(Done::Migrated { output: Output::Synced { transfer } }) = &step.output else { return None };
    let mut transfer = transfer.clone();
    transfer.bytes_read = transfer.bytes_read.max(step.spent.bytes_read);
    transfer.bytes_on_wire = transfer.bytes_on_wire.max(step.spent.bytes_on_wire);
    transfer.seconds += step.spent.seconds;
    Some(transfer)
}

/// From the first stop of a source that ran until the last of what ran answers again, at the target or at the
/// source. While nothing does, until now.
fn downtime(relocation: &Relocation) -> Option<f64> {
    let frozen = relocation.steps.iter().filter(|step| match &step.id {
        StepId::Freeze(component) => relocation.ran_before(component),
        _ => false,
    });
    let from = frozen.filter_map(|step| step.first_issued_at).min()?;
    Some(seconds_between(from, answered_again(relocation)))
}

fn answered_again(relocation: &Relocation) -> OffsetDateTime {
    let ends = relocation.steps.iter().filter_map(|step| match (&step.id, &relocation.stage) {
        (StepId::Verify(_), Stage::Ended { phase: Phase::Succeeded, .. }) => step.ended_at,
        (StepId::Freeze(_), Stage::Ended { .. }) => step.undone_at,
        _ => None,
    });
    ends.max().unwrap_or(relocation.changed_at)
}

fn concerns(relocation: &Relocation) -> Vec<Concern> {
    let found = relocation.topology.iter().flat_map(|topology| topology.all_concerns()).cloned();
    let mut concerns: Vec<Concern> = found.collect();
    concerns.extend(relocation.moving().filter_map(|(component, _)| unclean_stop(relocation, component)));
    let committed = relocation.is_committed();
    for step in relocation.given_up() {
        let Some(Failure { message, remedy, .. }) = step.failure.as_ref() else { continue };
        concerns.push(Concern {
            severity: Severity::Warning,
            subject: step.id.to_string(),
            message: format!("the move is done, but this could not be: {message}"),
            remedy: remedy.clone(),
        });
    }
    let untidy = relocation.step(&StepId::Tidy).filter(|step| step.state == State::Failed && committed);
    if let Some(Failure { message, remedy, .. }) = untidy.and_then(|step| step.failure.as_ref()) {
        concerns.push(Concern {
            severity: Severity::Warning,
            subject: "tidy".to_owned(),
            message: format!(
                "the move is done, but tidying up after it is not: something that only the move needed may be left, \
                 and the target may not start with its host: {message}"
            ),
            remedy: remedy.clone(),
        });
    }
    concerns
}

/// A guest that did not shut down cleanly, as users must know before they trust what it holds.
pub(crate) fn unclean_stop(relocation: &Relocation, component: &ComponentName) -> Option<Concern> {
    let output = relocation.step(&StepId::Freeze(component.clone()))?.output.as_ref()?;
    let (_, wanted) = relocation.moving().find(|(name, _)| *name == component)?;
    let how = match output {
        // What was off before has nothing to do with the move.
        Done::Frozen { .. } if !relocation.ran_before(component) => return None,
        Done::Frozen { stopped: Stopped::Forced, .. } => {
            let secs = wanted.shutdown_secs;
            format!("its guest did not shut down within {secs} s and was forced off, or had crashed")
        }
        Done::Frozen { stopped: Stopped::Unknown, .. } => {
            "nobody can tell whether its guest shut down by itself: it was off before it was asked to, or its provider does not say".to_owned()
        }
        _ => return None,
    };
    Some(Concern {
        severity: Severity::Warning,
        subject: component.to_string(),
        message: format!("{how}: what it had not written to its disks by then is lost"),
        remedy:
            "check its file systems and data; next time give it more `shutdown_secs`, or shut it down before"
                .to_owned(),
    })
}
