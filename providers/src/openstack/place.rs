//! Where a disk is found in a helper: a path that is known before the volume is attached, and is the same in every
//! helper. What lies beside it (journals, overlays, locks) lies in the helper and goes with it.

use std::path::Path;

use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Volume(String),
    /// The root disk that a server has on its hypervisor.
    RootOf(String),
    /// A target's, promised: the volume is made when its bytes have come, and has another id each time.
    Coming(DiskId),
}

const ROOT_OF: &str = "root-of-";
const COMING: &str = "coming-";
/// In no name of a component or disk.
const BETWEEN: char = ':';

impl Spot {
    pub fn place(&self, dir: &Path) -> DiskPlace {
        let name = match self {
            Self::Volume(id) => id.clone(),
            Self::RootOf(server) => format!("{ROOT_OF}{server}"),
            Self::Coming(disk) => format!("{COMING}{}{BETWEEN}{}", disk.component, disk.disk),
        };
        let path = dir.join("disks").join(name).to_string_lossy().into_owned();
        DiskPlace { path, format: DiskFormat::Raw }
    }

    /// `None`: not a path that we gave.
    pub fn of(place: &DiskPlace, dir: &Path) -> Option<Self> {
        let name = Path::new(&place.path).strip_prefix(dir.join("disks")).ok()?.to_str()?;
        if name.is_empty() || name.contains('/') {
            return None;
        }
        if let Some(disk) = name.strip_prefix(COMING) {
            let (component, disk) = disk.split_once(BETWEEN)?;
            let disk = DiskId { component: component.parse().ok()?, disk: disk.parse().ok()? };
            return Some(Self::Coming(disk));
        }
        Some(match name.strip_prefix(ROOT_OF) {
            Some(server) => Self::RootOf(server.to_owned()),
            None => Self::Volume(name.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_tells_what_it_is_of() {
        let dir = Path::new("/var/lib/x");
        let disk = DiskId { component: "a-b.c".parse().unwrap(), disk: "vda".parse().unwrap() };
        for spot in [Spot::Volume("0a-1".into()), Spot::RootOf("0a-2".into()), Spot::Coming(disk)] {
            assert_eq!(Spot::of(&spot.place(dir), dir), Some(spot));
        }
        for path in ["/var/lib/x/disks", "/var/lib/x/disks/", "/elsewhere/disks/0a", "/var/lib/x/disks/a/b"] {
            let place = DiskPlace { path: path.into(), format: DiskFormat::Raw };
            assert_eq!(Spot::of(&place, dir), None, "{path}");
        }
    }
}
