//! Block devices as ends of a whole transfer, as loop devices.

use crate::lab::{Lab, MIB, digest, disk, noise, run};
use std::path::Path;

/// A loop device with this content, detached when dropped.
pub struct Loop {
    pub path: String,
}

impl Loop {
    pub fn new(backing: &Path, content: &[u8]) -> Option<Loop> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root for a loop device");
            eprintln!("SKIPPED: needs root for a loop device");
            return None;
        }
        std::fs::write(backing, content).unwrap();
        let path = run("losetup", &["--find", "--show", backing.to_str().unwrap()]).trim().to_owned();
        Some(Loop { path })
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup").args(["--detach", &self.path]).status();
    }
}

fn journal(lab: &Lab) -> String {
    lab.path("journal").display().to_string()
}

#[test]
fn old_content_of_a_larger_device_gives_way_and_what_lies_beyond_stays() {
    let lab = Lab::new();
    let old = noise(9, 32 * MIB);
    let Some(device) = Loop::new(&lab.path("device.raw"), &old) else { return };
    // Whole blocks of zeros, zeros within blocks, and an end that is no multiple of anything.
    let pieces = [(0, MIB), (3 * MIB + 70_000, 5000), (9 * MIB, 2 * MIB), (20 * MIB + 511, 1)];
    let from = disk(&lab.path("source.raw"), 20 * MIB + 512, &pieces);
    let receiver = lab.receive(&device.path, &["--journal", &journal(&lab), "--verify-target"]);
    lab.send(&from, &receiver.address(), &[]).success();
    receiver.success();
    let (now, wanted) = (std::fs::read(&device.path).unwrap(), std::fs::read(&from).unwrap());
    assert!(now[..wanted.len()] == wanted, "old content shines through");
    assert!(now[wanted.len()..] == old[wanted.len()..], "what lies beyond the disk was touched");
}

#[test]
fn a_device_is_sent_and_zeros_on_it_are_not() {
    let lab = Lab::new();
    let mut content = vec![0; 24 << 20];
    content[5 << 20..8 << 20].copy_from_slice(&noise(4, 3 * MIB));
    let Some(device) = Loop::new(&lab.path("device.raw"), &content) else { return };
    let to = lab.path("target.raw");
    let (sent, _) = lab.carry(&device.path, to.to_str().unwrap());
    assert!(std::fs::read(&to).unwrap() == content);
    assert_eq!(sent["digest"], digest(&device.path));
    assert!(sent["bytes_on_wire"].as_u64().unwrap() < 4 * MIB, "{sent}");
}

#[test]
fn a_device_that_is_too_small_is_refused_before_a_byte_is_written() {
    let lab = Lab::new();
    let old = noise(9, 8 * MIB);
    let Some(device) = Loop::new(&lab.path("device.raw"), &old) else { return };
    let from = disk(&lab.path("source.raw"), 8 * MIB + 512, &[(0, MIB)]);
    let receiver = lab.receive(&device.path, &["--journal", &journal(&lab)]);
    let failed = lab.send(&from, &receiver.address(), &[]).failure("target-too-small");
    assert!(failed["message"].as_str().unwrap().contains(&device.path), "{failed}");
    receiver.failure("target-too-small");
    assert!(std::fs::read(&device.path).unwrap() == old);
}

#[test]
fn a_transfer_to_a_device_is_resumed() {
    let lab = Lab::new();
    let Some(device) = Loop::new(&lab.path("device.raw"), &noise(9, 48 * MIB)) else { return };
    let from = disk(&lab.path("source.raw"), 48 * MIB, &[(0, 40 * MIB)]);
    let journal = journal(&lab);
    let receiver = lab.receive(&device.path, &["--journal", &journal]);
    let mut sender = lab.send(&from, &receiver.address(), &["--rate", "8M"]);
    sender.until_done(20 * MIB);
    receiver.kill();
    sender.kill();
    let receiver = lab.receive(&device.path, &["--journal", &journal, "--verify-target"]);
    let second = lab.send(&from, &receiver.address(), &[]).success();
    assert!(second["bytes_reused"].as_u64().unwrap() >= 8 * MIB, "{second}");
    receiver.success();
    assert!(std::fs::read(&device.path).unwrap() == std::fs::read(&from).unwrap());
}
