//! What must hold before a byte of a volume is copied.

use fluidcloud_proto::task::FoldVolume;

use super::{Error, Place};
use crate::guest::{Fish, Guest, Session, fstab};

/// Kept free in the root's file system beyond what the volume takes: directories and blocks are not packed alike.
const RESERVE_BYTES: u64 = 32 << 20;

/// Finds the volume's file system and a free place for its content.
pub(super) async fn place(
    session: &mut Session,
    guest: &Guest,
    order: &FoldVolume,
) -> Result<Place, crate::Error> {
    let device = file_system(guest, order)?;
    if let Some((at, _)) = guest.mounts.iter().find(|(_, mounted)| *mounted == device) {
        session.run(&[Fish::new(&["umount", at])]).await?;
    }
    let unfit =
        |why: String| Error::Unfit { volume: order.volume.disk.to_string(), into: order.into.clone(), why };
    let (parent, name) = plain(order)?;
    let made = session
        .run(&[
            Fish::new(&["mkdir-p", if parent.is_empty() { "/" } else { parent }]),
            Fish::new(&["realpath", if parent.is_empty() { "/" } else { parent }]),
        ])
        .await?;
    let into = format!("{}/{name}", made[1].trim_end_matches('/'));
    let others = fstab::parse(&guest.fstab);
    let mut others = others.iter().filter(|entry| guest.devices.find(&entry.spec).as_ref() != Some(&device));
    if let Some(entry) = others.find(|entry| covers(&entry.mount_point, &into) && !is_mounted(guest, entry)) {
        return Err(unfit(format!("{} is another file system, which is not here", entry.mount_point)).into());
    }
    if guest.mounts.iter().any(|(at, other)| *at == into && *other != device) {
        return Err(unfit("it is the mount point of another file system".to_owned()).into());
    }

    let answers = session.run(&[Fish::new(&["exists", &into]), Fish::new(&["is-symlink", &into])]).await?;
    if answers[1] == "true" {
        return Err(unfit("it is a symbolic link".to_owned()).into());
    }
    if answers[0] == "true" {
        // Only an empty directory can be removed so.
        let removed = session.ask(&[Fish::new(&["rmdir", &into])]).await?.remove(0);
        if removed.is_err() {
            let volume = order.volume.disk.to_string();
            return Err(Error::NotEmpty { volume, into: order.into.clone() }.into());
        }
    }
    Ok(Place { device, into })
}

/// Parent and name of the place, which must be a plain absolute path.
pub(super) fn plain(order: &FoldVolume) -> Result<(&str, &str), Error> {
    split(&order.into).ok_or_else(|| Error::Unfit {
        volume: order.volume.disk.to_string(),
        into: order.into.clone(),
        why: "it is not a plain absolute path".to_owned(),
    })
}

/// The one file system of the volume, on the whole disk or on a partition.
fn file_system(guest: &Guest, order: &FoldVolume) -> Result<String, Error> {
    let on_volume = |(device, _): &&(String, String)| guest.devices.disk_of(device) == Some(1);
    let found: Vec<_> = guest.file_systems.iter().filter(on_volume).collect();
    let whole: Vec<_> = found.iter().filter(|(_, kind)| kind != "swap" && kind != "unknown").collect();
    match whole.as_slice() {
        [(device, _)] => Ok(device.clone()),
        _ => {
            let listed: Vec<_> = found.iter().map(|(_, kind)| kind.as_str()).collect();
            let found = if listed.is_empty() { "nothing".to_owned() } else { listed.join(" and ") };
            Err(Error::NoFileSystem { volume: order.volume.disk.to_string(), found })
        }
    }
}

/// What the volume takes against what is free where it goes.
pub(super) async fn room(
    session: &mut Session,
    order: &FoldVolume,
    place: &Place,
) -> Result<(), crate::Error> {
    let parent =
        split(&place.into).map(|(parent, _)| parent).filter(|parent| !parent.is_empty()).unwrap_or("/");
    let free = session.run(&[Fish::new(&["statvfs", parent])]).await?.remove(0);
    let scratch = "/fluidcloud-volume";
    let taken = session
        .run(&[
            Fish::new(&["mkdir", scratch]),
            Fish::new(&["mount-ro", &place.device, scratch]),
            Fish::new(&["statvfs", scratch]),
            Fish::new(&["umount", scratch]),
            Fish::new(&["rmdir", scratch]),
        ])
        .await?
        .remove(2);
    let (volume, into) = (order.volume.disk.to_string(), order.into.clone());
    let (from, to) = (Space::read(&taken), Space::read(&free));
    let needed = from.used_bytes + RESERVE_BYTES;
    if needed > to.free_bytes {
        return Err(Error::NoRoom { volume, into, needed, free: to.free_bytes }.into());
    }
    // File systems without a fixed number of inodes say 0.
    if to.inodes > 0 && from.used_inodes > to.free_inodes {
        return Err(Error::NoInodes { volume, into, needed: from.used_inodes, free: to.free_inodes }.into());
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Space {
    used_bytes: u64,
    free_bytes: u64,
    inodes: u64,
    used_inodes: u64,
    free_inodes: u64,
}

impl Space {
    /// From the lines of `statvfs`.
    fn read(text: &str) -> Self {
        let value = |key: &str| -> u64 {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.and_then(|value| value.trim().parse().ok()).unwrap_or_default()
        };
        let block = value("frsize").max(1);
        Self {
            used_bytes: value("blocks").saturating_sub(value("bfree")).saturating_mul(block),
            free_bytes: value("bavail").saturating_mul(block),
            inodes: value("files"),
            used_inodes: value("files").saturating_sub(value("ffree")),
            free_inodes: value("favail"),
        }
    }
}

/// Parent (empty for the root) and name of a plain absolute path other than `/`.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let plain = path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if plain { path.rsplit_once('/') } else { None }
}

fn covers(mount_point: &str, path: &str) -> bool {
    mount_point.starts_with('/')
        && mount_point != "/"
        && (path == mount_point || path.starts_with(&format!("{mount_point}/")))
}

fn is_mounted(guest: &Guest, entry: &fstab::Entry) -> bool {
    guest.mounts.iter().any(|(at, _)| *at == entry.mount_point)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_absolute_paths_are_places() {
        assert_eq!(split("/srv/data/"), Some(("/srv", "data")));
        assert_eq!(split("/srv"), Some(("", "srv")));
        for bad in ["", "/", "srv", "/srv/../etc", "/srv/./x", "/srv//x"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }

    #[test]
    fn space_is_read_from_statvfs() {
        let text = "bsize: 1024\nfrsize: 4096\nblocks: 100\nbfree: 40\nbavail: 30\nfiles: 50\nffree: 45\nfavail: 44\n";
        let space = Space {
            used_bytes: 60 * 4096,
            free_bytes: 30 * 4096,
            inodes: 50,
            used_inodes: 5,
            free_inodes: 44,
        };
        assert_eq!(Space::read(text), space);
    }

    #[test]
    fn a_mount_covers_what_is_below_it() {
        assert!(covers("/srv", "/srv/data") && covers("/srv/data", "/srv/data"));
        assert!(!covers("/srv", "/srvdata") && !covers("/", "/srv") && !covers("none", "/srv"));
    }
}
