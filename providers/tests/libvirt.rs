//! The libvirt driver against a real libvirtd and QEMU.

#[path = "libvirt/daemon.rs"]
mod daemon;

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use daemon::Daemon;
use fluidcloud_proto::ids::{InstanceName, RelocationId};
use fluidcloud_proto::task::Hardware;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Instance, Power, Severity};
use fluidcloud_providers::conformance::{self, Content, Fixture};
use fluidcloud_providers::libvirt::LibvirtProvider;
use fluidcloud_providers::{Error, Provider, ProviderConfig};

struct Real {
    daemon: Daemon,
    config: ProviderConfig,
}

fn pc() -> Hardware {
    Hardware { machine: "pc".into(), disk_bus: "ide".into(), nic: "e1000".into(), format: DiskFormat::Qcow2 }
}

fn q35() -> Hardware {
    Hardware {
        machine: "q35".into(),
        disk_bus: "virtio".into(),
        nic: "virtio".into(),
        format: DiskFormat::Raw,
    }
}

impl Real {
    fn start(shape: Hardware) -> Option<Self> {
        let daemon = Daemon::start()?;
        let config = daemon.config("real", shape);
        Some(Self { daemon, config })
    }

    fn open(&self) -> LibvirtProvider {
        LibvirtProvider::from_config(&self.config).unwrap()
    }
}

fn tool(program: &str, args: &[&str]) {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

fn format(place: &DiskPlace) -> &'static str {
    if place.format == DiskFormat::Raw { "raw" } else { "qcow2" }
}

#[async_trait]
impl Fixture for Real {
    fn provider(&self) -> Arc<dyn Provider> {
        Arc::new(self.open())
    }

    fn another(&self) -> Arc<dyn Provider> {
        Arc::new(self.open())
    }

    async fn make_foreign(&self, name: &InstanceName, autostart: bool) {
        let disk = self.daemon.pool().join(format!("{name}.qcow2"));
        let disk = disk.to_str().unwrap();
        tool("qemu-img", &["create", "-q", "-f", "qcow2", disk, "4M"]);
        tool("qemu-io", &["-f", "qcow2", "-c", "write -q -P 7 0 64k", disk]);
        let xml = format!(
            "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
             <os><type arch='x86_64' machine='pc'>hvm</type></os>
             <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
             <target dev='hda' bus='ide'/></disk><interface type='network'><source network='default'/>
             <model type='e1000'/></interface></devices></domain>"
        );
        self.daemon.define("define", &xml);
        if autostart {
            self.daemon.must(&["autostart", name.as_str()]);
        }
    }

    async fn starts_by_itself(&self, name: &InstanceName) -> bool {
        let told = self.daemon.must(&["dominfo", name.as_str()]);
        told.lines().any(|line| line.starts_with("Autostart:") && line.ends_with("enable"))
    }

    async fn read(&self, place: &DiskPlace) -> Content {
        let raw = tempfile::NamedTempFile::new().unwrap();
        let raw = raw.path().to_str().unwrap();
        tool("qemu-img", &["convert", "-U", "-f", format(place), "-O", "raw", &place.path, raw]);
        Content::of(&std::fs::read(raw).unwrap())
    }

    async fn write(&self, place: &DiskPlace, bytes: &[u8]) {
        let source = tempfile::NamedTempFile::new().unwrap();
        let mut sector = bytes.to_vec();
        sector.resize(bytes.len().next_multiple_of(512), 0);
        std::fs::write(source.path(), &sector).unwrap();
        let write = format!("write -q -s {} 0 {}", source.path().display(), sector.len());
        tool("qemu-io", &["-f", format(place), "-c", &write, &place.path]);
    }

    async fn leave_scraps(&self, _relocation: RelocationId, beside: &DiskPlace) {
        std::fs::create_dir(format!("{}.viaduct", beside.path)).unwrap();
        std::fs::write(format!("{}.viaduct/journal", beside.path), "j").unwrap();
        for suffix in [".work.qcow2", ".lock"] {
            std::fs::write(format!("{}{suffix}", beside.path), "x").unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_as_pc_with_ide_and_qcow2() {
    let Some(real) = Real::start(pc()) else { return };
    conformance::all(&real).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_conforms_as_q35_with_virtio_and_raw() {
    let Some(real) = Real::start(q35()) else { return };
    conformance::all(&real).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_crashed_is_found_again_and_its_guest_still_runs() {
    let Some(real) = Real::start(pc()) else { return };
    let (provider, guest) = (real.open(), "guest".parse().unwrap());
    real.make_foreign(&guest, false).await;
    provider.start(&guest).await.unwrap();
    real.daemon.crash();
    real.daemon.wait();
    assert_eq!(provider.power(&guest).await.unwrap(), Power::Running);
    provider.stop(&guest, Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_down_is_unreachable() {
    let Some(real) = Real::start(pc()) else { return };
    let provider = real.open();
    provider.instances().await.unwrap();
    let Real { daemon, config } = real;
    drop(daemon);
    for provider in [provider, LibvirtProvider::from_config(&config).unwrap()] {
        let down = provider.instances().await.unwrap_err();
        assert!(matches!(down, Error::Unreachable { .. }) && down.retryable(), "{down:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inside_the_images_is_told() {
    let Some(real) = Real::start(pc()) else { return };
    let (provider, guest): (_, InstanceName) = (real.open(), "guest".parse().unwrap());
    real.make_foreign(&guest, false).await;
    let disk = real.daemon.pool().join("guest.qcow2");
    let base = real.daemon.pool().join("base.qcow2");
    std::fs::rename(&disk, &base).unwrap();
    let (disk, base) = (disk.to_str().unwrap(), base.to_str().unwrap());
    tool("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, disk]);
    tool("qemu-img", &["snapshot", "-c", "before", disk]);
    let instance = provider.inspect(&guest).await.unwrap();
    assert_eq!(instance.disks[0].size_bytes, 4 << 20);
    assert!(instance.disks[0].allocated_bytes >= 64 << 10, "{:?}", instance.disks);
    assert_eq!(instance.disks[0].guest_device, "/dev/sda");
    let told = |text: &str| instance.concerns.iter().find(|concern| concern.message.contains(text));
    assert_eq!(told("backing file").map(|concern| concern.severity), Some(Severity::Information));
    assert_eq!(told("snapshot(s) inside").map(|concern| concern.severity), Some(Severity::Warning));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_or_network_that_is_not_there_is_named() {
    let Some(real) = Real::start(pc()) else { return };
    let at = |change: fn(&mut ProviderConfig)| {
        let mut config = real.config.clone();
        change(&mut config);
        LibvirtProvider::from_config(&config).unwrap()
    };
    let nowhere = at(|config| config.pool = "nowhere".into()).capacity().await.unwrap_err();
    assert!(nowhere.to_string().contains("`nowhere`") && !nowhere.retryable(), "{nowhere}");
    let unwired = at(|config| config.network = "unwired".into());
    let order = fluidcloud_providers::Reservation {
        relocation: RelocationId::new(),
        instances: Vec::new(),
        vcpus: 1,
        memory_bytes: 1,
        disk_bytes: 1,
        disks: 1,
        sizes: Vec::new(),
        networks: Vec::new(),
    };
    let unwired = unwired.reserve(&order).await.unwrap_err();
    assert!(unwired.to_string().contains("`unwired`"), "{unwired}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_it_has_only_until_it_stops_is_critical() {
    let Some(real) = Real::start(pc()) else { return };
    let (provider, guest): (_, InstanceName) = (real.open(), "guest".parse().unwrap());
    real.make_foreign(&guest, false).await;
    provider.start(&guest).await.unwrap();
    let critical = |instance: &Instance| -> Vec<String> {
        let concerns = instance.concerns.iter().filter(|concern| concern.severity == Severity::Critical);
        concerns.map(|concern| concern.message.clone()).collect()
    };
    assert_eq!(critical(&provider.inspect(&guest).await.unwrap()), [] as [&str; 0]);
    let disk = real.daemon.pool().join("more.raw");
    let disk = disk.to_str().unwrap();
    tool("truncate", &["-s", "1M", disk]);
    real.daemon.must(&["attach-disk", "guest", disk, "sdz", "--targetbus", "usb", "--live"]);
    let told = critical(&provider.inspect(&guest).await.unwrap());
    assert!(told.len() == 1 && told[0].contains(&format!("disk sdz ({disk})")), "{told:?}");
}
