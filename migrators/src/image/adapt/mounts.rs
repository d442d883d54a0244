//! fstab: devices by the names they have on any hardware.

use super::edits::Edits;
use super::{Error, boot};
use crate::guest::tree::Devices;
use crate::guest::{Guest, fstab};

const FSTAB: &str = "/etc/fstab";

pub(super) fn adapt(guest: &Guest, edits: &mut Edits) -> Result<(), Error> {
    let (text, changes) = rewrite(&guest.fstab, &guest.devices, &guest.name)?;
    if !changes.is_empty() {
        edits.write(FSTAB, text, changes.join(", "));
    }
    Ok(())
}

fn rewrite(text: &str, devices: &Devices, system: &str) -> Result<(String, Vec<String>), Error> {
    let mut now = text.to_owned();
    let mut changes = Vec::new();
    for entry in fstab::parse(text).iter().filter(|entry| Devices::is_bound(&entry.spec)) {
        match boot::lasting(devices, &entry.spec, FSTAB, system) {
            Ok(name) => {
                now = fstab::with_spec(&now, entry, &name);
                changes.push(format!("{} is {name}", entry.spec));
            }
            // The guest boots without it.
            Err(_) if entry.is_optional() || entry.is_swap() => {}
            Err(error) => return Err(error),
        }
    }
    Ok((now, changes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> Devices {
        let tags = |uuid: &str| [("UUID".to_owned(), uuid.to_owned())].into();
        let found = vec![("/dev/sda1".to_owned(), tags("root-id")), ("/dev/sdb".to_owned(), tags("data-id"))];
        Devices::new(vec!["/dev/sda".into(), "/dev/sdb".into()], found)
    }

    #[test]
    fn device_names_become_uuids_and_nothing_else_changes() {
        let text = "/dev/sda1  /  ext4  defaults  0 1\nUUID=x /boot ext4 defaults 0 2\n/dev/hdb /data xfs ro 0 0\ntmpfs /t tmpfs\n";
        let (now, changes) = rewrite(text, &devices(), "Debian").unwrap();
        assert_eq!(
            now,
            "UUID=root-id /  ext4  defaults  0 1\nUUID=x /boot ext4 defaults 0 2\nUUID=data-id /data xfs ro 0 0\ntmpfs /t tmpfs\n"
        );
        assert_eq!(changes, ["/dev/sda1 is UUID=root-id", "/dev/hdb is UUID=data-id"]);
        assert_eq!(rewrite(&now, &devices(), "Debian").unwrap(), (now, vec![]));
    }

    #[test]
    fn a_device_that_is_not_there_stops_the_move_unless_the_guest_boots_without_it() {
        let text = "/dev/sdz1 /data ext4 defaults 0 0\n";
        let error = rewrite(text, &devices(), "Debian").unwrap_err();
        assert!(error.to_string().contains("/dev/sdz1 of /etc/fstab"), "{error}");
        for fine in [
            "/dev/sdz1 /data ext4 nofail 0 0\n",
            "/dev/sdz5 none swap sw 0 0\n",
            "/dev/sr0 /cd iso9660 ro 0 0\n",
        ] {
            assert_eq!(rewrite(fine, &devices(), "Debian").unwrap().1, Vec::<String>::new());
        }
    }
}
