//! Rehearsing: what later steps would refuse is refused before anything is copied, what they will do is told, and no
//! disk of the source is changed by it.

use std::os::unix::fs::MetadataExt;
use std::process::Command;

use fluidcloud_proto::Code;
use fluidcloud_proto::failure::Failure;
use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::plan::MigratorKind::Rewrite;
use fluidcloud_proto::request::RewriteRule;
use fluidcloud_proto::task::{
    Adaptation, FileDiff, Folding, GuestDisk, Output, RehearseGuest, Rehearsed, RewriteConfig, Work,
};

use crate::adapt::{adapt, changes, nic, shop};
use crate::fold::{fold, folded};
use crate::stage::{Stage, digest, disk, virtio};

/// A rehearsal that begins with nothing to be done.
fn order(disks: &[GuestDisk]) -> RehearseGuest {
    RehearseGuest { disks: disks.to_vec(), adapt: None, folds: Vec::new(), rules: Vec::new() }
}

fn folding(name: &str, into: &str) -> Folding {
    let volume = DiskId { component: "app".parse().unwrap(), disk: name.parse().unwrap() };
    Folding { volume, into: into.into() }
}

fn rule(file: &str, pattern: &str, replace: &str) -> RewriteRule {
    RewriteRule { file: file.into(), pattern: pattern.into(), replace: replace.into() }
}

fn to_virtio() -> Option<Adaptation> {
    Some(Adaptation { nics: vec![nic()], hardware: virtio() })
}

/// Performs it, and sees that no byte of a disk has changed, and that nothing lies beside them.
async fn rehearsed(stage: &Stage, order: &RehearseGuest) -> Result<Rehearsed, Failure> {
    let state = || {
        let one = |disk: &GuestDisk| {
            let modified = std::fs::metadata(&disk.place.path).unwrap().mtime_nsec();
            (digest(&disk.place.path), modified)
        };
        order.disks.iter().map(one).collect::<Vec<_>>()
    };
    let (before, scraps) = (state(), stage.scraps());
    let done = stage.perform(Rewrite, 1, Work::RehearseGuest(order.clone())).await;
    assert_eq!((state(), stage.scraps()), (before, scraps), "a rehearsal changed the source: {done:?}");
    match done {
        Ok(Output::Rehearsed(rehearsed)) => Ok(rehearsed),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_failure()),
    }
}

async fn refused(stage: &Stage, order: &RehearseGuest, code: Code, told: &str) {
    let failure = rehearsed(stage, order).await.unwrap_err();
    assert_eq!((failure.code, failure.retryable()), (code, false), "{failure}");
    assert!(failure.message.contains(told), "`{told}` is not in: {failure}");
}

#[tokio::test]
async fn folds_that_would_fail_at_the_target_are_refused_at_the_source() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(96, "mkdir srv/full; echo x > srv/full/x");
    let noise = |mib: u64| format!("head -c {mib}M /dev/urandom > noise");
    let large = disk("sdb", stage.file_system("large", 128, &noise(90)), true);
    let one = disk("sdc", stage.file_system("one", 40, &noise(30)), true);
    let other = disk("sdd", stage.file_system("other", 40, &noise(30)), true);
    let with = |folds: &[(&str, &str)]| RehearseGuest {
        folds: folds.iter().map(|(name, into)| folding(name, into)).collect(),
        ..order(&[root.clone(), large.clone(), one.clone(), other.clone()])
    };
    for (folds, code, told) in [
        (&[("sdb", "/srv/data")][..], Code::NoRoom, "does not fit into /srv/data"),
        (&[("sdc", "/srv/full")], Code::NameTaken, "something is there already"),
        (&[("sdc", "/srv/../etc")], Code::GuestUnsupported, "plain absolute path"),
        (&[("sdc", "/srv/a"), ("sdd", "/srv/b")], Code::NoRoom, "app/sdd does not fit into /srv/b"),
        (&[("sdc", "/srv/a"), ("sdd", "/srv/a")], Code::NameTaken, "app/sdd cannot be folded into /srv/a"),
        (&[("sdz", "/srv/a")], Code::Internal, "which is not among its disks"),
    ] {
        refused(&stage, &with(folds), code, told).await;
    }
}

#[tokio::test]
async fn rules_see_the_files_where_the_folds_will_have_left_them() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(96, "");
    let data = disk("sdb", stage.file_system("data", 16, "echo path=/mnt/volume > conf; mkdir sub"), true);
    let more = disk("sdc", stage.file_system("more", 16, "echo level=1 > conf"), true);
    // The first goes to where it is mounted, the second into a directory of the first.
    let folds = vec![folding("sdb", "/mnt/volume"), folding("sdc", "/mnt/volume/sub")];
    let mut asked = RehearseGuest { folds, ..order(&[root, data, more]) };
    asked.rules = vec![
        rule("/mnt/volume/conf", "/mnt/volume", "/srv"),
        rule("/mnt/volume/sub/conf", "level=1", "level=2"),
        rule("/etc/fstab", "LABEL=root", "LABEL=other"),
    ];
    let told = rehearsed(&stage, &asked).await.unwrap();
    assert_eq!(told.files.iter().map(|file| file.matches).collect::<Vec<_>>(), [1, 1, 1]);
    assert!(told.folded_bytes.iter().all(|bytes| (1..4 << 20).contains(bytes)), "{told:?}");
    assert!(told.files[0].diff.contains("-path=/mnt/volume\n+path=/srv\n"), "{}", told.files[0].diff);

    asked.rules = vec![rule("/etc/fstab", "/mnt/volume", "/srv")];
    refused(&stage, &asked, Code::NothingMatched, "rule for /etc/fstab").await;
    asked.folds.truncate(1);
    asked.folds[0].into = "/srv/data".into();
    asked.rules = vec![rule("/mnt/volume/conf", "path", "way")];
    refused(&stage, &asked, Code::FileMissing, "/mnt/volume/conf").await;
}

#[tokio::test]
async fn devices_that_cannot_be_named_on_other_hardware_are_refused() {
    let Some(stage) = Stage::new() else { return };
    let unknown = "echo '/dev/sdz1 /opt/x ext4 defaults 0 2' >> etc/fstab";
    let root = stage.root(48, unknown);
    let data = disk("sdb", stage.file_system("data", 16, "echo x > x"), false);
    let asked =
        |root: &GuestDisk| RehearseGuest { adapt: to_virtio(), ..order(&[root.clone(), data.clone()]) };
    refused(&stage, &asked(&root), Code::GuestUnsupported, "/dev/sdz1 of /etc/fstab").await;

    crate::stage::sh(stage.dir.path(), "rm root.raw; tune2fs -U clear data.raw");
    let root = stage.root(48, "");
    refused(&stage, &asked(&root), Code::GuestUnsupported, "/dev/sdb of /etc/fstab has neither UUID").await;
}

#[tokio::test]
async fn what_is_wrong_with_the_order_is_found_without_an_appliance_and_nothing_asked_needs_none() {
    let Some(stage) = Stage::new() else { return };
    let mut place = stage.root(48, "").place;
    place.path = stage.path("not there").to_str().unwrap().into();
    let missing = disk("sda", place, false);
    let perform = |order: RehearseGuest| stage.perform(Rewrite, 1, Work::RehearseGuest(order));
    let nothing = perform(order(std::slice::from_ref(&missing))).await.unwrap();
    assert_eq!(nothing, Output::Rehearsed(Rehearsed::default()));
    let bad =
        RehearseGuest { rules: vec![rule("/etc/fstab", "(", "")], ..order(std::slice::from_ref(&missing)) };
    assert_eq!(perform(bad).await.unwrap_err().to_failure().code, Code::InvalidPattern);
    let mut strange = RehearseGuest { adapt: to_virtio(), ..order(&[missing]) };
    strange.adapt.as_mut().unwrap().hardware.disk_bus = "floppy".into();
    assert_eq!(perform(strange).await.unwrap_err().to_failure().code, Code::GuestUnsupported);
}

#[tokio::test]
async fn a_rehearsal_works_on_a_disk_that_another_process_writes() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(48, "");
    let mut asked = order(std::slice::from_ref(&root));
    asked.rules = vec![rule("/etc/os-release", "debian", "other")];
    // Holds the image's write lock, as the hypervisor of a running guest does.
    let mut holder = Command::new("qemu-io")
        .args(["-f", "raw", &root.place.path])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let told = rehearsed(&stage, &asked).await;
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert!(told.unwrap().files[0].diff.contains("-ID=debian\n+ID=other"));
}

/// The shop's root with a volume that is to be folded.
fn shop_disks(stage: &Stage) -> Option<[GuestDisk; 2]> {
    let root = shop(stage)?;
    let volume = disk("sdb", stage.file_system("data", 16, "echo path=/dev/sda1 > conf"), true);
    Some([root, volume])
}

#[tokio::test]
async fn what_is_rehearsed_is_what_the_steps_do_later() {
    let Some(stage) = Stage::new() else { return };
    let Some(disks) = shop_disks(&stage) else { return };
    let rules = vec![
        rule("/srv/shop-data/conf", "/dev/sda1", "none"),
        rule("/etc/fstab", "(?m)^UUID=(\\S+) +/ ", "UUID=$1 / "),
    ];
    let asked = RehearseGuest {
        adapt: to_virtio(),
        folds: vec![folding("sdb", "/srv/shop-data")],
        rules: rules.clone(),
        ..order(&disks)
    };
    let told = rehearsed(&stage, &asked).await.unwrap();

    assert_eq!(told.changes, changes(&stage, 1, adapt(disks.to_vec(), virtio())).await);
    let [root, volume] = &disks;
    let copied = folded(&stage, 1, fold(root, volume, "/srv/shop-data")).await;
    assert!(copied.bytes <= told.folded_bytes[0], "{copied:?} {told:?}");
    let rewrite = RewriteConfig { disks: vec![root.clone()], rules };
    let Output::Rewritten { files } = stage.perform(Rewrite, 1, Work::RewriteConfig(rewrite)).await.unwrap()
    else {
        panic!("not an answer to rewriting");
    };
    assert_eq!(told.files, files as Vec<FileDiff>);
}

/// What the questions about a guest's drivers are asked with, as of any system.
const TOOLS: &str = r#"mkdir -p bin lib64 boot var/tmp dev proc sys
    for tool in sh ls find head tr grep; do cp -L "$(command -v $tool)" bin/; done
    for library in $(for tool in bin/*; do ldd $tool; done | grep -o '/[^ ]*' | sort -u); do
        mkdir -p .$(dirname $library); cp -Lu $library .$library
    done"#;
const KERNEL: &str = "mkdir -p lib/modules/6.1.0-1/kernel; echo x > boot/vmlinuz-6.1.0-1
    head -c 8M /dev/urandom > boot/initrd.img-6.1.0-1";
const DRIVERS: &str = "touch lib/modules/6.1.0-1/kernel/virtio_{pci,blk,net}.ko";
const TOOL: &str = "mkdir -p etc/initramfs-tools; echo MODULES=most > etc/initramfs-tools/initramfs.conf";

#[tokio::test]
async fn a_guest_that_cannot_boot_there_is_refused_at_the_source() {
    let Some(stage) = Stage::new() else { return };
    let data = disk("sdb", stage.file_system("data", 16, "echo x > x"), false);
    for (parts, code, told) in [
        (&[TOOLS][..], Code::GuestUnsupported, "has no kernel in /boot"),
        (&[TOOLS, KERNEL], Code::GuestUnsupported, "lacks the drivers virtio_pci, virtio_blk, virtio_net"),
        (&[TOOLS, KERNEL, DRIVERS, TOOL], Code::NoRoom, "building its initramfs"),
    ] {
        let disks = [stage.root(64, &parts.join("\n")), data.clone()];
        refused(&stage, &RehearseGuest { adapt: to_virtio(), ..order(&disks) }, code, told).await;
        std::fs::remove_file(stage.path("root.raw")).unwrap();
    }
    let disks = [stage.root(192, &[TOOLS, KERNEL, DRIVERS, TOOL].join("\n")), data];
    let fit = RehearseGuest { adapt: to_virtio(), ..order(&disks) };
    let told = rehearsed(&stage, &fit).await.unwrap().changes.join("\n");
    assert!(told.contains("/boot/initrd.img-6.1.0-1: rebuilt, it holds virtio_pci, virtio_blk"), "{told}");
    assert!(told.contains("/etc/fstab: /dev/sdb is UUID="), "{told}");
}
