//! Names of what moves without an instance. Providers let them be nearly anything, so little is refused: what no service
//! takes, and what two components would both be.

use std::collections::HashSet;

use super::{Component, invalid, text};
use crate::failure::Failure;

/// Of volumes and images, in bytes: as long as every cloud takes.
pub const THING_NAME_BYTES_MAX: usize = 255;
/// Of containers: as object stores have it.
pub const CONTAINER_NAME_BYTES_MAX: usize = 256;

pub(super) fn check(components: &[Component]) -> Result<(), Failure> {
    let (mut sources, mut targets) = (HashSet::new(), HashSet::new());
    for component in components {
        let name = &component.name;
        let Some((kind, id, target_name)) = names(component) else { continue };
        one(&format!("`id` of {kind} `{name}`"), kind, id)?;
        if let Some(target_name) = target_name {
            one(&format!("`target_name` of {kind} `{name}`"), kind, target_name)?;
        }
        if !sources.insert((kind, id)) {
            return Err(invalid(
                format!("component `{name}` moves {kind} `{id}`, which another component moves too"),
                format!("name each {kind} in one component only"),
            ));
        }
        let at_target = target_name.unwrap_or(id);
        if !targets.insert((kind, at_target)) {
            return Err(invalid(
                format!("component `{name}` would be named `{at_target}` at the target, like another one"),
                "give it another `target_name`",
            ));
        }
    }
    Ok(())
}

/// Kind, id at the source and name at the target.
fn names(component: &Component) -> Option<(&'static str, &str, Option<&str>)> {
    if let Some(volume) = &component.volume {
        return Some(("volume", &volume.id, volume.target_name.as_deref()));
    }
    if let Some(image) = &component.image {
        return Some(("image", &image.id, image.target_name.as_deref()));
    }
    let container = component.container.as_ref()?;
    Some(("container", &container.id, container.target_name.as_deref()))
}

fn one(what: &str, kind: &str, given: &str) -> Result<(), Failure> {
    text(what, given)?;
    let max = if kind == "container" { CONTAINER_NAME_BYTES_MAX } else { THING_NAME_BYTES_MAX };
    if given.len() > max {
        return Err(invalid(format!("{what} has {} bytes, more than {max}", given.len()), "shorten it"));
    }
    if kind == "container" && (given.contains('/') || matches!(given, "." | "..")) {
        return Err(invalid(
            format!("{what} is `{given}`, which no container can be named"),
            "name a container, without `/` and what is in it",
        ));
    }
    Ok(())
}
