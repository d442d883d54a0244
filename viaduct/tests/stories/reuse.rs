//! What the receiver has is not sent again: copies within the disk, other disks beside it, what lies under it, and what a
//! bitmap says has not changed. What is there is checked before it is used.

use crate::lab::{Lab, MIB, digest, disk, have, noise, run, same};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command};

fn write(path: &std::path::Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
    file.sync_all().unwrap();
}

fn on_wire(report: &serde_json::Value) -> u64 {
    report["bytes_on_wire"].as_u64().unwrap()
}

#[test]
fn what_comes_twice_within_a_disk_is_sent_once_wherever_it_lies() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 200 * MIB, &[(0, 40 * MIB)]);
    // Far enough behind, on a border of a file system and not on one of a block.
    write(&lab.path("source.raw"), 120 * MIB + 3 * 4096, &noise(0, 40 * MIB));
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &[]);
    // Slow enough that the first copy is written when the second is looked at.
    let sent = lab.send(&from, &receiver.address(), &["--rate", "16M"]).success();
    receiver.success();
    assert!(on_wire(&sent) < 64 * MIB, "{sent}");
    assert!(sent["bytes_reused"].as_u64().unwrap() > 16 * MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_base_image_at_the_receiver_is_copied_and_not_sent() {
    let lab = Lab::new();
    disk(&lab.path("base.raw"), 64 * MIB, &[(0, 20 * MIB), (40 * MIB, 10 * MIB)]);
    let from = disk(&lab.path("source.raw"), 96 * MIB, &[(0, 20 * MIB), (40 * MIB, 10 * MIB)]);
    write(&lab.path("source.raw"), 5 * MIB + 8192, &noise(9, 4096));
    write(&lab.path("source.raw"), 70 * MIB, &noise(10, MIB));
    let to = lab.path("target.raw").display().to_string();
    let base = lab.path("base.raw").display().to_string();
    let other = disk(&lab.path("other.raw"), 8 * MIB, &[(0, 0)]);
    let receiver = lab.receive(&to, &["--have", &other, "--have", &base]);
    let sent = lab.send(&from, &receiver.address(), &[]).success();
    assert_eq!(receiver.success()["digest"], digest(&from));
    assert!(on_wire(&sent) < 2 * MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_base_image_that_changes_under_the_transfer_does_no_harm() {
    let lab = Lab::new();
    disk(&lab.path("base.raw"), 64 * MIB, &[(0, 64 * MIB)]);
    let from = disk(&lab.path("source.raw"), 64 * MIB, &[(0, 64 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    let base = lab.path("base.raw").display().to_string();
    let receiver = lab.receive(&to, &["--have", &base]);
    let address = receiver.address();
    let mut sender = lab.send(&from, &address, &["--rate", "2K"]);
    sender.until_event("progress");
    // Whatever was told of it by now, or is told later, is wrong.
    for at in 0..16 {
        write(&lab.path("base.raw"), at * 4 * MIB, &noise(20 + at, 2 * MIB));
    }
    sender.kill();
    let sent = lab.send(&from, &address, &[]).success();
    receiver.success();
    assert!(on_wire(&sent) < 50 * MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn small_changes_all_over_a_disk_cross_as_small_changes() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 32 * MIB, &[(0, 32 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&from, &to);
    for block in 0..32 {
        write(&lab.path("source.raw"), block * MIB + 40_960, &noise(100 + block, 4096));
    }
    let (sent, _) = lab.carry(&from, &to);
    assert!(on_wire(&sent) < MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
    // Without a journal the two disks are compared.
    std::fs::remove_dir_all(lab.path("target.raw.viaduct")).unwrap();
    write(&lab.path("target.raw"), 7 * MIB, &noise(200, 4096));
    let (sent, _) = lab.carry(&from, &to);
    assert!(on_wire(&sent) < MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

/// A `qemu-nbd` on a socket, ended with the test.
struct Served(Child);

impl Served {
    fn start(image: &str, socket: &std::path::Path, bitmap: Option<&str>) -> Served {
        let _ = std::fs::remove_file(socket);
        let mut command = Command::new("qemu-nbd");
        command.args(["--read-only", "--persistent", "--format", "qcow2", "--socket"]).arg(socket);
        if let Some(bitmap) = bitmap {
            command.args(["--bitmap", bitmap]);
        }
        let child = command.arg(image).spawn().unwrap();
        while !socket.exists() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Served(child)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn with_a_bitmap_only_what_changed_is_read() {
    if !have("qemu-nbd") || !have("qemu-io") {
        return;
    }
    let lab = Lab::new();
    let raw = disk(&lab.path("source.raw"), 64 * MIB, &[(0, 40 * MIB)]);
    let image = lab.path("source.qcow2").display().to_string();
    run("qemu-img", &["convert", "-O", "qcow2", &raw, &image]);
    run("qemu-img", &["bitmap", "--add", &image, "since"]);
    let socket = lab.path("nbd.sock");
    let from = format!("nbd+unix:///?socket={}", socket.display());
    let to = lab.path("target.raw").display().to_string();
    let send = |more: &[&str]| {
        let receiver = lab.receive(&to, &[]);
        let sent = lab.send(&from, &receiver.address(), more).success();
        receiver.success();
        sent
    };
    let served = Served::start(&image, &socket, Some("since"));
    // There is nothing yet from which the bitmap could count: all is read.
    let first = send(&["--bitmap", "since"]);
    assert_eq!(first["bytes_read"], 40 * MIB);
    let root = first["digest"].as_str().unwrap().to_owned();
    drop(served);
    run("qemu-io", &["-c", "write -P 7 10M 64k", "-c", "write -P 8 50M 1M", "-c", "write -z 20M 1M", &image]);
    let _served = Served::start(&image, &socket, Some("since"));
    let again = send(&["--bitmap", "since", "--since", &root]);
    // What changed, and a sample of what did not.
    assert!(again["bytes_read"].as_u64().unwrap() <= 4 * MIB, "{again}");
    run("qemu-img", &["compare", "-f", "qcow2", "-F", "raw", "-U", &image, &to]);
    // From another state the bitmap says nothing.
    let other = send(&["--bitmap", "since", "--since", &root]);
    assert!(other["bytes_read"].as_u64().unwrap() > 30 * MIB, "{other}");
    let receiver = lab.receive(&to, &[]);
    let refused = lab.send(&from, &receiver.address(), &["--bitmap", "other"]);
    refused.failure("nbd");
}

#[test]
fn a_bitmap_that_does_not_fit_is_found_out_and_all_is_compared() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let [old, new] = [("old", 0u64), ("new", 1)].map(|(name, seed)| {
        let raw = lab.path(&format!("{name}.raw"));
        disk(&raw, 16 * MIB, &[]);
        write(&raw, 0, &noise(seed, 16 * MIB));
        let image = lab.path(&format!("{name}.qcow2")).display().to_string();
        run("qemu-img", &["convert", "-O", "qcow2", &raw.display().to_string(), &image]);
        image
    });
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&format!("qcow2:{old}"), &to);
    run("qemu-img", &["bitmap", "--add", &new, "lies"]);
    let socket = lab.path("nbd.sock");
    let _served = Served::start(&new, &socket, Some("lies"));
    let receiver = lab.receive(&to, &[]);
    let from = format!("nbd+unix:///?socket={}", socket.display());
    let mut sender = lab.send(&from, &receiver.address(), &["--bitmap", "lies"]);
    let told = sender.until_event("interrupted");
    assert_eq!(told["code"], "bitmap");
    assert!(told["message"].as_str().unwrap().contains("compared"), "{told}");
    let sent = sender.success();
    assert!(sent["bytes_read"].as_u64().unwrap() >= 16 * MIB, "{sent}");
    assert_eq!(receiver.success()["digest"], sent["digest"]);
    assert_eq!(sent["digest"], digest(&format!("qcow2:{new}")));
    assert!(same(&lab.path("new.raw"), &lab.path("target.raw")));
}
