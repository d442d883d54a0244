//! What a schema cannot say: names that must exist or differ, paths, patterns, bounds. It looks at the document
//! only; whether a provider or an instance exists is for inspection to find. The first fault found is told.

mod addresses;
mod alone;
mod guest;
mod launch;
mod needs;
#[cfg(test)]
mod tests;
mod url;

use std::collections::HashSet;

use super::{Check, Component, RelocationRequest, Service, Target, Transport};
use crate::failure::{Code, Failure};
use crate::ids::ComponentName;

pub const COMPONENTS_MAX: usize = 256;
pub const CHECKS_MAX: usize = 256;
/// Volumes that one instance may place.
pub const VOLUMES_MAX: usize = 64;
/// Rewrite rules of one instance.
pub const RULES_MAX: usize = 256;
pub const LABELS_MAX: usize = 64;
/// Parallel streams of one disk: as many as a viaduct has.
pub const STREAMS_MAX: u8 = 16;
/// Paths, patterns, URLs and other short texts.
pub const TEXT_BYTES_MAX: usize = 4096;
pub const REPLACEMENT_BYTES_MAX: usize = 64 * 1024;
/// A day: nobody waits longer for a service to answer.
pub const WITHIN_SECS_MAX: u64 = 24 * 60 * 60;

pub fn validate(request: &RelocationRequest) -> Result<(), Failure> {
    if let Some(tenant) = &request.tenant {
        text("tenant", tenant)?;
    }
    components(&request.service)?;
    needs::check(&request.service.components)?;
    addresses::check(&request.service)?;
    target(&request.target, &request.service)?;
    transport(&request.transport)?;
    cutover(request)?;
    count("`verify`", "checks", request.verify.len(), CHECKS_MAX)?;
    request.verify.iter().try_for_each(|given| check(given, &request.service))
}

fn components(service: &Service) -> Result<(), Failure> {
    let what = format!("service `{}`", service.name);
    count(&what, "components", service.components.len(), COMPONENTS_MAX)?;
    let mut names = HashSet::new();
    let mut instances = HashSet::new();
    let mut target_names = HashSet::new();
    let mut moves = false;
    for component in &service.components {
        let name = &component.name;
        if !names.insert(name) {
            return Err(invalid(
                format!("{what} has two components named `{name}`"),
                "give each component a name of its own",
            ));
        }
        kind(component)?;
        moves |= component.instance.is_some() || component.is_alone();
        let Some(instance) = &component.instance else { continue };
        if !instances.insert(&instance.id) {
            return Err(invalid(
                format!(
                    "component `{name}` moves instance `{}`, which another component moves too",
                    instance.id
                ),
                "name each instance in one component only",
            ));
        }
        let target_name = instance.target_name.as_ref().unwrap_or(&instance.id);
        if !target_names.insert(target_name) {
            return Err(invalid(
                format!("component `{name}` would be named `{target_name}` at the target, like another one"),
                "give it another `target_name`",
            ));
        }
        guest::check(name, instance)?;
    }
    if !moves {
        return Err(invalid(
            format!("{what} has nothing to move"),
            "add a component with an `instance` and its `id` at the source, or with a `volume`, `image` or `container`",
        ));
    }
    alone::check(&service.components)?;
    launch::check(&service.components)
}

/// Exactly one of what moves and what stays.
fn kind(component: &Component) -> Result<(), Failure> {
    let name = &component.name;
    match component.kinds()[..] {
        [_] => match &component.stays {
            Some(stays) => {
                text(&format!("`kind` of component `{name}`"), &stays.kind)?;
                url::check(name, &stays.url)
            }
            None => Ok(()),
        },
        [] => Err(invalid(
            format!("component `{name}` has none of `instance`, `volume`, `image`, `container` and `stays`"),
            "add `instance` or another of them if it moves, `stays` if it does not",
        )),
        [one, other, ..] => Err(invalid(
            format!("component `{name}` has both `{one}` and `{other}`"),
            match other {
                "stays" => format!("keep `{one}` if it moves, `stays` if it does not"),
                other => format!("make two components of it, one with `{one}` and one with `{other}`"),
            },
        )),
    }
}

fn target(target: &Target, service: &Service) -> Result<(), Failure> {
    if target.provider.as_ref() == Some(&service.provider) {
        return Err(invalid(
            format!("target provider `{}` is where service `{}` runs now", service.provider, service.name),
            "name another provider, or leave it out to take the first that fits",
        ));
    }
    let needs = &target.needs;
    let texts = [("region", &needs.region), ("driver", &needs.driver)];
    for (what, given) in texts {
        if let Some(given) = given {
            text(&format!("`{what}` of the target's needs"), given)?;
        }
    }
    if needs.labels.len() > LABELS_MAX {
        return Err(too_many("the list of needs", "labels", needs.labels.len(), LABELS_MAX));
    }
    needs.labels.iter().try_for_each(|(label, value)| {
        text("a label of the target's needs", label)?;
        text(&format!("label `{label}` of the target's needs"), value)
    })
}

/// What moves without an instance is copied beside what uses it, and nothing stops: there is no moment to approve. Who asked
/// to be asked must not find it moved, so that this is a fault and no remark.
fn cutover(request: &RelocationRequest) -> Result<(), Failure> {
    let stops = request.service.components.iter().any(|component| component.instance.is_some());
    if request.cutover.is_automatic() || stops {
        return Ok(());
    }
    Err(invalid(
        format!(
            "`cutover` is `manual`, but service `{}` has no instance: nothing of it stops, so there is nothing to approve",
            request.service.name
        ),
        "leave `cutover` out, and send the request when it may move; or pause it with `fluidcloud pause`",
    ))
}

fn transport(transport: &Transport) -> Result<(), Failure> {
    if transport.rate_bytes_per_sec == Some(0) {
        return Err(invalid(
            "`rate_bytes_per_sec` of the transport is 0, so nothing would move".into(),
            "give the bytes per second a disk may take, or leave it out",
        ));
    }
    match transport.streams {
        Some(streams) if streams == 0 || streams > STREAMS_MAX => Err(invalid(
            format!("`streams` of the transport is {streams}"),
            format!("give 1 to {STREAMS_MAX}, or leave it out"),
        )),
        _ => Ok(()),
    }
}

fn check(check: &Check, service: &Service) -> Result<(), Failure> {
    let name = &check.component;
    let component = find(service, name).ok_or_else(|| {
        invalid(
            format!("a check asks component `{name}`, which service `{}` does not have", service.name),
            format!("use one of {}", known(service)),
        )
    })?;
    if component.is_alone() {
        return Err(invalid(
            format!("a check asks component `{name}`, which is no instance"),
            "check an instance that uses it; what moves alone is checked by digest",
        ));
    }
    if component.instance.is_none() {
        return Err(invalid(
            format!("a check asks component `{name}`, which stays where it is"),
            "check a component that moves; what stays is checked by its `url`",
        ));
    }
    let http = &check.http;
    if http.port == 0 {
        return Err(invalid(
            format!("the check of component `{name}` has port 0"),
            "give the port it listens on",
        ));
    }
    if !http.path.starts_with('/') || http.path.len() > TEXT_BYTES_MAX || has_blank(&http.path) {
        return Err(invalid(
            format!("the check of component `{name}` has path `{}`", shown(&http.path)),
            "start it with `/`, and write blanks as %20",
        ));
    }
    if !(100..=599).contains(&http.status) {
        return Err(invalid(
            format!("the check of component `{name}` expects status {}", http.status),
            "give an HTTP status, 100 to 599",
        ));
    }
    if http.within_secs == 0 || http.within_secs > WITHIN_SECS_MAX {
        return Err(invalid(
            format!("the check of component `{name}` has {} as `within_secs`", http.within_secs),
            format!("give 1 to {WITHIN_SECS_MAX} seconds"),
        ));
    }
    for (what, given) in [("contains", &http.contains), ("unchanged", &http.unchanged)] {
        if let Some(given) = given {
            text(&format!("`{what}` in the check of component `{name}`"), given)?;
        }
    }
    Ok(())
}

fn find<'a>(service: &'a Service, name: &ComponentName) -> Option<&'a Component> {
    service.components.iter().find(|component| component.name == *name)
}

fn known(service: &Service) -> String {
    let names: Vec<_> =
        service.components.iter().take(8).map(|component| format!("`{}`", component.name)).collect();
    let more = if service.components.len() > names.len() { ", …" } else { "" };
    format!("{}{more}", names.join(", "))
}

fn count(what: &str, of: &str, given: usize, max: usize) -> Result<(), Failure> {
    if given > max { Err(too_many(what, of, given, max)) } else { Ok(()) }
}

fn too_many(what: &str, of: &str, given: usize, max: usize) -> Failure {
    invalid(format!("{what} has {given} {of}, more than {max}"), format!("keep at most {max} in one request"))
}

/// Not empty, not long, one line.
fn text(what: &str, given: &str) -> Result<(), Failure> {
    if given.is_empty() {
        return Err(invalid(format!("{what} is empty"), "give it a value or leave it out"));
    }
    if given.len() > TEXT_BYTES_MAX {
        return Err(invalid(
            format!("{what} has {} bytes, more than {TEXT_BYTES_MAX}", given.len()),
            "shorten it",
        ));
    }
    if given.chars().any(char::is_control) {
        return Err(invalid(format!("{what} holds a control character"), "write it on one line"));
    }
    Ok(())
}

fn has_blank(given: &str) -> bool {
    given.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// What a user gave, as an error may repeat it.
fn shown(given: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    let mut shown: String = given.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if given.chars().nth(SHOWN_CHARS).is_some() {
        shown.push('…');
    }
    shown
}

fn invalid(message: String, remedy: impl Into<String>) -> Failure {
    Failure::never(Code::InvalidRequest, message, remedy)
}
