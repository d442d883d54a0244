//! qcow2 images and NBD exports as ends, through the real qemu-nbd.

use crate::lab::{Lab, MIB, PATIENCE, digest, disk, have, noise, run, same};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

fn qcow2_of(lab: &Lab, raw: &str, name: &str) -> String {
    let image = lab.path(name).display().to_string();
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", raw, &image]);
    format!("qcow2:{image}")
}

/// No helper of a disk in this directory is left.
fn no_helper_is_left(lab: &Lab) {
    let deadline = Instant::now() + PATIENCE;
    let name = lab.dir.path().display().to_string();
    loop {
        let all = run("ps", &["-eo", "args"]);
        if !all.lines().any(|line| line.contains("qemu-nbd") && line.contains(&name)) {
            return;
        }
        assert!(Instant::now() < deadline, "{all}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn an_image_is_carried_into_a_raw_file_and_back() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let raw = disk(&lab.path("source.raw"), 64 * MIB, &[(3 * MIB, 4 * MIB), (40 * MIB + 512, 70_000)]);
    let image = qcow2_of(&lab, &raw, "source.qcow2");
    assert_eq!(digest(&image), digest(&raw));
    let (sent, _) = lab.carry(&image, lab.path("middle.raw").to_str().unwrap());
    assert!(sent["bytes_read"].as_u64().unwrap() < 8 * MIB, "{sent}");
    assert!(same(&lab.path("source.raw"), &lab.path("middle.raw")));

    let target = format!("qcow2:{}", lab.path("target.qcow2").display());
    let receiver = lab.receive(&target, &["--verify-target"]);
    lab.send(lab.path("middle.raw").to_str().unwrap(), &receiver.address(), &[]).success();
    receiver.success();
    run("qemu-img", &["check", "-q", lab.path("target.qcow2").to_str().unwrap()]);
    run("qemu-img", &["compare", "-q", lab.path("target.qcow2").to_str().unwrap(), &raw]);
    assert_eq!(digest(&target), digest(&raw));

    let (again, _) = lab.carry(&raw, &target);
    assert!(again["bytes_on_wire"].as_u64().unwrap() < 64 << 10, "{again}");
    no_helper_is_left(&lab);
}

#[test]
fn an_image_of_the_wrong_size_is_refused() {
    if !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 8 * MIB, &[(0, MIB)]);
    let image = lab.path("small.qcow2");
    run("qemu-img", &["create", "-q", "-f", "qcow2", image.to_str().unwrap(), "4M"]);
    let receiver = lab.receive(&format!("qcow2:{}", image.display()), &[]);
    let failed = lab.send(&from, &receiver.address(), &[]).failure("target-too-small");
    assert!(failed["message"].as_str().unwrap().contains("small.qcow2"), "{failed}");
    receiver.failure("target-too-small");
    no_helper_is_left(&lab);
}

#[test]
fn what_is_not_an_image_is_told_by_name() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let raw = disk(&lab.path("source.raw"), MIB, &[(0, MIB)]);
    let read = crate::lab::binary().args(["digest", "--from", &format!("qcow2:{raw}")]).output().unwrap();
    let said = String::from_utf8_lossy(&read.stderr).into_owned();
    assert_eq!(read.status.code(), Some(1));
    assert!(said.contains("source.raw") && said.contains("remedy"), "{said}");
    no_helper_is_left(&lab);
}

#[test]
fn the_helper_of_a_killed_receiver_dies_and_the_image_is_finished_by_the_next() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 32 * MIB, &[(0, 32 * MIB)]);
    let target = format!("qcow2:{}", lab.path("target.qcow2").display());
    let receiver = lab.receive(&target, &["--epoch", "1"]);
    let mut sender = lab.send(&from, &receiver.address(), &["--rate", "8M", "--retry-secs", "0"]);
    sender.until_done(20 * MIB);
    // At once, while the helper may still hold the image.
    let next = lab.receive(&target, &["--epoch", "2"]);
    let address = next.address();
    sender.failure("broken");
    let second = lab.send(&from, &address, &[]).success();
    assert!(second["bytes_reused"].as_u64().unwrap() > 4 * MIB, "{second}");
    next.success();
    assert_eq!(digest(&target), digest(&from));
    no_helper_is_left(&lab);
}

/// A server as somebody else would run it.
struct Server(Child);

impl Server {
    fn start(lab: &Lab, args: &[&str], ready: &std::path::Path) -> Server {
        let child = Command::new("qemu-nbd").args(args).stderr(Stdio::inherit()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ready.exists() {
            assert!(Instant::now() < deadline, "{}", lab.dir.path().display());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Server(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_export_is_source_and_target() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 24 * MIB, &[(5 * MIB, 3 * MIB)]);
    std::fs::write(lab.path("export.raw"), noise(3, 24 * MIB)).unwrap();
    let (socket, pid) = (lab.path("nbd.sock"), lab.path("nbd.pid"));
    let image = lab.path("export.raw").display().to_string();
    let _server = Server::start(
        &lab,
        &[
            "-t",
            "-e",
            "8",
            "-f",
            "raw",
            "-x",
            "disk a",
            "--discard=unmap",
            "--pid-file",
            pid.to_str().unwrap(),
            "-k",
            socket.to_str().unwrap(),
            &image,
        ],
        &pid,
    );
    let export = format!("nbd+unix:///disk%20a?socket={}", socket.display());
    let journal = lab.path("journal").display().to_string();
    let receiver = lab.receive(&export, &["--journal", &journal, "--verify-target"]);
    lab.send(&from, &receiver.address(), &[]).success();
    receiver.success();
    assert!(same(&lab.path("source.raw"), &lab.path("export.raw")));
    lab.carry(&export, lab.path("copy.raw").to_str().unwrap());
    assert!(same(&lab.path("source.raw"), &lab.path("copy.raw")));

    let unknown = format!("nbd+unix:///other?socket={}", socket.display());
    let read = crate::lab::binary().args(["digest", "--from", &unknown]).output().unwrap();
    assert!(String::from_utf8_lossy(&read.stderr).contains("no export `other`"), "{read:?}");
}
