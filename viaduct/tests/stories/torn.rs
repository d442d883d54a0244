//! A disk that somebody writes to while it is copied, at every kind of end: it is reported, at both ends, and never called
//! verified.

use crate::lab::{End, Lab, MIB, PATIENCE, disk, have, noise, run};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

const SIZE: u64 = 10 * MIB;

/// Begins to copy, slowly enough that `change` comes in the middle.
fn is_reported(lab: &Lab, from: &str, change: impl FnOnce()) {
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let mut sender = lab.send(from, &receiver.address(), &["--rate", "4M"]);
    sender.until_done(2 * MIB);
    change();
    both_report(sender, receiver);
}

fn both_report(sender: End, receiver: End) {
    let failed = sender.failure("source-changed");
    assert!(failed["remedy"].as_str().unwrap().contains("snapshot"), "{failed}");
    receiver.failure("source-changed");
}

fn write(path: &Path, offset: u64, bytes: &[u8]) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
    file.sync_all().unwrap();
}

#[test]
fn a_raw_file_that_is_written_to_where_it_was_read_already_is_reported() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    is_reported(&lab, &from, || write(Path::new(&from), 0, b"x"));
}

#[test]
fn a_raw_file_that_becomes_shorter_or_longer_is_reported() {
    for size in [SIZE - MIB, SIZE + MIB] {
        let lab = Lab::new();
        let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
        is_reported(&lab, &from, || {
            std::fs::File::options().write(true).open(&from).unwrap().set_len(size).unwrap();
        });
    }
}

#[test]
fn a_block_device_that_is_written_to_is_reported() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root for a loop device");
        eprintln!("SKIPPED: needs root for a loop device");
        return;
    }
    let lab = Lab::new();
    let file = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let device = run("losetup", &["--find", "--show", &file]).trim().to_owned();
    let outcome = std::panic::catch_unwind(|| {
        // What waits in the cache counts as well: it is not synced.
        is_reported(&lab, &device, || {
            std::fs::File::options().write(true).open(&device).unwrap().write_all_at(b"x", 4096).unwrap();
        });
    });
    run("losetup", &["-d", &device]);
    outcome.unwrap();
}

#[test]
fn an_image_is_kept_from_others_and_one_that_is_written_to_all_the_same_is_reported() {
    if !have("qemu-nbd") || !have("qemu-io") {
        return;
    }
    let lab = Lab::new();
    let raw = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let image = lab.path("source.qcow2");
    run("qemu-img", &["convert", "-O", "qcow2", &raw, image.to_str().unwrap()]);
    is_reported(&lab, &format!("qcow2:{}", image.display()), || {
        // A virtual machine, or a person with the right tool, is refused.
        let refused = Command::new("qemu-io").args(["-c", "write 0 4k"]).arg(&image).output().unwrap();
        assert!(!refused.status.success(), "{refused:?}");
        // Past all tools.
        let end = image.metadata().unwrap().len();
        write(&image, end - 4096, &noise(9, 4096));
    });
}

struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What an NBD server exports, nobody can be kept from; who mounts it writes to what the copy looks at again.
#[test]
fn an_export_whose_file_system_is_written_to_is_reported() {
    if !have("qemu-nbd") || !have("qemu-io") || !have("mkfs.ext4") {
        return;
    }
    for (clean, at) in [(true, "write -P 7 1k 512"), (false, "write -P 7 1536 512")] {
        let lab = Lab::new();
        let image = disk(&lab.path("source.raw"), 24 * MIB, &[]);
        run("mkfs.ext4", &["-q", &image]);
        std::fs::write(lab.path("noise"), noise(1, 400_000)).unwrap();
        run("debugfs", &["-w", "-R", &format!("write {} noise", lab.path("noise").display()), &image]);
        if !clean {
            // As one that is mounted somewhere: it is read whole, and looked at again all the same.
            run("debugfs", &["-w", "-R", "feature needs_recovery", &image]);
        }
        let socket = lab.path("nbd.sock");
        let mut command = Command::new("qemu-nbd");
        command.args(["--persistent", "--shared=4", "--format=raw", "--socket"]).arg(&socket).arg(&image);
        let _served = Served(command.spawn().unwrap());
        let deadline = Instant::now() + PATIENCE;
        while !socket.exists() {
            assert!(Instant::now() < deadline, "qemu-nbd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        let from = format!("nbd+unix:///?socket={}", socket.display());
        let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
        let mut sender = lab.send(&from, &receiver.address(), &["--rate", "60K"]);
        sender.until(|event| event["bytes_on_wire"].as_u64().is_some_and(|bytes| bytes > 5_000));
        run("qemu-io", &["-f", "raw", "-c", at, &from]);
        both_report(sender, receiver);
    }
}
