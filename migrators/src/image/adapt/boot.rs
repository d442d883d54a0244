//! The bootloader's files: the kernel finds its root by a name that holds on any hardware.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::edits::Edits;
use super::{Error, Files};
use crate::guest::Guest;
use crate::guest::tree::Devices;

const DEFAULT_GRUB: &str = "/etc/default/grub";
const RESUME: &str = "/etc/initramfs-tools/conf.d/resume";
/// Written again by grub when it is needed; until then it names disks of the old hardware.
const DEVICE_MAPS: [&str; 2] = ["/boot/grub/device.map", "/boot/grub2/device.map"];

pub(super) const FILES: &[&str] = &[
    DEFAULT_GRUB,
    RESUME,
    "/boot/grub/grub.cfg",
    "/boot/grub2/grub.cfg",
    "/boot/grub/menu.lst",
    "/boot/grub/grub.conf",
    "/boot/grub/device.map",
    "/boot/grub2/device.map",
    "/boot/extlinux/extlinux.conf",
    "/boot/syslinux/syslinux.cfg",
    "/etc/kernel/cmdline",
];
pub(super) const DIRS: &[&str] = &["/boot/loader/entries"];

/// `root=` and `resume=` of a kernel command line, wherever it is written.
static ARGUMENT: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"(?P<space>[ \t]?)(?P<before>^|[\s"'])(?P<key>root|resume)=(?P<spec>/dev/[^\s"']+)"#)
});
static NO_UUID: LazyLock<Regex> =
    LazyLock::new(|| pattern(r"(?m)^\s*GRUB_DISABLE_LINUX_(?:PART)?UUID\s*=.*\n?"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

pub(super) fn adapt(guest: &Guest, files: &Files, edits: &mut Edits) -> Result<(), Error> {
    let entries = files.within("/boot/loader/entries", ".conf").map(|(path, _)| path);
    for path in FILES.iter().copied().filter(|path| *path != RESUME).chain(entries) {
        let Some(text) = files.get(path) else { continue };
        if DEVICE_MAPS.contains(&path) {
            edits.remove(path, "removed, it names disks of the old hardware");
            continue;
        }
        let (mut now, mut changes) = command_line(text, &guest.devices, &guest.name)?;
        if path == DEFAULT_GRUB && NO_UUID.is_match(&now) {
            now = NO_UUID.replace_all(&now, "").into_owned();
            changes.push("update-grub may use UUIDs".to_owned());
        }
        if now != text {
            edits.write(path, now, changes.join(", "));
        }
    }
    if let Some(text) = files.get(RESUME)
        && let Some(now) = resume(text, &guest.devices)
    {
        let told = now.trim().to_owned();
        edits.write(RESUME, now, told);
    }
    Ok(())
}

/// What it is called on any hardware.
pub(super) fn lasting(
    devices: &Devices,
    spec: &str,
    file: &'static str,
    system: &str,
) -> Result<String, Error> {
    let (system, spec) = (system.to_owned(), spec.to_owned());
    if let Some(name) = devices.lasting(&spec) {
        return Ok(name);
    }
    match devices.find(&spec) {
        Some(_) => Err(Error::Nameless { system, file, spec }),
        None => Err(Error::UnknownDevice { system, file, spec }),
    }
}

/// The text with every `root=` by name changed, and every `resume=` by name changed or, when nothing is there,
/// removed: the kernel would wait for it.
fn command_line(text: &str, devices: &Devices, system: &str) -> Result<(String, Vec<String>), Error> {
    let mut changes: Vec<String> = Vec::new();
    let mut tell = |change: String| {
        if !changes.contains(&change) {
            changes.push(change);
        }
    };
    let mut failed = None;
    let now = ARGUMENT.replace_all(text, |found: &Captures<'_>| {
        let (space, before, key, spec) = (&found["space"], &found["before"], &found["key"], &found["spec"]);
        let unchanged = found[0].to_owned();
        if !Devices::is_bound(spec) {
            return unchanged;
        }
        match (lasting(devices, spec, "the kernel command line", system), key) {
            (Ok(name), _) => {
                tell(format!("{key}={spec} is {key}={name}"));
                format!("{space}{before}{key}={name}")
            }
            (Err(_), "resume") => {
                tell(format!("{key}={spec} is removed"));
                let gap = if before.trim().is_empty() { "" } else { before };
                format!("{space}{gap}")
            }
            (Err(error), _) => {
                failed.get_or_insert(error);
                unchanged
            }
        }
    });
    let now = now.into_owned();
    match failed {
        Some(error) => Err(error),
        None => Ok((now, changes)),
    }
}

/// `RESUME=` of initramfs-tools; `None` when it may stay.
fn resume(text: &str, devices: &Devices) -> Option<String> {
    let spec = text.lines().find_map(|line| line.trim().strip_prefix("RESUME="))?.trim_matches('"');
    let found = devices.lasting(spec);
    match found {
        Some(name) if name == spec => None,
        Some(name) => Some(format!("RESUME={name}\n")),
        None if matches!(spec, "none" | "auto" | "") => None,
        None => Some("RESUME=none\n".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        let tags = |uuid: &str| [("UUID".to_owned(), uuid.to_owned())].into();
        let found = vec![("/dev/sda1".to_owned(), tags("r-1")), ("/dev/sda5".to_owned(), tags("s-5"))];
        Devices::new(vec!["/dev/sda".into()], found)
    }

    fn changed(text: &str) -> String {
        command_line(text, &devices(), "Debian").unwrap().0
    }

    #[test]
    fn the_root_of_every_menu_entry_gets_its_lasting_name() {
        let text = "\tlinux /boot/vmlinuz root=/dev/sda1 ro quiet\n\tlinux /vmlinuz ro root=/dev/sda1\nset root='hd0,msdos1'\n";
        let now = "\tlinux /boot/vmlinuz root=UUID=r-1 ro quiet\n\tlinux /vmlinuz ro root=UUID=r-1\nset root='hd0,msdos1'\n";
        assert_eq!(changed(text), now);
        assert_eq!(changed(now), now);
        assert_eq!(command_line(text, &devices(), "x").unwrap().1, ["root=/dev/sda1 is root=UUID=r-1"]);
    }

    #[test]
    fn quoted_arguments_in_default_grub_are_changed_too() {
        assert_eq!(
            changed("GRUB_CMDLINE_LINUX=\"root=/dev/sda1 console=ttyS0\"\n"),
            "GRUB_CMDLINE_LINUX=\"root=UUID=r-1 console=ttyS0\"\n"
        );
        assert_eq!(changed("X=\"resume=/dev/sda5\"\n"), "X=\"resume=UUID=s-5\"\n");
    }

    #[test]
    fn a_resume_device_that_is_gone_is_removed_and_a_root_that_is_gone_is_an_error() {
        assert_eq!(changed("linux /k ro resume=/dev/sdb2 quiet\n"), "linux /k ro quiet\n");
        assert_eq!(changed("X=\"resume=/dev/sdb2\"\n"), "X=\"\"\n");
        let error = command_line("linux /k root=/dev/sdq1\n", &devices(), "Debian").unwrap_err();
        assert!(error.to_string().contains("/dev/sdq1 of the kernel command line"), "{error}");
    }

    #[test]
    fn names_that_hold_anywhere_stay() {
        for text in [
            "linux /k root=UUID=1 ro\n",
            "linux /k root=/dev/mapper/vg-root ro\n",
            "linux /k nfsroot=/dev/sda1\n",
        ] {
            assert_eq!(changed(text), text);
        }
    }

    #[test]
    fn grub_may_use_uuids_again() {
        let text = "A=1\nGRUB_DISABLE_LINUX_UUID=true\nB=2\n";
        assert_eq!(NO_UUID.replace_all(text, ""), "A=1\nB=2\n");
        assert!(!NO_UUID.is_match("#GRUB_DISABLE_LINUX_UUID=true\n"));
    }

    #[test]
    fn the_resume_device_of_the_initramfs_is_found_or_none() {
        assert_eq!(resume("RESUME=/dev/sda5\n", &devices()).as_deref(), Some("RESUME=UUID=s-5\n"));
        assert_eq!(resume("RESUME=UUID=s-5\n", &devices()), None);
        assert_eq!(resume("RESUME=UUID=gone\n", &devices()).as_deref(), Some("RESUME=none\n"));
        assert_eq!(resume("RESUME=none\n", &devices()), None);
    }
}
