//! Which interface names a guest's network configuration uses, in each of the formats there are.

use super::super::Files;

/// A name in use, with the address it stands for when the configuration says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub name: String,
    pub mac: Option<String>,
}

/// Each name once.
pub(super) fn uses(files: &Files) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    let interfaces = files.get("/etc/network/interfaces").into_iter();
    let more = files.within("/etc/network/interfaces.d", "").map(|(_, text)| text);
    uses.extend(interfaces.chain(more).flat_map(ifupdown));
    uses.extend(files.within("/etc/netplan", ".yaml").flat_map(|(_, text)| netplan(text)));
    uses.extend(files.within("/etc/systemd/network", ".network").flat_map(|(_, text)| networkd(text)));
    let keyfiles = files.within("/etc/NetworkManager/system-connections", "");
    uses.extend(keyfiles.filter_map(|(_, text)| keyfile(text)));
    let scripts = files.within("/etc/sysconfig/network-scripts", "");
    uses.extend(scripts.filter(|(path, _)| path.contains("/ifcfg-")).filter_map(|(_, text)| ifcfg(text)));
    let mut once: Vec<Use> = Vec::new();
    for used in uses.into_iter().filter(|used| is_card(&used.name)) {
        match once.iter_mut().find(|other| other.name == used.name) {
            Some(other) => other.mac = other.mac.take().or(used.mac),
            None => once.push(used),
        }
    }
    once
}

/// Not the loopback, a bridge, a bond, a VLAN or a pattern.
fn is_card(name: &str) -> bool {
    let virtual_ones =
        ["lo", "br", "bond", "virbr", "docker", "tun", "tap", "wg", "dummy", "veth", "team", "vlan"];
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    plain && name.len() < 16 && !virtual_ones.contains(&stem)
}

fn named(name: &str) -> Use {
    Use { name: name.to_owned(), mac: None }
}

/// `iface NAME …`; `auto` and `allow-hotplug` alone configure nothing.
fn ifupdown(text: &str) -> Vec<Use> {
    let name = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("iface")).then(|| words.next().map(named)).flatten()
    };
    text.lines().filter_map(name).collect()
}

/// By indentation: `ethernets:`, below it the names, below each perhaps `macaddress:`, which finds it anywhere.
fn netplan(text: &str) -> Vec<Use> {
    let mut uses: Vec<Use> = Vec::new();
    let mut ethernets: Option<usize> = None;
    let mut level: Option<usize> = None;
    let mut matched = false;
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let key = line.trim().split_once(':').map_or(line.trim(), |(key, _)| key).trim_matches(['"', '\'']);
        if ethernets.is_some_and(|at| indent <= at) {
            (ethernets, level) = (None, None);
        }
        if ethernets.is_none() {
            ethernets = (key == "ethernets").then_some(indent);
            continue;
        }
        if indent == *level.get_or_insert(indent) {
            uses.push(named(key));
            matched = false;
        } else if key == "match" {
            matched = true;
        } else if matched && key == "macaddress" {
            // It is found by its address and needs no name; `set-name` gives it one.
            uses.pop();
        }
    }
    uses
}

/// `Name=` of `[Match]`, unless it is a pattern or the address is matched as well.
fn networkd(text: &str) -> Vec<Use> {
    let section = section(text, "Match");
    if value(&section, "MACAddress").is_some() || value(&section, "PermanentMACAddress").is_some() {
        return Vec::new();
    }
    value(&section, "Name").map(|names| names.split_whitespace().map(named).collect()).unwrap_or_default()
}

fn keyfile(text: &str) -> Option<Use> {
    let name = value(&section(text, "connection"), "interface-name")?;
    let mac = value(&section(text, "ethernet"), "mac-address").map(|mac| mac.to_ascii_lowercase());
    Some(Use { name, mac })
}

fn ifcfg(text: &str) -> Option<Use> {
    let lines: Vec<_> = text.lines().collect();
    let name = value(&lines, "DEVICE")?;
    Some(Use { name, mac: value(&lines, "HWADDR").map(|mac| mac.to_ascii_lowercase()) })
}

fn section<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let header = format!("[{name}]");
    let after = text.lines().map(str::trim).skip_while(|line| *line != header).skip(1);
    after.take_while(|line| !line.starts_with('[')).collect()
}

fn value(lines: &[&str], key: &str) -> Option<String> {
    let value =
        lines.iter().find_map(|line| line.trim().strip_prefix(key)?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(String, Option<String>)> {
        let files = Files([(path.to_owned(), text.to_owned())].into());
        uses(&files).into_iter().map(|used| (used.name, used.mac)).collect()
    }

    fn names(path: &str, text: &str) -> Vec<String> {
        found(path, text).into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn ifupdown_names_its_cards_and_not_its_bridges() {
        let text = "auto lo ens3\niface lo inet loopback\n# iface eth9 inet dhcp\niface ens3 inet static\n  address 10.0.0.2\n\
            iface ens3 inet6 auto\niface br0 inet dhcp\niface ens3.7 inet dhcp\n";
        assert_eq!(names("/etc/network/interfaces", text), ["ens3"]);
        assert_eq!(names("/etc/network/interfaces.d/eth", "iface eth0 inet dhcp\n"), ["eth0"]);
    }

    #[test]
    fn netplan_names_what_is_not_matched_by_address() {
        let text = "network:\n  version: 2\n  ethernets:\n    ens3:\n      dhcp4: true\n    uplink:\n      match:\n        \
            macaddress: 52:54:00:00:00:01\n      set-name: uplink\n  bridges:\n    br0:\n      interfaces: [ens3]\n";
        assert_eq!(names("/etc/netplan/50.yaml", text), ["ens3"]);
        assert_eq!(names("/etc/netplan/50.yaml", "network: {version: 2}\n"), Vec::<String>::new());
    }

    #[test]
    fn networkd_patterns_are_no_names() {
        let dhcp = "\n[Network]\nDHCP=yes\nName=no\n";
        assert_eq!(
            names("/etc/systemd/network/a.network", &format!("[Match]\nName=enp1s0{dhcp}")),
            ["enp1s0"]
        );
        assert!(names("/etc/systemd/network/a.network", &format!("[Match]\nName=en*{dhcp}")).is_empty());
        let by_address = format!("[Match]\nMACAddress=52:54:00:00:00:01\nName=x0{dhcp}");
        assert!(names("/etc/systemd/network/a.network", &by_address).is_empty());
    }

    #[test]
    fn network_manager_and_ifcfg_may_say_the_address() {
        let keyfile =
            "[connection]\nid=a\ninterface-name=ens3\n\n[ethernet]\nmac-address=52:54:00:AA:00:01\n";
        let named = vec![("ens3".to_owned(), Some("52:54:00:aa:00:01".to_owned()))];
        assert_eq!(found("/etc/NetworkManager/system-connections/a.nmconnection", keyfile), named);
        let ifcfg = "DEVICE=\"ens3\"\nONBOOT=yes\nHWADDR=52:54:00:AA:00:01\n";
        assert_eq!(found("/etc/sysconfig/network-scripts/ifcfg-ens3", ifcfg), named);
    }
}
