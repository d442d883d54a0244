//! What must hold before a byte of a volume is copied.

use super::{Asked, Error, Place};
use crate::guest::{Fish, Guest, Session, Space, fstab};

/// Kept free in the root's file system beyond what the volume takes: directories and blocks are not packed alike.
const RESERVE_BYTES: u64 = 32 << 20;

/// Finds the volume's file system and a free place for its content.
pub(crate) async fn place(
    session: &mut Session,
    guest: &Guest,
    asked: Asked<'_>,
) -> Result<Place, crate::Error> {
    let device = file_system(guest, asked)?;
    for (at, _) in guest.mounts.iter().rev().filter(|(_, mounted)| *mounted == device) {
        session.run(&[Fish::new(&["umount", at])]).await?;
    }
    let unfit = |why: String| asked.unfit(why);
    let (parent, name) = plain(asked)?;
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
            let volume = asked.volume.to_string();
            return Err(Error::NotEmpty { volume, into: asked.into.to_owned() }.into());
        }
    }
    Ok(Place { device, into })
}

/// Parent and name of the place, which must be a plain absolute path.
pub(crate) fn plain(asked: Asked<'_>) -> Result<(&str, &str), Error> {
    split(asked.into).ok_or_else(|| asked.unfit("it is not a plain absolute path".to_owned()))
}

/// The one file system of the volume, on the whole disk or on a partition.
fn file_system(guest: &Guest, asked: Asked<'_>) -> Result<String, Error> {
    let on_volume = |(device, _): &&(String, String)| guest.devices.disk_of(device) == Some(asked.at);
    let found: Vec<_> = guest.file_systems.iter().filter(on_volume).collect();
    let whole: Vec<_> = found.iter().filter(|(_, kind)| kind != "swap" && kind != "unknown").collect();
    match whole.as_slice() {
        [(device, _)] => Ok(device.clone()),
        _ => {
            let known = found.iter().map(|(_, kind)| kind.as_str()).filter(|kind| *kind != "unknown");
            let listed: Vec<_> = known.collect();
            let found =
                if listed.is_empty() { "none that is known".to_owned() } else { listed.join(" and ") };
            Err(Error::NoFileSystem { volume: asked.volume.to_string(), found })
        }
    }
}

/// What the volume takes must be free where it goes. Answers what it takes.
pub(crate) async fn room(
    session: &mut Session,
    asked: Asked<'_>,
    place: &Place,
    free: Space,
) -> Result<Space, crate::Error> {
    let scratch = "/fluidcloud-volume";
    let mount = [Fish::new(&["mkdir", scratch]), Fish::new(&["mount-ro", &place.device, scratch])];
    session.run(&mount).await?;
    let taken = Space::at(session, scratch).await?;
    session.run(&[Fish::new(&["umount", scratch]), Fish::new(&["rmdir", scratch])]).await?;
    fits(asked, taken, free)?;
    Ok(taken)
}

fn fits(asked: Asked<'_>, taken: Space, free: Space) -> Result<(), Error> {
    let (volume, into) = (asked.volume.to_string(), asked.into.to_owned());
    let needed = taken.used_bytes.saturating_add(RESERVE_BYTES);
    if needed > free.free_bytes {
        return Err(Error::NoRoom { volume, into, needed, free: free.free_bytes });
    }
    if free.inodes > 0 && taken.used_inodes > free.free_inodes {
        return Err(Error::NoInodes { volume, into, needed: taken.used_inodes, free: free.free_inodes });
    }
    Ok(())
}

/// Parent (empty for the root) and name of a plain absolute path other than `/`.
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.trim_end_matches('/');
    let plain = path.starts_with('/') && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
    if plain { path.rsplit_once('/') } else { None }
}

pub(crate) fn covers(mount_point: &str, path: &str) -> bool {
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
    fn a_mount_covers_what_is_below_it() {
        assert!(covers("/srv", "/srv/data") && covers("/srv/data", "/srv/data"));
        assert!(!covers("/srv", "/srvdata") && !covers("/", "/srv") && !covers("none", "/srv"));
    }
}
