//! Folds tried one after the other, each on what the ones before it will have left. The volume itself is mounted where
//! its copy will be, and what it takes is counted against the file system that will hold the copy.

use crate::error::Error;
use crate::guest::{self, Fish, Guest, Session, Space};
use crate::volume::fold::{self, Asked, Place, checks};

/// The root disk is the only one that is there beside the volume when a volume is folded.
const ROOT: usize = 0;

#[derive(Debug, Default)]
pub(super) struct Folds {
    done: Vec<Done>,
    /// What will be taken of a file system, by its device.
    promised: Vec<(String, Space)>,
}

/// A fold that will succeed.
#[derive(Debug)]
struct Done {
    place: Place,
    /// The file system that will hold the copy.
    holder: String,
}

impl Folds {
    /// Something else will take so much of a file system.
    pub fn promise(&mut self, device: &str, bytes: u64) {
        let taken = Space { used_bytes: bytes, ..Space::default() };
        self.promised.push((device.to_owned(), taken));
    }

    /// Answers the bytes that it takes.
    pub async fn try_one(
        &mut self,
        session: &mut Session,
        guest: &Guest,
        asked: Asked<'_>,
    ) -> Result<u64, Error> {
        let on_root_disk = |device: &str| guest.devices.disk_of(device).is_none_or(|at| at == ROOT);
        let (_, root) = guest.mount_of("/");
        if !on_root_disk(root) {
            let found = format!("its system is on {root}");
            return Err(guest::Error::NoSystem { disk: guest.disk.clone(), found }.into());
        }
        let mut seen = self.mount(session, guest, &[ROOT, asked.at]).await?;
        let place = checks::place(session, &seen, asked).await?;
        // It was unmounted there.
        seen.mounts.retain(|(_, device)| *device != place.device);
        let holder = self.holder(&seen, &place.into);
        let free = self.left(&holder, free_of(session, &seen, &holder).await?);
        let taken = checks::room(session, asked, &place, free).await?;
        fold::drop_mount(session, "", &seen, &place).await?;
        session.run(&[Fish::new(&["mkdir", &place.into])]).await?;
        self.promised.push((holder.clone(), taken));
        self.done.push(Done { place, holder });
        Ok(taken.used_bytes)
    }

    /// Mounts the guest as it will be after these folds, as far as it lies on these of its disks.
    pub async fn mount(
        &self,
        session: &mut Session,
        guest: &Guest,
        disks: &[usize],
    ) -> Result<Guest, guest::Error> {
        let seen = guest.mount_again(session, disks).await?;
        for Done { place, .. } in &self.done {
            let mount = |how: &str| Fish::new(&[how, &place.device, &place.into]);
            // Another volume may be folded below it; but one that can only be read can be folded, too.
            if session.ask(&[mount("mount")]).await?.remove(0).is_err() {
                session.run(&[mount("mount-ro")]).await?;
            }
        }
        Ok(seen)
    }

    /// The file system on which a path will be: below a folded volume, the one that holds its copy.
    fn holder(&self, seen: &Guest, path: &str) -> String {
        let folded = self.done.iter().rev().find(|done| checks::covers(&done.place.into, path));
        folded.map_or_else(|| seen.mount_of(path).1.to_owned(), |done| done.holder.clone())
    }

    /// What is left when all promises have been kept.
    fn left(&self, device: &str, free: Space) -> Space {
        let promised = self.promised.iter().filter(|(other, _)| other == device);
        promised.fold(free, |free, (_, taken)| Space {
            free_bytes: free.free_bytes.saturating_sub(taken.used_bytes),
            free_inodes: free.free_inodes.saturating_sub(taken.used_inodes),
            ..free
        })
    }
}

async fn free_of(session: &mut Session, seen: &Guest, device: &str) -> Result<Space, guest::Error> {
    let mounted = seen.mounts.iter().find(|(_, mounted)| mounted == device);
    Space::at(session, mounted.map_or("/", |(at, _)| at.as_str())).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::Family;

    fn guest() -> Guest {
        let pair = |(a, b): &(&str, &str)| ((*a).to_owned(), (*b).to_owned());
        Guest {
            family: Family::Debian,
            name: "Debian".into(),
            fstab: String::new(),
            devices: guest::tree::Devices::default(),
            mounts: [("/", "/dev/sda1"), ("/var", "/dev/sda2")].iter().map(pair).collect(),
            file_systems: Vec::new(),
            disk: "app/sda".into(),
        }
    }

    fn done(device: &str, into: &str, holder: &str) -> Done {
        Done { place: Place { device: device.into(), into: into.into() }, holder: holder.into() }
    }

    #[test]
    fn what_is_folded_below_another_fold_lies_where_that_one_does() {
        let mut folds = Folds::default();
        assert_eq!(folds.holder(&guest(), "/srv/a"), "/dev/sda1");
        assert_eq!(folds.holder(&guest(), "/var/lib/a"), "/dev/sda2");
        folds.done = vec![done("/dev/sdb", "/var/a", "/dev/sda2")];
        assert_eq!(folds.holder(&guest(), "/var/a/b"), "/dev/sda2");
        folds.done.push(done("/dev/sdc", "/srv", "/dev/sda1"));
        assert_eq!(folds.holder(&guest(), "/srv/x"), "/dev/sda1");
    }

    #[test]
    fn room_must_hold_for_the_sum_on_each_file_system() {
        let mut folds = Folds::default();
        folds.promise("/dev/sda1", 10);
        let taken = Space { used_bytes: 20, used_inodes: 5, ..Space::default() };
        folds.promised.push(("/dev/sda1".into(), taken));
        let free = Space { free_bytes: 100, inodes: 50, free_inodes: 8, ..Space::default() };
        let left = folds.left("/dev/sda1", free);
        assert_eq!((left.free_bytes, left.free_inodes), (70, 3));
        assert_eq!(folds.left("/dev/sda2", free), free);
    }
}
