//! Names of network interfaces: the guest's configuration names them, and on other hardware the kernel would call
//! them otherwise. Each name that is used is bound to the hardware address, which moves with the guest.

mod names;

use super::Files;
use super::edits::Edits;
use names::{Use, uses};

const RULES: &str = "/etc/udev/rules.d/70-persistent-net.rules";
const LINKS: &str = "/etc/systemd/network";

pub(super) const FILES: &[&str] = &[RULES, "/etc/network/interfaces"];
pub(super) const DIRS: &[&str] = &[
    "/etc/network/interfaces.d",
    "/etc/netplan",
    LINKS,
    "/etc/NetworkManager/system-connections",
    "/etc/sysconfig/network-scripts",
];

/// `macs` in the order of the hardware, in lower case.
pub(super) fn adapt(macs: &[String], files: &Files, edits: &mut Edits) {
    if let Some(text) = files.get(RULES)
        && let Some(now) = freed(text)
    {
        edits.write(RULES, now, "names follow the hardware address only");
    }
    let free: Vec<_> = macs.iter().filter(|mac| !is_pinned(mac, files)).cloned().collect();
    for (name, mac) in bind(&uses(files), &free) {
        let path = format!("{LINKS}/10-fluidcloud-{name}.link");
        edits.write(&path, link(&name, &mac), format!("{mac} stays {name}"));
    }
}

fn link(name: &str, mac: &str) -> String {
    format!(
        "# The name that this guest's network configuration uses, kept on whatever hardware it runs.\n\
         [Match]\nMACAddress={mac}\n\n[Link]\nName={name}\n"
    )
}

/// Whether something binds a name to this address already.
fn is_pinned(mac: &str, files: &Files) -> bool {
    let links = files.within(LINKS, ".link").map(|(_, text)| text);
    links.chain(files.get(RULES)).any(|text| text.to_ascii_lowercase().contains(mac))
}

/// Which name belongs to which address: as the configuration says, else in order.
fn bind(uses: &[Use], macs: &[String]) -> Vec<(String, String)> {
    let mut bound: Vec<(String, String)> = Vec::new();
    for used in uses {
        if let Some(mac) = used.mac.as_ref().filter(|mac| macs.contains(mac)) {
            bound.push((used.name.clone(), mac.clone()));
        }
    }
    let mut names: Vec<_> =
        uses.iter().filter(|used| used.mac.is_none()).map(|used| used.name.clone()).collect();
    names.sort_by_key(|name| natural(name));
    names.retain(|name| !bound.iter().any(|(other, _)| other == name));
    let free: Vec<_> =
        macs.iter().filter(|mac| !bound.iter().any(|(_, other)| other == *mac)).cloned().collect();
    bound.extend(names.into_iter().zip(free));
    bound
}

/// `ens10` comes after `ens9`, as its slot does.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let digits = rest[letters..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - letters);
        let number = rest[letters..letters + digits].parse().unwrap_or_default();
        parts.push((rest[..letters].to_owned(), number));
        rest = &rest[letters + digits..];
    }
    parts
}

/// Rules of old udevs without what ties them to a slot or a driver; `None` when nothing does.
fn freed(text: &str) -> Option<String> {
    let tied = |part: &str| {
        let part = part.trim();
        part.starts_with("KERNELS==") || (part.starts_with("DRIVERS==") && part != "DRIVERS==\"?*\"")
    };
    let mut now = String::new();
    for line in text.lines() {
        let is_rule =
            !line.trim_start().starts_with('#') && line.to_ascii_lowercase().contains("attr{address}");
        if is_rule {
            let parts: Vec<_> = line.split(',').filter(|part| !tied(part)).map(str::trim).collect();
            now.push_str(&parts.join(", "));
        } else {
            now.push_str(line);
        }
        now.push('\n');
    }
    let loose = |text: &str| text.split_whitespace().collect::<String>();
    (loose(&now) != loose(text)).then_some(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        Files(pairs.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    fn adapted(macs: &[&str], pairs: &[(&str, &str)]) -> Vec<String> {
        let mut edits = Edits::default();
        let macs: Vec<_> = macs.iter().map(|mac| (*mac).to_owned()).collect();
        adapt(&macs, &files(pairs), &mut edits);
        edits.told()
    }

    const MAC: &str = "52:54:00:00:00:01";
    const OTHER: &str = "52:54:00:00:00:02";

    #[test]
    fn the_one_name_in_use_is_bound_to_the_one_address() {
        let told = adapted(
            &[MAC],
            &[(
                "/etc/network/interfaces",
                "auto lo\niface lo inet loopback\nauto ens3\niface ens3 inet dhcp\n",
            )],
        );
        assert_eq!(told, [format!("/etc/systemd/network/10-fluidcloud-ens3.link: {MAC} stays ens3")]);
    }

    #[test]
    fn several_names_are_bound_in_the_order_of_their_slots_unless_the_configuration_says_which() {
        let interfaces = "iface ens10 inet dhcp\niface ens9 inet dhcp\n";
        let told = adapted(&[MAC, OTHER], &[("/etc/network/interfaces", interfaces)]);
        assert!(told[0].ends_with("01 stays ens9") && told[1].ends_with("02 stays ens10"), "{told:?}");
        let ifcfg = [
            ("/etc/sysconfig/network-scripts/ifcfg-eth0", "DEVICE=eth0\nHWADDR=52:54:00:00:00:02\n"),
            ("/etc/sysconfig/network-scripts/ifcfg-eth1", "DEVICE=\"eth1\"\n"),
        ];
        let told = adapted(&[MAC, OTHER], &ifcfg);
        assert!(told[0].ends_with("02 stays eth0") && told[1].ends_with("01 stays eth1"), "{told:?}");
    }

    #[test]
    fn what_is_pinned_already_is_left_alone() {
        let interfaces = ("/etc/network/interfaces", "iface ens3 inet dhcp\n");
        let link = link("ens3", MAC);
        assert!(
            adapted(&[MAC], &[interfaces, ("/etc/systemd/network/10-fluidcloud-ens3.link", &link)])
                .is_empty()
        );
        let rule =
            format!("SUBSYSTEM==\"net\", DRIVERS==\"?*\", ATTR{{address}}==\"{MAC}\", NAME=\"eth0\"\n");
        assert!(adapted(&[MAC], &[interfaces, (RULES, &rule)]).is_empty());
    }

    #[test]
    fn old_rules_are_freed_from_slot_and_driver() {
        let rule = "# e1000\nSUBSYSTEM==\"net\", DRIVERS==\"e1000\", ATTR{address}==\"x\", KERNELS==\"0000:00:03.0\", NAME=\"eth0\"\n";
        let now = "# e1000\nSUBSYSTEM==\"net\", ATTR{address}==\"x\", NAME=\"eth0\"\n";
        assert_eq!(freed(rule).as_deref(), Some(now));
        assert_eq!(freed(now), None);
    }
}
