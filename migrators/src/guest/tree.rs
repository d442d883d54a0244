//! The guest's file systems: which one is its root, what lies where, and under which names its devices go.

mod devices;

use std::collections::BTreeMap;

use fluidcloud_proto::task::GuestDisk;

use super::fish::{Answer, Fish};
use super::session::Session;
use super::{Error, fstab};

pub use devices::Devices;

/// File systems looked at on one guest.
const FILE_SYSTEMS_MAX: usize = 64;
/// Without these the guest is not whole, and nothing is done to a part of it.
const NEEDED: [&str; 6] = ["/boot", "/boot/efi", "/usr", "/var", "/etc", "/opt"];
const PLAIN: [&str; 6] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs"];

/// A guest whose root is mounted.
#[derive(Clone, Debug)]
pub struct Guest {
    pub family: Family,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub name: String,
    pub fstab: String,
    pub devices: Devices,
    /// Mount points with their devices in the appliance; `/` first.
    pub mounts: Vec<(String, String)>,
    /// Every file system with its type, whether it is mounted or not.
    pub file_systems: Vec<(String, String)>,
    pub disk: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Debian,
    RedHat,
    Suse,
    Other,
}

impl Guest {
    /// Finds the one root and mounts it with what its fstab says, at `/` of the session.
    pub async fn mount(session: &mut Session, disks: &[GuestDisk]) -> Result<Self, Error> {
        let disk = disks.first().ok_or(Error::NoDisk)?.disk.to_string();
        let listed = session.run(&[Fish::new(&["list-filesystems"])]).await?.remove(0);
        let found = file_systems(&listed);
        let blkids: Vec<_> = found.iter().map(|(device, _)| Fish::new(&["blkid", device])).collect();
        let blkids = session.ask(&blkids).await?;
        let guest_devices = disks.iter().map(|disk| disk.guest_device.clone()).collect();
        let tags = found.iter().zip(&blkids).map(|((device, _), answer)| (device.clone(), tags(answer)));
        let devices = Devices::new(guest_devices, tags.collect());

        let staged = |device: &str| devices.disk_of(device).is_some_and(|at| disks[at].staging);
        let own: Vec<_> = found.iter().filter(|(device, _)| !staged(device)).cloned().collect();
        let root = find_root(session, &own, &disk).await?;
        session.run(&[Fish::new(&["mount", &root, "/"])]).await?;
        let wanted = ["/etc/fstab", "/etc/os-release", "/usr/lib/os-release"].map(str::to_owned);
        let mut files = session.read_all(&wanted).await?.into_iter().map(text).collect::<Vec<_>>();
        let fstab = files.remove(0);
        let release = if files[0].is_empty() { files.remove(1) } else { files.remove(0) };
        let (family, name) = family(&release);
        let mut guest = Self {
            family,
            name,
            fstab,
            devices,
            mounts: vec![("/".into(), root)],
            file_systems: found,
            disk,
        };
        guest.mount_the_rest(session).await?;
        Ok(guest)
    }

    /// Mounts it again as its fstab is by now, as if these of its disks were the only ones.
    pub async fn mount_again(&self, session: &mut Session, disks: &[usize]) -> Result<Self, Error> {
        let root = self.mounts[..1].to_vec();
        let commands = [Fish::new(&["umount-all"]), Fish::new(&["mount", &root[0].1, "/"])];
        session.run(&commands).await?;
        let fstab = text(session.read("/etc/fstab").await?);
        let mut guest = Self { fstab, devices: self.devices.only(disks), mounts: root, ..self.clone() };
        guest.mount_the_rest(session).await?;
        Ok(guest)
    }

    async fn mount_the_rest(&mut self, session: &mut Session) -> Result<(), Error> {
        let mut entries: Vec<_> = fstab::parse(&self.fstab)
            .into_iter()
            .filter(|entry| entry.mount_point.starts_with('/') && entry.mount_point != "/")
            .filter_map(|entry| self.devices.find(&entry.spec).map(|device| (entry, device)))
            .collect();
        entries.sort_by_key(|(entry, _)| entry.mount_point.matches('/').count());
        let mount =
            |(entry, device): &(fstab::Entry, String)| Fish::new(&["mount", device, &entry.mount_point]);
        let answers = session.ask(&entries.iter().map(mount).collect::<Vec<_>>()).await?;
        for ((entry, device), answer) in entries.into_iter().zip(answers) {
            match answer {
                Ok(_) => self.mounts.push((entry.mount_point, device)),
                Err(said) if NEEDED.contains(&entry.mount_point.as_str()) => {
                    return Err(Error::Unsupported {
                        disk: self.disk.clone(),
                        why: format!("{} of its fstab cannot be mounted: {said}", entry.mount_point),
                        remedy: "check that file system in the guest before it is moved".to_owned(),
                    });
                }
                Err(said) => tracing::debug!(mount_point = %entry.mount_point, said, "left unmounted"),
            }
        }
        Ok(())
    }

    /// The device under which a path lies, with its mount point.
    pub fn mount_of(&self, path: &str) -> (&str, &str) {
        let under = |mount_point: &str| {
            mount_point == "/" || path == mount_point || path.starts_with(&format!("{mount_point}/"))
        };
        let found = self.mounts.iter().filter(|(at, _)| under(at)).max_by_key(|(at, _)| at.len());
        found.map_or(("/", ""), |(at, device)| (at, device))
    }
}

/// `device: type` lines; swap counts, as fstab may name it.
fn file_systems(listed: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.rsplit_once(": ").map(|(device, kind)| (device.to_owned(), kind.to_owned()));
    listed.lines().filter_map(pair).take(FILE_SYSTEMS_MAX).collect()
}

async fn find_root(session: &mut Session, found: &[(String, String)], disk: &str) -> Result<String, Error> {
    let plain = || found.iter().filter(|(_, kind)| PLAIN.contains(&kind.as_str())).map(|(device, _)| device);
    let probe = |device: &String| {
        [
            Fish::new(&["mount-ro", device, "/"]),
            Fish::new(&["exists", "/etc/fstab"]),
            Fish::new(&["exists", "/etc/os-release"]),
            Fish::new(&["exists", "/usr/lib/os-release"]),
            Fish::new(&["umount-all"]),
        ]
    };
    let answers = session.ask(&plain().flat_map(probe).collect::<Vec<_>>()).await?;
    let yes = |answer: &Answer| answer.as_deref() == Ok("true");
    let roots: Vec<_> = plain()
        .zip(answers.chunks(5))
        .filter(|(_, answers)| answers[0].is_ok() && answers[1..4].iter().any(yes))
        .map(|(device, _)| device.clone())
        .collect();
    if let [root] = roots.as_slice() {
        return Ok(root.clone());
    }
    if found.iter().any(|(_, kind)| kind == "ntfs" || kind == "BitLocker") {
        return Err(Error::Unsupported {
            disk: disk.to_owned(),
            why: "it looks like Windows, which is not adapted yet".to_owned(),
            remedy: "move Linux guests only, or move it to a target with the same hardware by other means"
                .to_owned(),
        });
    }
    let disk = disk.to_owned();
    if found.iter().all(|(_, kind)| kind == "unknown") {
        return Err(Error::NoFileSystem { disk });
    }
    let found = if roots.is_empty() {
        let listed: Vec<_> = found.iter().map(|(device, kind)| format!("{device} is {kind}")).collect();
        listed.join(", ")
    } else {
        format!("there are several, on {}", roots.join(" and "))
    };
    Err(Error::NoSystem { disk, found })
}

/// `KEY: value` lines of blkid.
fn tags(answer: &Answer) -> BTreeMap<String, String> {
    let text = answer.as_deref().unwrap_or_default();
    let pair = |line: &str| line.split_once(": ").map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.lines().filter_map(pair).collect()
}

pub(crate) fn text(content: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&content.unwrap_or_default()).into_owned()
}

/// From os-release.
fn family(release: &str) -> (Family, String) {
    let value = |key: &str| {
        let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_default().trim_matches(['"', '\'']).to_owned()
    };
    let ids = format!("{} {}", value("ID"), value("ID_LIKE"));
    let is = |names: &[&str]| ids.split_whitespace().any(|id| names.contains(&id));
    let family = if is(&["debian", "ubuntu"]) {
        Family::Debian
    } else if is(&["rhel", "fedora", "centos"]) {
        Family::RedHat
    } else if is(&["suse", "sles", "opensuse"]) {
        Family::Suse
    } else {
        Family::Other
    };
    let name = value("PRETTY_NAME");
    (family, if name.is_empty() { "a Linux without a name".to_owned() } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_family_is_read_from_os_release() {
        let release = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(family(release), (Family::Debian, "Debian GNU/Linux 12 (bookworm)".into()));
        assert_eq!(family("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n").0, Family::RedHat);
        assert_eq!(family("ID=alpine\n").0, Family::Other);
    }

    #[test]
    fn file_systems_are_listed_with_odd_names() {
        let listed = "/dev/sda1: ext4\nbtrfsvol:/dev/sda2/@home: btrfs\n/dev/sda3: swap";
        assert_eq!(file_systems(listed)[1], ("btrfsvol:/dev/sda2/@home".to_owned(), "btrfs".to_owned()));
    }
}
