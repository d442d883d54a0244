//! What is done inside simulated guests, on the files of their toy file system.

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::request::RewriteRule;
use fluidcloud_proto::task::{FileDiff, Folded, Hardware, RehearseGuest, Rehearsed};
use fluidcloud_proto::topology::DiskPlace;

use super::disk::{self, Files};
use crate::error::Error;
use crate::rewrite::{self as rewriting, rules};
use crate::volume::fold;

/// Leaves a file that names the hardware, as a real guest would be changed for it.
pub(super) fn adapt(files: &mut Files, hardware: &Hardware) -> Vec<String> {
    let hardware = format!("{} {}", hardware.disk_bus, hardware.nic);
    if files.is_empty() || files.get(disk::HARDWARE) == Some(&hardware) {
        return Vec::new();
    }
    files.put(disk::HARDWARE, &hardware);
    vec![format!("hardware: {hardware}")]
}

pub(super) fn fold(root: &mut Files, volume: &Files, disk: &DiskId, into: &str) -> Result<Folded, Error> {
    let prefix = format!("{}/", into.trim_end_matches('/'));
    if root.iter().any(|(path, _)| path.starts_with(&prefix)) {
        return Err(fold::Error::NotEmpty { volume: disk.to_string(), into: into.to_owned() }.into());
    }
    for (path, text) in volume.iter() {
        root.put(&format!("{prefix}{}", path.trim_start_matches('/')), text);
    }
    Ok(Folded {
        into: into.to_owned(),
        entries: volume.iter().count() as u64,
        bytes: volume.iter().map(|(_, text)| text.len() as u64).sum(),
        digest: volume.digest(),
    })
}

pub(super) fn rewrite(files: &mut Files, rules: &[RewriteRule]) -> Result<Vec<FileDiff>, Error> {
    let mut originals = Vec::new();
    for file in rules::files(rules) {
        let text = files.get(&file).ok_or_else(|| rewriting::Error::FileMissing { file: file.clone() })?;
        originals.push((file.clone(), text.clone().into_bytes()));
    }
    let rewritten = rules::apply(rules, &originals)?;
    for file in &rewritten {
        files.put(&file.path, &file.after);
    }
    Ok(rewritten.iter().map(rules::Rewritten::to_diff).collect())
}

/// All of it in the order of the steps, on files that are thrown away.
pub(super) fn rehearse(
    files: &mut Files,
    volumes: &[Files],
    order: &RehearseGuest,
) -> Result<Rehearsed, Error> {
    let changes = order.adapt.as_ref().map(|adapting| adapt(files, &adapting.hardware));
    let mut folded_bytes = Vec::new();
    for (asked, volume) in order.folds.iter().zip(volumes) {
        folded_bytes.push(fold(files, volume, &asked.volume, &asked.into)?.bytes);
    }
    let diffs = rewrite(files, &order.rules)?;
    Ok(Rehearsed { changes: changes.unwrap_or_default(), folded_bytes, files: diffs })
}

/// The files as a disk of this size.
pub(super) fn fit(files: &Files, size_bytes: usize, root: &DiskPlace) -> Result<Vec<u8>, Error> {
    files.write(size_bytes).ok_or_else(|| {
        let (needed, free) = (files.needed_bytes(), size_bytes as u64);
        fold::Error::NoRoom { volume: root.path.clone(), into: "/".to_owned(), needed, free }.into()
    })
}
