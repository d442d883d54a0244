//! What is to be done inside a guest: where its volumes go, which of its files are rewritten and how.

use std::collections::HashSet;

use regex::Regex;

use super::{REPLACEMENT_BYTES_MAX, RULES_MAX, TEXT_BYTES_MAX, VOLUMES_MAX, count, invalid, shown};
use crate::failure::{Code, Failure};
use crate::ids::ComponentName;
use crate::request::{InstanceComponent, RewriteRule, SHUTDOWN_SECS_MAX};

/// Other file systems are mounted over these when the guest boots, so what lies in them is not seen.
const MOUNTED_OVER: [&str; 4] = ["/dev", "/proc", "/run", "/sys"];

pub(super) fn check(component: &ComponentName, instance: &InstanceComponent) -> Result<(), Failure> {
    let what = format!("component `{component}`");
    count(&what, "volumes", instance.volumes.len(), VOLUMES_MAX)?;
    count(&what, "rewrite rules", instance.rewrite.len(), RULES_MAX)?;
    if instance.shutdown_secs > SHUTDOWN_SECS_MAX {
        return Err(invalid(
            format!("{what} gives its guest {} s to shut down", instance.shutdown_secs),
            format!("give it at most {SHUTDOWN_SECS_MAX}"),
        ));
    }
    let mut disks = HashSet::new();
    let mut places = HashSet::new();
    for volume in &instance.volumes {
        let disk = &volume.disk;
        if !disks.insert(disk) {
            return Err(invalid(format!("{what} places disk `{disk}` twice"), "keep one of the two"));
        }
        let Some(into) = &volume.fold_into else { continue };
        path(&format!("`fold_into` of disk `{disk}` of {what}"), into)?;
        if MOUNTED_OVER.iter().any(|over| into == over || into.starts_with(&format!("{over}/"))) {
            return Err(invalid(
                format!(
                    "{what} folds disk `{disk}` into `{into}`, which is mounted over when the guest boots"
                ),
                "choose a directory of the guest's own file system, such as /srv/data",
            ));
        }
        if !places.insert(into) {
            return Err(invalid(
                format!("{what} folds two disks into `{into}`, where their files would mix"),
                "give each disk a directory of its own",
            ));
        }
    }
    instance.rewrite.iter().enumerate().try_for_each(|(index, given)| rule(&what, index + 1, given))
}

/// Absolute, normal, and not the root itself.
fn path(what: &str, given: &str) -> Result<(), Failure> {
    let remedy = "give an absolute path without `.`, `..` or double slashes, such as /srv/data";
    let bad = |fault: &str| Err(invalid(format!("{what} is `{}`, {fault}", shown(given)), remedy));
    let Some(rest) = given.strip_prefix('/') else { return bad("not an absolute path") };
    if rest.is_empty() {
        return bad("the root itself");
    }
    if given.len() > TEXT_BYTES_MAX {
        return bad("too long for a path");
    }
    if given.chars().any(char::is_control) {
        return bad("with a control character in it");
    }
    if rest.split('/').any(|part| part == "..") {
        return bad("with `..` in it");
    }
    if rest.split('/').any(|part| part.is_empty() || part == ".") {
        return bad("not in its normal form");
    }
    Ok(())
}

fn rule(what: &str, number: usize, rule: &RewriteRule) -> Result<(), Failure> {
    path(&format!("`file` of rewrite rule {number} of {what}"), &rule.file)?;
    let named = format!("rewrite rule {number} of {what} (file `{}`)", rule.file);
    if rule.pattern.is_empty() || rule.pattern.len() > TEXT_BYTES_MAX {
        return Err(invalid_pattern(
            format!("{named} has a pattern of {} bytes", rule.pattern.len()),
            format!("give a regular expression of 1 to {TEXT_BYTES_MAX} bytes as `match`"),
        ));
    }
    if rule.replace.len() > REPLACEMENT_BYTES_MAX {
        return Err(invalid(
            format!("{named} has a replacement of {} bytes", rule.replace.len()),
            format!("keep it below {REPLACEMENT_BYTES_MAX} bytes"),
        ));
    }
    let regex = Regex::new(&rule.pattern).map_err(|error| {
        invalid_pattern(
            format!("{named} has an invalid pattern `{}`: {error}", shown(&rule.pattern)),
            "correct `match`; it is a Rust `regex`, which has no look-around and no back-references",
        )
    })?;
    match group_refs(&rule.replace).find(|group| !has_group(&regex, group)) {
        None => Ok(()),
        // It would be replaced by nothing, in silence.
        Some(group) => Err(invalid_pattern(
            format!("{named} refers to group `{group}`, which its pattern does not have"),
            "write `${1}x` when text follows a group, and `$$` for a dollar sign",
        )),
    }
}

fn has_group(regex: &Regex, group: &str) -> bool {
    match group.parse::<usize>() {
        Ok(index) => index < regex.captures_len(),
        Err(_) => regex.capture_names().flatten().any(|name| name == group),
    }
}

/// The groups a replacement refers to, by the rules of `regex`: `$name` takes all of `[0-9A-Za-z_]`, `${name}`
/// what is between the braces, `$$` is a dollar sign.
fn group_refs(replacement: &str) -> impl Iterator<Item = &str> {
    let mut rest = replacement;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[rest.find('$')? + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                rest = after;
            } else if let Some((name, after)) =
                rest.strip_prefix('{').and_then(|braced| braced.split_once('}'))
            {
                rest = after;
                return Some(name);
            } else {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                rest = after;
                if !name.is_empty() {
                    return Some(name);
                }
            }
        }
    })
}

fn invalid_pattern(message: String, remedy: impl Into<String>) -> Failure {
    Failure::never(Code::InvalidPattern, message, remedy)
}
