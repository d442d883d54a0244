//! Copies the content of a staged volume into the root's file system and proves that nothing was lost: both trees
//! are read back with owners, modes, links, times, attributes and ACLs, and their digests compared. In one appliance,
//! on an overlay of the root disk: until the proof holds, the root disk is as it was.

pub(crate) mod checks;

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{DiskId, Epoch};
use fluidcloud_proto::task::{FoldVolume, Folded, GuestDisk};
use fluidcloud_providers::Site;
use serde::Deserialize;

use crate::binary::{ViaductBinary, text};
use crate::guest::fish::{Fish, shell_word};
use crate::guest::{self, Drive, Guest, Session, Space, Work, fstab};

/// Copying a volume, or reading one back.
const COPY: Duration = Duration::from_secs(6 * 3600);
/// Where the two trees are mounted in the appliance.
const GUEST: &str = "/guest";
const VOLUME: &str = "/volume";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("volume {volume} does not fit into {into}: it takes {needed} bytes and {free} are free there")]
    NoRoom { volume: String, into: String, needed: u64, free: u64 },
    #[error("volume {volume} takes {needed} inodes and {free} are free at {into}")]
    NoInodes { volume: String, into: String, needed: u64, free: u64 },
    #[error("volume {volume} cannot be folded into {into}: something is there already")]
    NotEmpty { volume: String, into: String },
    #[error("volume {volume} cannot be folded into {into}: {why}")]
    Unfit { volume: String, into: String, why: String },
    #[error("volume {volume} cannot be folded: instead of one file system it holds {found}")]
    NoFileSystem { volume: String, found: String },
    #[error("the copy of volume {volume} at {into} differs: {volume_digest} became {copy_digest}")]
    Differs { volume: String, into: String, volume_digest: String, copy_digest: String },
    #[error("`viaduct tree` at {host} answered `{answer}`")]
    Tree { host: String, answer: String },
}

impl Error {
    pub fn to_failure(&self) -> Failure {
        let (code, remedy) = match self {
            Self::NoRoom { .. } | Self::NoInodes { .. } => (
                Code::NoRoom,
                "free space in the guest's root file system, or let the volume arrive as a volume",
            ),
            Self::NotEmpty { .. } => (Code::NameTaken, "choose another `fold_into`, or empty that directory"),
            Self::Unfit { .. } => (Code::GuestUnsupported, "choose another `fold_into`"),
            Self::NoFileSystem { .. } => (Code::GuestUnsupported, "let the volume arrive as a volume"),
            Self::Differs { .. } => {
                (Code::Corrupted, "let the volume arrive as a volume, and report it with the names above")
            }
            Self::Tree { .. } => (Code::Internal, "use the same version of viaduct and fluidcloud"),
        };
        Failure::never(code, self.to_string(), remedy)
    }
}

pub(super) fn work(site: &Arc<dyn Site>, order: &FoldVolume, epoch: Epoch) -> Result<Work, guest::Error> {
    let drives = vec![
        Drive { place: order.root.place.clone(), read_only: false },
        Drive { place: order.volume.place.clone(), read_only: true },
    ];
    Work::new(site, &format!("fold-{}", order.volume.disk.disk), epoch, drives)
}

pub(super) async fn fold(
    site: &Arc<dyn Site>,
    viaduct: &ViaductBinary,
    order: &FoldVolume,
    epoch: Epoch,
) -> Result<Folded, crate::Error> {
    // In the appliance the root comes first.
    let asked = Asked { volume: &order.volume.disk, into: &order.into, at: 1 };
    checks::plain(asked)?;
    let work = work(site, order, epoch)?;
    if let Some(earlier) = work.earlier().await? {
        return Ok(earlier);
    }
    let tree = text(&viaduct.push(&**site).await?);
    let mut session = work.open().await?;
    let root = GuestDisk { staging: false, ..order.root.clone() };
    let volume = GuestDisk { staging: true, ..order.volume.clone() };
    let guest = Guest::mount(&mut session, &[root, volume]).await?;
    let place = checks::place(&mut session, &guest, asked).await?;
    let free = Space::at(&mut session, place.parent()).await?;
    checks::room(&mut session, asked, &place, free).await?;

    mount_both(&mut session, &guest, &place).await?;
    let copy = copy(&mut session, &place).await?;
    drop_mount(&mut session, GUEST, &guest, &place).await?;
    let manifest = prove(&mut session, &tree, order, &copy).await?;

    let Manifest { digest, entries, bytes } = manifest;
    let folded = Folded { into: order.into.clone(), entries, bytes, digest };
    work.seal(session, &folded).await?;
    Ok(folded)
}

/// Which volume shall go where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub volume: &'a DiskId,
    pub into: &'a str,
    /// Which of the disks in the appliance the volume is.
    pub at: usize,
}

impl Asked<'_> {
    fn unfit(self, why: String) -> Error {
        Error::Unfit { volume: self.volume.to_string(), into: self.into.to_owned(), why }
    }
}

/// Where the content comes from and goes to.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The volume's device in the appliance.
    pub device: String,
    /// `into` without links, inside the guest.
    pub into: String,
}

impl Place {
    pub fn parent(&self) -> &str {
        let parent = self.into.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent.is_empty() { "/" } else { parent }
    }
}

/// Beside each other: the guest's file systems without the volume, and the volume.
async fn mount_both(session: &mut Session, guest: &Guest, place: &Place) -> Result<(), guest::Error> {
    let mut commands = vec![
        Fish::new(&["umount-all"]),
        Fish::new(&["mkmountpoint", GUEST]),
        Fish::new(&["mkmountpoint", VOLUME]),
        // A journal that is not clean is replayed on the appliance's own overlay.
        Fish::new(&["mount-ro", &place.device, VOLUME]),
    ];
    for (at, device) in guest.mounts.iter().filter(|(_, device)| *device != place.device) {
        commands.push(Fish::new(&["mount", device, &format!("{GUEST}{at}")]));
    }
    session.run(&commands).await.map(drop)
}

/// Answers where the copy is in the appliance.
async fn copy(session: &mut Session, place: &Place) -> Result<String, guest::Error> {
    let copy = format!("{GUEST}{}", place.into);
    // The volume's own root directory becomes the directory, with its owner, mode and times.
    session.run_for(&[Fish::new(&["cp-a", VOLUME, &copy])], COPY).await?;
    let times = session.run(&[Fish::new(&["statns", VOLUME])]).await?.remove(0);
    let time = |key: &str| {
        let value = times.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.unwrap_or("0").trim().to_owned()
    };
    let [atime, atime_ns, mtime, mtime_ns] =
        ["st_atime_sec", "st_atime_nsec", "st_mtime_sec", "st_mtime_nsec"].map(time);
    session
        .run_for(
            &[
                Fish::new(&["rm-rf", &format!("{copy}/lost+found")]),
                Fish::new(&["utimens", &copy, &atime, &atime_ns, &mtime, &mtime_ns]),
                Fish::new(&["sync"]),
            ],
            COPY,
        )
        .await?;
    Ok(copy)
}

/// The guest, which is mounted at `top`, must not wait at boot for a volume that is gone.
pub(crate) async fn drop_mount(
    session: &mut Session,
    top: &str,
    guest: &Guest,
    place: &Place,
) -> Result<(), guest::Error> {
    let text =
        without_device(&guest.fstab, |spec| guest.devices.find(spec).as_deref() == Some(&place.device));
    if text != guest.fstab {
        session.write(&format!("{top}/etc/fstab"), text.as_bytes()).await?;
    }
    Ok(())
}

fn without_device(text: &str, is_it: impl Fn(&str) -> bool) -> String {
    let mut text = text.to_owned();
    // From the end, so that line numbers stay true.
    for entry in fstab::parse(&text).iter().rev().filter(|entry| is_it(&entry.spec)) {
        text = fstab::without(&text, entry);
    }
    text
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Manifest {
    digest: String,
    entries: u64,
    bytes: u64,
}

async fn prove(
    session: &mut Session,
    tree: &str,
    order: &FoldVolume,
    copy: &str,
) -> Result<Manifest, crate::Error> {
    let volume = manifest(session, tree, VOLUME).await?;
    let copied = manifest(session, tree, copy).await?;
    if volume == copied {
        return Ok(volume);
    }
    Err(Error::Differs {
        volume: order.volume.disk.to_string(),
        into: order.into.clone(),
        volume_digest: format!("{} ({} entries, {} bytes)", volume.digest, volume.entries, volume.bytes),
        copy_digest: format!("{} ({} entries, {} bytes)", copied.digest, copied.entries, copied.bytes),
    }
    .into())
}

async fn manifest(session: &mut Session, tree: &str, dir: &str) -> Result<Manifest, crate::Error> {
    let tar = Fish::new(&["tar-out", dir])
        .option("-")
        .option("numericowner:true xattrs:true acls:true selinux:true");
    let tar = tar.option("\"excludes:./lost+found\"").pipe(&format!("{} tree", shell_word(tree)));
    let answer = session.run_for(&[tar], COPY).await?.remove(0);
    let last = answer.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    serde_json::from_str(last).map_err(|_| {
        const SHOWN: usize = 300;
        Error::Tree { host: session.host(), answer: answer.chars().take(SHOWN).collect() }.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_leaves_fstab_under_whatever_name() {
        let text =
            "UUID=1 / ext4 defaults 0 1\n/dev/sdb /mnt/v ext4 defaults 0 2\nLABEL=data /mnt/w ext4 ro 0 0\n";
        let left = without_device(text, |spec| spec == "/dev/sdb" || spec == "LABEL=data");
        assert_eq!(left, "UUID=1 / ext4 defaults 0 1\n");
        assert_eq!(without_device(text, |_| false), text);
    }
}
