//! Names of the files that we make in a pool's directory. The name is the tag: it begins with the relocation, and
//! what lies beside a disk begins with the disk's name.

use fluidcloud_proto::ids::{DiskId, RelocationId};
use fluidcloud_proto::topology::DiskFormat;

use super::images::format_name;
use crate::provider::Made;

/// What may lie beside a disk: journals, overlays of guest work, locks, and a disk half made.
pub(super) const SCRAP_SUFFIXES: [&str; 4] = [".viaduct", ".work", ".lock", ".new"];
pub(super) const FORMATS: [DiskFormat; 2] = [DiskFormat::Raw, DiskFormat::Qcow2];

pub(super) fn prefix(relocation: RelocationId) -> String {
    format!("fluidcloud-{relocation}-")
}

/// `None`: a name that could be mistaken for what lies beside another disk.
pub(super) fn disk(relocation: RelocationId, disk: &DiskId, format: DiskFormat) -> Option<String> {
    let (component, name) = (disk.component.as_str(), disk.disk.as_str());
    let plain =
        |text: &str| !FORMATS.iter().any(|format| text.contains(&format!(".{}", format_name(*format))));
    // The last dash parts the two.
    let apart = !name.contains('-');
    (plain(component) && plain(name) && apart)
        .then(|| format!("{}{component}-{name}.{}", prefix(relocation), format_name(format)))
}

/// What a file of ours is, by its name below the pool's directory; `None` is not ours.
pub(super) fn classify(relocation: RelocationId, dir: &str, file: &str) -> Option<Made> {
    let rest = file.strip_prefix(&prefix(relocation))?;
    let path = format!("{}/{file}", dir.trim_end_matches('/'));
    let after = FORMATS.iter().filter_map(|format| {
        let ending = format!(".{}", format_name(*format));
        rest.find(&ending).map(|at| (at, &rest[at + ending.len()..]))
    });
    let (_, after) = after.min_by_key(|(at, _)| *at)?;
    match after {
        "" => Some(Made::Disk { path }),
        after if SCRAP_SUFFIXES.iter().any(|suffix| after.starts_with(suffix)) => Some(Made::Scrap { path }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(component: &str, disk: &str) -> DiskId {
        DiskId { component: component.parse().unwrap(), disk: disk.parse().unwrap() }
    }

    #[test]
    fn a_disk_and_what_lies_beside_it_are_told_apart() {
        let relocation = RelocationId::new();
        for format in FORMATS {
            let name = disk(relocation, &id("my-app.v2", "sda"), format).unwrap();
            let is = |file: &str| classify(relocation, "/pool/", file);
            let path = format!("/pool/{name}");
            assert_eq!(is(&name), Some(Made::Disk { path }));
            for suffix in [".viaduct", ".viaduct.tmp", ".work.qcow2", ".work", ".lock", ".new.42"] {
                let path = format!("/pool/{name}{suffix}");
                assert_eq!(is(&format!("{name}{suffix}")), Some(Made::Scrap { path }));
            }
            assert_eq!(is(&format!("{name}.bak")), None);
        }
    }

    #[test]
    fn what_others_made_is_not_ours() {
        let relocation = RelocationId::new();
        let other = disk(RelocationId::new(), &id("app", "sda"), DiskFormat::Raw).unwrap();
        for file in [other.as_str(), "shop.qcow2", "fluidcloud-", "fluidcloud-x-app-sda.raw"] {
            assert_eq!(classify(relocation, "/pool", file), None, "{file}");
        }
    }

    #[test]
    fn a_name_that_could_be_mistaken_is_refused() {
        let relocation = RelocationId::new();
        assert_eq!(disk(relocation, &id("a.raw.work", "sda"), DiskFormat::Raw), None);
        assert_eq!(disk(relocation, &id("a", "b-c"), DiskFormat::Raw), None);
    }
}
