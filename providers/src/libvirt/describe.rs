//! Reads a domain's XML. Pure: what the XML does not say (sizes, snapshots, addresses) is added by `inspect`.

use fluidcloud_proto::ids::DiskName;
use fluidcloud_proto::topology::{DiskFormat, DiskRole, Firmware, Nic};
use roxmltree::{Document, Node};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    pub machine: String,
    pub firmware: Firmware,
    pub vcpus: u32,
    pub memory_bytes: u64,
    /// Root first, then as the guest sees them.
    pub disks: Vec<Attached>,
    pub nics: Vec<Nic>,
}

/// A disk whose bytes can be reached at the site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub name: DiskName,
    pub role: DiskRole,
    pub bus: String,
    pub guest_device: String,
    pub source: Source,
    pub format: DiskFormat,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Path(String),
    Volume { pool: String, volume: String },
}

pub(super) fn describe(domain: &Document<'_>) -> Described {
    let root = domain.root_element();
    let kind = path(root, &["os", "type"]);
    Described {
        machine: kind.and_then(|kind| kind.attribute("machine")).unwrap_or("pc").to_owned(),
        firmware: firmware(root),
        vcpus: text(root, "vcpu").parse().unwrap_or(1),
        memory_bytes: child(root, "memory").map_or(0, bytes),
        disks: disks(root),
        nics: devices(root, "interface").filter_map(nic).collect(),
    }
}

/// Elements of `<devices>` with this name.
pub(super) fn devices<'a>(root: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    let devices = child(root, "devices");
    devices.into_iter().flat_map(|devices| devices.children()).filter(move |node| node.has_tag_name(name))
}

pub(super) fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

pub(super) fn path<'a>(node: Node<'a, 'a>, names: &[&str]) -> Option<Node<'a, 'a>> {
    names.iter().try_fold(node, |node, name| child(node, name))
}

pub(super) fn text<'a>(node: Node<'a, 'a>, name: &str) -> &'a str {
    child(node, name).and_then(|child| child.text()).unwrap_or_default().trim()
}

/// `disk` or `lun`: what holds data of the guest. Others are media drives.
pub(super) fn is_disk(disk: Node<'_, '_>) -> bool {
    matches!(disk.attribute("device"), None | Some("disk" | "lun"))
}

pub(super) fn target_name<'a>(disk: Node<'a, 'a>) -> &'a str {
    child(disk, "target").and_then(|target| target.attribute("dev")).unwrap_or("unnamed")
}

pub(super) fn bus<'a>(disk: Node<'a, 'a>) -> &'a str {
    child(disk, "target").and_then(|target| target.attribute("bus")).unwrap_or("ide")
}

/// `None`: the bytes are not at the site.
pub(super) fn source(disk: Node<'_, '_>) -> Option<Source> {
    let source = child(disk, "source")?;
    let named = |attribute| source.attribute(attribute).map(str::to_owned);
    match disk.attribute("type").unwrap_or("file") {
        "file" => Some(Source::Path(named("file")?)),
        "block" => Some(Source::Path(named("dev")?)),
        "volume" => Some(Source::Volume { pool: named("pool")?, volume: named("volume")? }),
        _ => None,
    }
}

/// `None`: one that we do not read.
pub(super) fn format(disk: Node<'_, '_>) -> Option<DiskFormat> {
    match child(disk, "driver").and_then(|driver| driver.attribute("type")).unwrap_or("raw") {
        "raw" => Some(DiskFormat::Raw),
        "qcow2" => Some(DiskFormat::Qcow2),
        _ => None,
    }
}

fn firmware(root: Node<'_, '_>) -> Firmware {
    let Some(os) = root.children().find(|node| node.has_tag_name("os")) else { return Firmware::Bios };
    let loader = os.children().find(|node| node.has_tag_name("loader"));
    let pflash = loader.is_some_and(|loader| loader.attribute("type") == Some("pflash"));
    let ovmf = loader.and_then(|loader| loader.text()).is_some_and(|path| path.contains("OVMF"));
    if os.attribute("firmware") == Some("efi") || pflash || ovmf { Firmware::Uefi } else { Firmware::Bios }
}

fn disks(root: Node<'_, '_>) -> Vec<Attached> {
    let all: Vec<Node<'_, '_>> = devices(root, "disk").filter(|disk| is_disk(*disk)).collect();
    let guest_devices = guest_devices(&all);
    let first = boots_first(&all).map(target_name);
    let mut disks: Vec<(String, Attached)> = Vec::new();
    for (disk, guest_device) in all.iter().zip(guest_devices) {
        let (Some(source), Some(format), Ok(name)) =
            (source(*disk), format(*disk), target_name(*disk).parse())
        else {
            continue;
        };
        let role = if first == Some(target_name(*disk)) { DiskRole::Root } else { DiskRole::Volume };
        let bus = bus(*disk).to_owned();
        disks.push((sort_key(&guest_device), Attached { name, role, bus, guest_device, source, format }));
    }
    disks.sort_by_key(|(key, disk)| (disk.role != DiskRole::Root, key.clone()));
    disks.into_iter().map(|(_, disk)| disk).collect()
}

/// The one with the lowest boot order, or else the first.
fn boots_first<'a>(disks: &[Node<'a, 'a>]) -> Option<Node<'a, 'a>> {
    let order = |disk: &&Node<'a, 'a>| -> u32 {
        let boot = child(**disk, "boot").and_then(|boot| boot.attribute("order"));
        boot.and_then(|order| order.parse().ok()).unwrap_or(u32::MAX)
    };
    disks.iter().min_by_key(order).copied()
}

/// The names the guest's kernel gives: one row of letters for virtio, one for all that looks like SCSI to it.
fn guest_devices(disks: &[Node<'_, '_>]) -> Vec<String> {
    let rank = |bus: &str| ["ide", "sata", "scsi", "usb"].iter().position(|known| *known == bus).unwrap_or(9);
    let mut order: Vec<usize> = (0..disks.len()).collect();
    order.sort_by_key(|at| (rank(bus(disks[*at])), sort_key(target_name(disks[*at]))));
    let mut names = vec![String::new(); disks.len()];
    let (mut virtio, mut other) = (0, 0);
    for at in order {
        let (family, count) =
            if bus(disks[at]) == "virtio" { ("vd", &mut virtio) } else { ("sd", &mut other) };
        names[at] = format!("/dev/{family}{}", letters(*count));
        *count += 1;
    }
    names
}

/// `sdz` comes before `sdaa`.
fn sort_key(name: &str) -> String {
    format!("{:>8}", name.rsplit('/').next().unwrap_or(name))
}

/// 0 is `a`, 25 is `z`, 26 is `aa`.
pub(super) fn letters(index: usize) -> String {
    let mut letters = String::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.insert(0, char::from(b'a' + (rest % 26) as u8));
        rest /= 26;
    }
    letters
}

fn nic(interface: Node<'_, '_>) -> Option<Nic> {
    let attribute = |name: &str, attribute: &str| {
        let found = interface.children().find(|node| node.has_tag_name(name))?;
        found.attribute(attribute).map(str::to_owned)
    };
    let network = ["network", "bridge", "dev"].into_iter().find_map(|kind| attribute("source", kind));
    Some(Nic {
        mac: attribute("mac", "address")?.to_lowercase(),
        // What QEMU takes when nothing is said.
        model: attribute("model", "type").unwrap_or_else(|| "rtl8139".to_owned()),
        network: network.or_else(|| interface.attribute("type").map(str::to_owned))?,
        addresses: Vec::new(),
        floating: Vec::new(),
        security_groups: Vec::new(),
    })
}

fn bytes(memory: Node<'_, '_>) -> u64 {
    let unit = match memory.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KB" => 1000,
        "M" | "MiB" => 1 << 20,
        "MB" => 1_000_000,
        "G" | "GiB" => 1 << 30,
        "GB" => 1_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => 1 << 10,
    };
    memory.text().and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0).saturating_mul(unit)
}
