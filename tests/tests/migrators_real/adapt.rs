//! Adapting: the lab's own guest, made for pc/IDE/e1000, gets what it needs on q35/virtio, and back nothing is changed
//! that fits.

use std::process::Command;

use fluidcloud_proto::Code;
use fluidcloud_proto::plan::MigratorKind::Image;
use fluidcloud_proto::task::{AdaptGuest, GuestDisk, Hardware, Output, Work};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace, Nic};
use fluidcloud_tests::cli::Said;

use crate::stage::{Stage, disk, virtio};

const MAC: &str = "52:54:00:5F:0A:10";

pub fn adapt(disks: Vec<GuestDisk>, hardware: Hardware) -> Work {
    Work::AdaptGuest(AdaptGuest { disks, nics: vec![nic()], hardware })
}

pub fn nic() -> Nic {
    Nic {
        mac: MAC.into(),
        model: "e1000".into(),
        network: "default".into(),
        addresses: Vec::new(),
        floating: Vec::new(),
        security_groups: Vec::new(),
    }
}

pub async fn changes(stage: &Stage, epoch: u64, work: Work) -> Vec<String> {
    match stage.perform(Image, epoch, work).await.unwrap() {
        Output::Adapted { changes } => changes,
        other => panic!("{other:?}"),
    }
}

/// The newest shop root disk that the lab has built, on an overlay of our own.
pub fn shop(stage: &Stage) -> Option<GuestDisk> {
    let cache = std::env::var("FLUIDCLOUD_STATE").unwrap_or_else(|_| "/var/lib/fluidcloud".into());
    let images =
        std::fs::read_dir(format!("{cache}/cache")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = images
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("shop-root-")))
        .max_by_key(|path| path.metadata().and_then(|file| file.modified()).ok());
    let Some(image) = newest else {
        assert!(
            std::env::var_os("CI").is_none(),
            "the lab's guest must have been built: deploy/lab/lab guest"
        );
        eprintln!("SKIPPED: the lab's guest is not built yet: deploy/lab/lab guest");
        return None;
    };
    let path = stage.path("shop.qcow2");
    let create = ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"];
    Said::of(Command::new("qemu-img").args(create).arg(image).arg(&path)).succeeded();
    Some(disk("sda", DiskPlace { path: path.to_str().unwrap().into(), format: DiskFormat::Qcow2 }, false))
}

#[tokio::test]
async fn a_guest_of_ide_and_e1000_gets_what_virtio_needs_and_only_once() {
    let Some(stage) = Stage::new() else { return };
    let Some(root) = shop(&stage) else { return };
    let volume = disk("sdb", stage.file_system("data", 16, "echo x > x"), true);
    let disks = vec![root, volume];
    let told = changes(&stage, 1, adapt(disks.clone(), virtio())).await;
    let all = told.join("\n");
    for expected in [
        "/etc/fstab: /dev/sda1 is UUID=",
        "/dev/sdb is UUID=",
        "/boot/grub/grub.cfg: root=/dev/sda1 is root=UUID=",
        "/etc/default/grub: update-grub may use UUIDs",
        "52:54:00:5f:0a:10 stays ens3",
        "/etc/initramfs-tools/modules: adds virtio_pci, virtio_blk",
        "rebuilt, it holds virtio_pci, virtio_blk",
    ] {
        assert!(all.contains(expected), "`{expected}` is not in\n{all}");
    }
    assert_eq!(changes(&stage, 2, adapt(disks.clone(), virtio())).await, told, "what is done is told again");

    // A later relocation finds it fit, and its way back as well: the old drivers are still there.
    for scrap in stage.scraps() {
        std::fs::remove_file(stage.path(&scrap)).unwrap();
    }
    let back = Hardware {
        machine: "pc".into(),
        disk_bus: "ide".into(),
        nic: "e1000".into(),
        format: DiskFormat::Qcow2,
    };
    assert_eq!(changes(&stage, 1, adapt(disks, back)).await, Vec::<String>::new());
}

#[tokio::test]
async fn disks_without_a_file_system_need_no_adaptation_and_unknown_systems_are_refused() {
    let Some(stage) = Stage::new() else { return };
    let noise = stage.path("noise.raw");
    crate::stage::sh(stage.dir.path(), "head -c 8M /dev/urandom > noise.raw");
    let place = DiskPlace { path: noise.to_str().unwrap().into(), format: DiskFormat::Raw };
    let told = changes(&stage, 1, adapt(vec![disk("sda", place, false)], virtio())).await;
    assert_eq!(told, ["nothing: there is no file system on its disks"]);

    let data = disk("sda", stage.file_system("data", 16, "echo x > x"), false);
    let failure = stage.perform(Image, 1, adapt(vec![data], virtio())).await.unwrap_err().to_failure();
    assert_eq!(failure.code, Code::GuestUnsupported, "{failure}");
}
