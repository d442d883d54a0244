//! An end without an agent: a real sshd, and plain dd behind it.

use crate::lab::{End, Lab, MIB, PATIENCE, digest, disk, have, noise, run, same, viaduct};
use crate::relay::between;
use crate::ssh::Sshd;
use serde_json::Value;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A name that every careless shell takes for something else.
const NAME: &str = "it's a \"disk\" $(touch gone) `x` * \\ ;&.raw";

pub fn far(port: u16, path: &Path) -> String {
    let user = run("id", &["-un"]);
    format!("dd+ssh://{}@127.0.0.1:{port}{}", user.trim(), path.display())
}

pub fn copy(sshd: &Sshd, from: &str, to: &str, more: &[&str]) -> End {
    let mut command = viaduct(&["copy", "--die-with-stdin", "--from", from, "--to", to, "--identity"]);
    command.arg(sshd.lab.path("user")).args(["--journal"]).arg(sshd.lab.path("journal"));
    if !more.contains(&"--peer") {
        command.args(["--peer", &sshd.fingerprint("host_ed25519")]);
    }
    End::start(command.args(more))
}

/// The report's last line, and what it says was compared.
fn checked(end: End) -> (Value, Value) {
    let ended = end.end();
    assert_eq!((ended.code, &ended.last["event"]), (Some(0), &Value::from("finished")), "{ended:?}");
    assert_eq!(ended.last["verified"], true);
    let checked = ended.seen.iter().find(|event| event["event"] == "checked");
    (ended.last, checked.unwrap_or_else(|| panic!("nothing was checked: {:?}", ended.seen)).clone())
}

/// A host whose PATH is a directory of the test: a plain shell, these tools of busybox, and nothing else.
fn bare_host(tools: &[&str]) -> Option<Sshd> {
    if !have("busybox") || !have("dash") {
        return None;
    }
    let sshd = Sshd::start_with("SetEnv PATH=DIR/bin")?;
    let bin = sshd.lab.path("bin");
    std::fs::create_dir(&bin).unwrap();
    let find = |tool| run("sh", &["-c", &format!("command -v {tool}")]).trim().to_owned();
    // Not the shell of busybox: it would find all of its other tools, wherever they are.
    std::os::unix::fs::symlink(find("dash"), bin.join("sh")).unwrap();
    for tool in tools {
        std::os::unix::fs::symlink(find("busybox"), bin.join(tool)).unwrap();
    }
    Some(sshd)
}

/// A host whose dd is a script around the real one.
fn host_with_dd(script: &str) -> Option<Sshd> {
    let sshd = Sshd::start_with("SetEnv PATH=DIR/bin:/usr/sbin:/usr/bin:/sbin:/bin")?;
    std::fs::create_dir(sshd.lab.path("bin")).unwrap();
    set_dd(&sshd, script);
    Some(sshd)
}

fn set_dd(sshd: &Sshd, script: &str) {
    let real = run("sh", &["-c", "command -v dd"]);
    let script = format!("#!/bin/sh\n{script}\n").replace("REAL", real.trim());
    let (path, new) = (sshd.lab.path("bin/dd"), sshd.lab.path("bin/new"));
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn source(lab: &Lab) -> (String, PathBuf) {
    let path = lab.path("source.raw");
    // An odd size, data at both ends, and holes of all sizes.
    let pieces = [(0, 3 * MIB), (5 * MIB + 4096, 10_000), (20 * MIB, 9 * MIB), (40 * MIB + 7, 500)];
    (disk(&path, 40 * MIB + 507, &pieces), path)
}

#[test]
fn a_disk_goes_to_a_host_without_an_agent_and_comes_back() {
    let Some(sshd) = Sshd::start_with("") else { return };
    let (from, source) = source(&sshd.lab);
    let there = sshd.lab.path(NAME);
    let to = far(sshd.port, &there);
    let (sent, check) = checked(copy(&sshd, &from, &to, &[]));
    assert!(same(&source, &there));
    assert_eq!(sent["digest"], digest(&from));
    assert!(check["how"].as_str().unwrap().contains("sha256sum"), "{check}");
    assert!(check["bytes_checked"].as_u64().unwrap() >= 13 * MIB, "{check}");
    // Zeros did not cross, and are holes over there; nobody else may read what is a disk.
    assert!(sent["bytes_on_wire"].as_u64().unwrap() < 17 * MIB, "{sent}");
    assert!(there.metadata().unwrap().blocks() * 512 < 17 * MIB);
    assert_eq!(there.metadata().unwrap().mode() & 0o777, 0o600);

    let back = sshd.lab.path("back.raw");
    let journal = sshd.lab.path("journal-back").display().to_string();
    let mut command =
        viaduct(&["copy", "--from", &to, "--to", back.to_str().unwrap(), "--journal", &journal]);
    command.arg("--identity").arg(sshd.lab.path("user"));
    command.args(["--peer", &sshd.fingerprint("host_ed25519")]);
    let came = End::start(&mut command).success();
    assert!(same(&source, &back));
    assert_eq!(came["digest"], sent["digest"]);
    assert!(came["bytes_on_wire"].as_u64().unwrap() < 17 * MIB, "{came}");
    assert!(back.metadata().unwrap().blocks() * 512 < 17 * MIB);
}

#[test]
fn a_shell_and_dd_are_enough() {
    let Some(sshd) = bare_host(&["dd", "ls", "wc", "sync"]) else { return };
    let (from, source) = source(&sshd.lab);
    let there = sshd.lab.path("target.raw");
    let to = far(sshd.port, &there);
    let (_, check) = checked(copy(&sshd, &from, &to, &[]));
    assert!(check["how"].as_str().unwrap().contains("read back"), "{check}");
    assert!(same(&source, &there));

    // Over old content, too: what is zeros at the source is zeros there.
    std::fs::write(&there, noise(5, 44 * MIB)).unwrap();
    let (_, check) = checked(copy(&sshd, &from, &to, &[]));
    assert!(check["bytes_checked"].as_u64().unwrap() > 40 * MIB, "{check}");
    let (after, wanted) = (std::fs::read(&there).unwrap(), std::fs::read(&source).unwrap());
    assert!(after[..wanted.len()] == wanted && after.len() as u64 == 44 * MIB);
    assert!(after[wanted.len()..] == noise(5, 44 * MIB)[wanted.len()..], "what lies beyond was touched");

    let back = sshd.lab.path("back.raw");
    std::fs::remove_dir_all(sshd.lab.path("journal")).unwrap();
    std::fs::copy(&source, &there).unwrap();
    copy(&sshd, &to, back.to_str().unwrap(), &[]).success();
    assert!(same(&source, &back));
}

#[test]
fn a_second_copy_sends_what_changed_and_a_lost_journal_costs_no_line() {
    let Some(sshd) = Sshd::start_with("") else { return };
    let (from, source) = source(&sshd.lab);
    let there = sshd.lab.path("target.raw");
    let to = far(sshd.port, &there);
    checked(copy(&sshd, &from, &to, &[]));
    let file = std::fs::File::options().write(true).open(&source).unwrap();
    file.write_all_at(b"changed", 21 * MIB).unwrap();
    file.write_all_at(&vec![0; MIB as usize], 25 * MIB).unwrap();
    let (delta, _) = checked(copy(&sshd, &from, &to, &[]));
    assert!(delta["bytes_on_wire"].as_u64().unwrap() < 2 * MIB, "{delta}");
    assert!(same(&source, &there));

    std::fs::remove_dir_all(sshd.lab.path("journal")).unwrap();
    let (again, _) = checked(copy(&sshd, &from, &to, &[]));
    assert!(again["bytes_on_wire"].as_u64().unwrap() < MIB, "{again}");
    // Somebody writes to it behind our back: its stamp tells, and digests from over there find the block.
    std::fs::File::options().write(true).open(&there).unwrap().write_all_at(b"guest", 22 * MIB).unwrap();
    let (healed, _) = checked(copy(&sshd, &from, &to, &[]));
    assert!(healed["bytes_on_wire"].as_u64().unwrap() < 3 * MIB, "{healed}");
    assert!(same(&source, &there));
}

#[test]
fn a_killed_copy_goes_on_where_it_was() {
    let slow = r#"case "$*" in *ibs=65536*) sleep 0.4;; esac; exec REAL "$@""#;
    let Some(sshd) = host_with_dd(slow) else { return };
    let from = disk(&sshd.lab.path("source.raw"), 96 * MIB, &[(0, 96 * MIB)]);
    let there = sshd.lab.path("target.raw");
    let to = far(sshd.port, &there);
    let mut first = copy(&sshd, &from, &to, &[]);
    first.until_done(40 * MIB);
    first.kill();
    set_dd(&sshd, r#"exec REAL "$@""#);
    let (second, _) = checked(copy(&sshd, &from, &to, &[]));
    assert!(second["bytes_reused"].as_u64().unwrap() >= 8 * MIB, "{second}");
    assert!(second["bytes_on_wire"].as_u64().unwrap() < 90 * MIB, "{second}");
    assert!(same(&sshd.lab.path("source.raw"), &there));
}

#[test]
fn a_cut_line_is_taken_up_again_within_the_copy() {
    let Some(sshd) = Sshd::start_with("") else { return };
    let from = disk(&sshd.lab.path("source.raw"), 64 * MIB, &[(0, 64 * MIB)]);
    let (passed, cuts) = (AtomicU64::new(0), AtomicU64::new(0));
    let line = between(format!("127.0.0.1:{}", sshd.port), move |bytes| {
        let passed = passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        // Every 12 MiB one of the sessions is cut in the middle of what it writes.
        passed / (12 * MIB) <= cuts.load(Ordering::Relaxed) || {
            cuts.fetch_add(1, Ordering::Relaxed);
            false
        }
    });
    let port = line.rsplit_once(':').unwrap().1.parse().unwrap();
    let there = sshd.lab.path("target.raw");
    let (sent, _) = checked(copy(&sshd, &from, &far(port, &there), &["--retry-secs", "60"]));
    assert_eq!(sent["digest"], digest(&from));
    assert!(same(&sshd.lab.path("source.raw"), &there));
}

#[test]
fn a_host_that_writes_something_else_is_found_out() {
    let lying = r#"case "$*" in *ibs=65536*) tr 'a' 'b' | REAL "$@";; *) exec REAL "$@";; esac"#;
    let Some(sshd) = host_with_dd(lying) else { return };
    let from = disk(&sshd.lab.path("source.raw"), 24 * MIB, &[(0, 9 * MIB)]);
    let there = sshd.lab.path("target.raw");
    let to = far(sshd.port, &there);
    let failed = copy(&sshd, &from, &to, &[]).failure("differs");
    assert!(failed["message"].as_str().unwrap().contains("9 blocks"), "{failed}");
    assert_eq!(failed["retryable"], true);
    // What was found to differ is not believed the next time.
    set_dd(&sshd, r#"exec REAL "$@""#);
    checked(copy(&sshd, &from, &to, &[]));
    assert!(same(&sshd.lab.path("source.raw"), &there));
}

#[test]
fn what_cannot_become_the_disk_is_refused_before_a_byte_is_written() {
    let Some(sshd) = Sshd::start_with("") else { return };
    let (from, _) = source(&sshd.lab);
    let there = sshd.lab.path("small.raw");
    std::fs::write(&there, noise(3, 2 * MIB)).unwrap();
    let to = far(sshd.port, &there);
    let failed = copy(&sshd, &from, &to, &[]).failure("target-too-small");
    assert!(failed["message"].as_str().unwrap().contains("small.raw"), "{failed}");
    assert!(std::fs::read(&there).unwrap() == noise(3, 2 * MIB));

    let wrong = sshd.fingerprint("other");
    let new = sshd.lab.path("new.raw");
    let to = far(sshd.port, &new);
    copy(&sshd, &from, &to, &["--peer", &wrong]).failure("wrong-host-key");
    assert!(!new.exists());
    for (path, code) in [("missing/new.raw", "io"), ("", "usage")] {
        let to = far(sshd.port, &sshd.lab.path(path));
        copy(&sshd, &from, &to, &[]).failure(code);
    }
    copy(&sshd, &from, &far(sshd.port, Path::new("/dev/no-such-disk")), &[]).failure("io");
    assert!(!Path::new("/dev/no-such-disk").exists());
    assert!(!sshd.lab.path("journal").exists(), "a refused copy leaves no trace");
    let missing = far(sshd.port, &new);
    copy(&sshd, &missing, sshd.lab.path("copy.raw").to_str().unwrap(), &[]).failure("io");
}

#[test]
fn a_far_file_that_is_written_to_during_the_copy_is_reported() {
    // The first read of data waits for the test.
    let slow = r#"case "$*" in *count=64*) touch "DIR/reading"; while [ ! -e "DIR/go" ]; do sleep 0.05; done;; esac; exec REAL "$@""#;
    let Some(sshd) = host_with_dd("") else { return };
    set_dd(&sshd, &slow.replace("DIR", &sshd.lab.dir.path().display().to_string()));
    let there = disk(&sshd.lab.path("far.raw"), 8 * MIB, &[(0, 8 * MIB)]);
    let from = far(sshd.port, Path::new(&there));
    let copying = copy(&sshd, &from, sshd.lab.path("copy.raw").to_str().unwrap(), &["--whole"]);
    let deadline = std::time::Instant::now() + PATIENCE;
    while !sshd.lab.path("reading").exists() {
        assert!(std::time::Instant::now() < deadline);
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::fs::File::options().write(true).open(&there).unwrap().write_all_at(b"guest", MIB).unwrap();
    std::fs::write(sshd.lab.path("go"), "").unwrap();
    copying.failure("source-changed");
}

#[test]
fn a_device_over_there_is_source_and_target() {
    let Some(sshd) = Sshd::start_with("") else { return };
    let Some(device) = crate::devices::Loop::new(&sshd.lab.path("device.raw"), &noise(8, 48 * MIB)) else {
        return;
    };
    let (from, source) = source(&sshd.lab);
    let there = far(sshd.port, Path::new(&device.path));
    let (_, check) = checked(copy(&sshd, &from, &there, &[]));
    // Nothing of it was known to be zeros: all of it was compared.
    assert_eq!(check["bytes_checked"].as_u64(), Some(40 * MIB + 507));
    let wanted = std::fs::read(&source).unwrap();
    let now = std::fs::read(&device.path).unwrap();
    assert!(now[..wanted.len()] == wanted, "old content shines through");
    assert!(now[wanted.len()..] == noise(8, 48 * MIB)[wanted.len()..]);

    let back = sshd.lab.path("back.raw");
    std::fs::remove_dir_all(sshd.lab.path("journal")).unwrap();
    copy(&sshd, &there, back.to_str().unwrap(), &[]).success();
    assert!(same(&back, Path::new(&device.path)));
}
