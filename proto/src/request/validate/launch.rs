//! What is decided about instances between clouds: names that a cloud takes, one choice where there are several, keys that are
//! public ones.

use std::collections::HashSet;

use super::alone::THING_NAME_BYTES_MAX;
use super::{Component, invalid, text};
use crate::failure::Failure;
use crate::request::{GroupChoice, ImportKey, KeypairChoice};

/// Kinds of keys that ssh servers take.
const KEY_KINDS: [&str; 7] = [
    "ssh-rsa",
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// Every project has one.
const DEFAULT: &str = "default";

#[derive(Default)]
struct Names<'a> {
    snapshots: HashSet<&'a str>,
    images: HashSet<&'a str>,
    keys: HashSet<&'a str>,
    groups: HashSet<&'a str>,
}

pub(super) fn check(components: &[Component]) -> Result<(), Failure> {
    let mut names = Names::default();
    for image in components.iter().filter_map(|component| component.image.as_ref()) {
        names.images.insert(image.target_name.as_deref().unwrap_or(&image.id));
    }
    components.iter().try_for_each(|component| one(component, &mut names))
}

fn one<'a>(component: &'a Component, names: &mut Names<'a>) -> Result<(), Failure> {
    let Some(instance) = &component.instance else { return Ok(()) };
    let of = |what: &str| format!("{what} of component `{}`", component.name);
    if let Some(snapshot) = &instance.snapshot {
        name(&of("`snapshot`"), snapshot)?;
        once(&of("`snapshot`"), snapshot, &mut names.snapshots)?;
    }
    if let Some(image) = &instance.image {
        name(&of("`image.name`"), &image.name)?;
        once(&of("`image.name`"), &image.name, &mut names.images)?;
    }
    let launch = &instance.launch;
    if let Some(keypair) = &launch.keypair {
        let made = key(&of("`launch.keypair`"), keypair)?;
        if let Some(made) = made {
            once(&of("`launch.keypair`"), made, &mut names.keys)?;
        }
    }
    if let Some(group) = &launch.security_group {
        self::group(&of("`launch.security_group`"), group)?;
        if let Some(new) = &group.new {
            once(&of("`launch.security_group`"), new, &mut names.groups)?;
        }
    }
    Ok(())
}

/// Names are not unique at clouds, so two would only be told apart by their ids.
fn once<'a>(what: &str, given: &'a str, known: &mut HashSet<&'a str>) -> Result<(), Failure> {
    if known.insert(given) {
        return Ok(());
    }
    Err(invalid(
        format!("{what} is `{given}`, which another component makes too"),
        "give each a name of its own; a key pair that is made in one component can be selected in the others",
    ))
}

fn name(what: &str, given: &str) -> Result<(), Failure> {
    text(what, given)?;
    if given.len() > THING_NAME_BYTES_MAX {
        let message = format!("{what} has {} bytes, more than {THING_NAME_BYTES_MAX}", given.len());
        return Err(invalid(message, "shorten it"));
    }
    if given.trim() != given {
        return Err(invalid(
            format!("{what} is `{given}`, with blanks around it"),
            "write it without, as clouds cut them off",
        ));
    }
    Ok(())
}

/// The name of one that is made.
fn key<'a>(what: &str, choice: &'a KeypairChoice) -> Result<Option<&'a str>, Failure> {
    match (&choice.select, &choice.create, &choice.import) {
        (Some(select), None, None) => name(what, select).map(|()| None),
        (None, Some(create), None) => name(what, create).map(|()| Some(create.as_str())),
        (None, None, Some(import)) => import_of(what, import).map(Some),
        _ => Err(invalid(
            format!("{what} has not exactly one of `select`, `create` and `import`"),
            "select one that is there, create a new one, or import a public key",
        )),
    }
}

fn import_of<'a>(what: &str, import: &'a ImportKey) -> Result<&'a str, Failure> {
    name(what, &import.name)?;
    // What is refused is not repeated: it may be what must stay secret.
    if import.public_key.contains("PRIVATE KEY") {
        return Err(invalid(
            format!("{what} has a private key where the public half belongs"),
            "give the line of the file that ends with .pub, and take a new key: this one has been sent around",
        ));
    }
    let public = import.public_key.trim();
    text(&format!("`public_key` in {what}"), public)?;
    let mut words = public.split_ascii_whitespace();
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    if !KEY_KINDS.contains(&kind) || body.len() < 40 || !body.chars().all(plain) {
        return Err(invalid(
            format!("`public_key` in {what} is no public key of ssh"),
            "give the one line of the file that ends with .pub, such as `ssh-ed25519 AAAA… me@host`",
        ));
    }
    Ok(&import.name)
}

fn group(what: &str, choice: &GroupChoice) -> Result<(), Failure> {
    match (&choice.new, choice.into_default) {
        (Some(new), false) if new == DEFAULT => Err(invalid(
            format!("{what} is a new group `{DEFAULT}`, which every project has"),
            "write `into_default: true` to have the rules in it, or choose another name",
        )),
        (Some(new), false) => name(what, new),
        (None, true) => Ok(()),
        _ => Err(invalid(
            format!("{what} has not exactly one of `new` and `into_default`"),
            "name a new group, or have the rules copied into the group `default`",
        )),
    }
}
