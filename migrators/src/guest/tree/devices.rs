//! The names of a guest's devices: what its own configuration calls them, what the appliance calls them, and what
//! they are called wherever they are (`UUID=…`). Pure.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    /// The name each disk had in the guest, in the order the appliance has them.
    guest: Vec<String>,
    /// What blkid says of each file system, by its device in the appliance.
    tags: Vec<(String, BTreeMap<String, String>)>,
}

impl Devices {
    pub fn new(guest: Vec<String>, tags: Vec<(String, BTreeMap<String, String>)>) -> Self {
        Self { guest, tags }
    }

    /// The appliance's device for what an fstab, a kernel command line or a person calls it.
    pub fn find(&self, spec: &str) -> Option<String> {
        let by = |key: &str, value: &str| {
            let same = |(_, tags): &&(String, BTreeMap<String, String>)| {
                tags.get(key).is_some_and(|tag| tag.eq_ignore_ascii_case(value))
            };
            self.tags.iter().find(same).map(|(device, _)| device.clone())
        };
        for (prefixes, key) in [
            (["UUID=", "/dev/disk/by-uuid/"], "UUID"),
            (["LABEL=", "/dev/disk/by-label/"], "LABEL"),
            (["PARTUUID=", "/dev/disk/by-partuuid/"], "PARTUUID"),
            (["PARTLABEL=", "/dev/disk/by-partlabel/"], "PARTLABEL"),
        ] {
            if let Some(value) = prefixes.iter().find_map(|prefix| spec.strip_prefix(prefix)) {
                return by(key, value);
            }
        }
        if spec.starts_with("/dev/mapper/")
            || self.tags.iter().any(|(device, _)| device == spec && !is_disk(spec))
        {
            return Some(spec.to_owned());
        }
        let (disk, partition) = split(spec)?;
        let at = self.place_of(disk)?;
        let letter = char::from(b'a' + u8::try_from(at).ok().filter(|at| *at < 26)?);
        Some(format!("/dev/sd{letter}{partition}"))
    }

    /// A name by machine: it means something else, or nothing, on other hardware.
    pub fn is_bound(spec: &str) -> bool {
        is_disk(spec)
            || ["/dev/disk/by-path/", "/dev/disk/by-id/"].iter().any(|prefix| spec.starts_with(prefix))
    }

    /// What to call it so that it is found on any hardware.
    pub fn lasting(&self, spec: &str) -> Option<String> {
        let device = self.find(spec)?;
        let tags = self.tags.iter().find(|(other, _)| *other == device).map(|(_, tags)| tags)?;
        let by = |key: &str| tags.get(key).map(|value| format!("{key}={value}"));
        by("UUID").or_else(|| by("PARTUUID"))
    }

    /// Which disk of the guest an appliance's device is on.
    pub fn disk_of(&self, device: &str) -> Option<usize> {
        let letter = device.strip_prefix("/dev/sd")?.bytes().next()?;
        Some(usize::from(letter.checked_sub(b'a')?)).filter(|at| *at < self.guest.len())
    }

    /// As if these of the disks were the only ones. The appliance's names stay what they are.
    pub fn only(&self, disks: &[usize]) -> Self {
        let name =
            |(at, name): (usize, &String)| if disks.contains(&at) { name.clone() } else { String::new() };
        let is_here = |(device, _): &&(String, BTreeMap<String, String>)| {
            let device = device.strip_prefix("btrfsvol:").unwrap_or(device);
            // What spans disks, such as a logical volume, is taken to be there.
            self.disk_of(device).is_none_or(|at| disks.contains(&at))
        };
        Self {
            guest: self.guest.iter().enumerate().map(name).collect(),
            tags: self.tags.iter().filter(is_here).cloned().collect(),
        }
    }

    fn place_of(&self, disk: &str) -> Option<usize> {
        if let Some(at) = self.guest.iter().position(|guest| guest == disk) {
            return Some(at);
        }
        // Written when the disk was on another bus: the letters still say which one is meant.
        let letter = letter(disk)?;
        let mut same = self.guest.iter().enumerate().filter(|(_, guest)| self::letter(guest) == Some(letter));
        let (at, _) = same.next()?;
        same.next().is_none().then_some(at)
    }
}

fn is_disk(spec: &str) -> bool {
    split(spec).is_some()
}

/// `/dev/sda1` is disk `/dev/sda` and partition `1`; `/dev/nvme0n1p2` is `/dev/nvme0n1` and `2`.
fn split(spec: &str) -> Option<(&str, &str)> {
    let name = spec.strip_prefix("/dev/")?;
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    if name.starts_with("nvme") || name.starts_with("mmcblk") {
        let before = spec[..spec.len() - digits].strip_suffix('p');
        return Some(match before {
            Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => {
                (disk, &spec[spec.len() - digits..])
            }
            _ => (spec, ""),
        });
    }
    let disk = &spec[..spec.len() - digits];
    letter(disk).map(|_| (disk, &spec[spec.len() - digits..]))
}

/// The letter of `/dev/sda`, `/dev/hda`, `/dev/vda`, `/dev/xvda`.
fn letter(disk: &str) -> Option<char> {
    let name = disk.strip_prefix("/dev/")?;
    let rest = ["xvd", "sd", "hd", "vd"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let mut letters = rest.chars();
    let letter = letters.next().filter(char::is_ascii_lowercase)?;
    letters.next().is_none().then_some(letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(guest: &[&str]) -> Devices {
        let tags = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Devices::new(
            guest.iter().map(|name| (*name).to_owned()).collect(),
            vec![
                ("/dev/sda1".into(), tags(&[("UUID", "aaaa"), ("LABEL", "root"), ("PARTUUID", "01")])),
                ("/dev/sda2".into(), tags(&[("PARTUUID", "02")])),
                ("/dev/sdb".into(), tags(&[("UUID", "bbbb")])),
                ("/dev/vg/home".into(), tags(&[("UUID", "cccc")])),
            ],
        )
    }

    #[test]
    fn a_device_is_found_by_every_name_it_has() {
        let devices = devices(&["/dev/vda", "/dev/vdb"]);
        for (spec, device) in [
            ("/dev/vda1", Some("/dev/sda1")),
            ("/dev/vdb", Some("/dev/sdb")),
            ("/dev/sdb", Some("/dev/sdb")),
            ("/dev/hda1", Some("/dev/sda1")),
            ("UUID=AAAA", Some("/dev/sda1")),
            ("/dev/disk/by-uuid/bbbb", Some("/dev/sdb")),
            ("LABEL=root", Some("/dev/sda1")),
            ("PARTUUID=02", Some("/dev/sda2")),
            ("/dev/mapper/vg-home", Some("/dev/mapper/vg-home")),
            ("/dev/vg/home", Some("/dev/vg/home")),
            ("/dev/vdc", None),
            ("/dev/sr0", None),
            ("tmpfs", None),
            ("/dev/disk/by-path/pci-0000:00:01.1-ata-1", None),
        ] {
            assert_eq!(devices.find(spec).as_deref(), device, "{spec}");
        }
    }

    #[test]
    fn nvme_names_have_a_p_before_the_partition() {
        let devices = devices(&["/dev/nvme0n1", "/dev/nvme1n1"]);
        assert_eq!(devices.find("/dev/nvme0n1p1").as_deref(), Some("/dev/sda1"));
        assert_eq!(devices.find("/dev/nvme1n1").as_deref(), Some("/dev/sdb"));
    }

    #[test]
    fn a_lasting_name_needs_no_hardware() {
        let devices = devices(&["/dev/sda", "/dev/sdb"]);
        assert_eq!(devices.lasting("/dev/sda1").as_deref(), Some("UUID=aaaa"));
        assert_eq!(devices.lasting("/dev/sda2").as_deref(), Some("PARTUUID=02"));
        assert_eq!(devices.lasting("/dev/sdc1"), None);
    }

    #[test]
    fn names_by_machine_are_told_from_lasting_ones() {
        for bound in
            ["/dev/sda1", "/dev/vdb", "/dev/hda3", "/dev/nvme0n1p1", "/dev/disk/by-id/ata-QEMU_1-part1"]
        {
            assert!(Devices::is_bound(bound), "{bound}");
        }
        for lasting in
            ["UUID=1", "LABEL=x", "/dev/mapper/vg-root", "/dev/sr0", "tmpfs", "proc", "10.0.0.1:/x"]
        {
            assert!(!Devices::is_bound(lasting), "{lasting}");
        }
    }

    #[test]
    fn a_disk_that_is_not_there_is_found_by_no_name_and_the_others_keep_theirs() {
        let devices = devices(&["/dev/vda", "/dev/vdb"]);
        let root = devices.only(&[0]);
        for gone in ["/dev/vdb", "/dev/sdb", "UUID=bbbb"] {
            assert_eq!(root.find(gone), None, "{gone}");
        }
        assert_eq!(root.find("/dev/vda1").as_deref(), Some("/dev/sda1"));
        assert_eq!(root.find("UUID=cccc").as_deref(), Some("/dev/vg/home"));
        assert_eq!(devices.only(&[1]).find("/dev/vdb").as_deref(), Some("/dev/sdb"));
        assert_eq!(devices.only(&[0, 1]), devices);
    }

    #[test]
    fn the_disk_of_a_device_is_known_by_its_place() {
        let devices = devices(&["/dev/hda", "/dev/hdc"]);
        assert_eq!((devices.disk_of("/dev/sdb"), devices.disk_of("/dev/sdc1")), (Some(1), None));
        assert_eq!(devices.find("/dev/hdc").as_deref(), Some("/dev/sdb"));
        assert_eq!(devices.find("/dev/hdb"), None);
    }
}
