//! Targets that are too small or have no room. What can be known beforehand is refused before anything is written.

use crate::lab::{Lab, MIB, disk, have, noise, run, same};
use std::path::{Path, PathBuf};

/// A file system of its own, gone when dropped.
struct Mount(PathBuf);

impl Mount {
    fn tmpfs(at: PathBuf, size: u64) -> Option<Mount> {
        if !rustix::process::geteuid().is_root() {
            assert!(std::env::var_os("CI").is_none(), "needs root to mount");
            eprintln!("SKIPPED: needs root to mount");
            return None;
        }
        std::fs::create_dir(&at).unwrap();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", at.to_str().unwrap()]);
        Some(Mount(at))
    }

    fn ext4(image: &Path, at: PathBuf, size: u64) -> Option<Mount> {
        if !rustix::process::geteuid().is_root() || !have("mkfs.ext4") {
            return None;
        }
        std::fs::create_dir(&at).unwrap();
        disk(image, size, &[]);
        run("mkfs.ext4", &["-q", "-m", "0", image.to_str().unwrap()]);
        run("mount", &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()]);
        Some(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_target_without_room_is_refused_before_anything_is_written() {
    let lab = Lab::new();
    let Some(mount) = Mount::tmpfs(lab.path("small"), 16 * MIB) else { return };
    let from = disk(&lab.path("source.raw"), 64 * MIB, &[(0, 24 * MIB)]);
    let to = mount.0.join("target.raw");
    let journal = lab.path("journal").display().to_string();
    let receiver = lab.receive(to.to_str().unwrap(), &["--journal", &journal]);
    let failed = lab.send(&from, &receiver.address(), &[]).failure("no-room");
    assert_eq!(failed["retryable"], false);
    receiver.failure("no-room");
    assert!(!to.exists());
}

#[test]
fn a_sparse_disk_fits_where_its_data_does() {
    let lab = Lab::new();
    let Some(mount) = Mount::tmpfs(lab.path("small"), 16 * MIB) else { return };
    let from = disk(&lab.path("source.raw"), 1024 * MIB, &[(100 * MIB, 8 * MIB)]);
    let to = mount.0.join("target.raw");
    lab.carry(&from, to.to_str().unwrap());
    assert!(same(Path::new(&from), &to));
}

#[test]
fn a_target_that_runs_full_in_the_middle_keeps_what_it_has() {
    let lab = Lab::new();
    let Some(mount) = Mount::ext4(&lab.path("fs.img"), lab.path("small"), 48 * MIB) else { return };
    let from = disk(&lab.path("source.raw"), 64 * MIB, &[(0, 60 * MIB)]);
    let to = mount.0.join("target.raw").display().to_string();
    let journal = lab.path("journal").display().to_string();
    let receiver = lab.receive(&to, &["--journal", &journal, "--overcommit"]);
    let failed = lab.send(&from, &receiver.address(), &["--rate", "32M"]).failure("target-full");
    assert!(failed["message"].as_str().unwrap().contains("target.raw"), "{failed}");
    assert_eq!(receiver.failure("target-full")["retryable"], false);
    assert!(lab.path("journal").join("journal").exists());

    // Room was made: the transfer goes on where it stopped.
    let grown = lab.path("grown.raw").display().to_string();
    std::fs::copy(&to, &grown).unwrap();
    let receiver = lab.receive(&grown, &["--journal", &journal]);
    let second = lab.send(&from, &receiver.address(), &[]).success();
    assert!(second["bytes_reused"].as_u64().unwrap() > 8 * MIB, "{second}");
    receiver.success();
    assert!(same(Path::new(&from), Path::new(&grown)));
}

#[test]
fn a_target_that_is_too_small_is_refused_and_left_alone() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 8 * MIB, &[(0, MIB)]);
    let before = noise(7, 4 * MIB);
    std::fs::write(lab.path("target.raw"), &before).unwrap();
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let failed = lab.send(&from, &receiver.address(), &[]).failure("target-too-small");
    assert!(failed["message"].as_str().unwrap().contains("8388608"), "{failed}");
    receiver.failure("target-too-small");
    assert!(std::fs::read(lab.path("target.raw")).unwrap() == before);
}

#[test]
fn a_larger_target_keeps_what_lies_beyond() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4 * MIB, &[(MIB, MIB)]);
    let before = noise(7, 8 * MIB);
    std::fs::write(lab.path("target.raw"), &before).unwrap();
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &["--verify-target"]);
    lab.send(&from, &receiver.address(), &[]).success();
    receiver.success();
    let after = std::fs::read(lab.path("target.raw")).unwrap();
    assert!(after[..4 << 20] == std::fs::read(&from).unwrap());
    assert!(after[4 << 20..] == before[4 << 20..]);
}
