//! `viaduct tree` on what the real tar writes: copies are equal, and every change that matters is seen.

use crate::lab::{binary, feed, noise, run};
use serde_json::Value;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;

fn tar(dir: &Path, more: &[&str]) -> Vec<u8> {
    let mut command = std::process::Command::new("tar");
    command
        .args(["--xattrs", "--acls", "--numeric-owner"])
        .args(more)
        .arg("-C")
        .arg(dir)
        .args(["-cf", "-", "."]);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

fn tree(dir: &Path, more: &[&str]) -> Value {
    serde_json::from_slice(&feed(binary().arg("tree"), &tar(dir, more))).unwrap()
}

/// A tree with one of everything.
fn plant(root: &Path) {
    std::fs::create_dir_all(root.join("dir/sub")).unwrap();
    std::fs::write(root.join("dir/file"), noise(1, 100_000)).unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    std::fs::hard_link(root.join("dir/file"), root.join("zz-link")).unwrap();
    std::fs::hard_link(root.join("dir/file"), root.join("aa-link")).unwrap();
    symlink("dir/file", root.join("soft")).unwrap();
    std::fs::write(root.join("n".repeat(180)), "a long name").unwrap();
    let sparse = std::fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(30 << 20).unwrap();
    for piece in 0..9 {
        sparse.write_all_at(b"here", (piece * 3) << 20).unwrap();
    }
    sparse.write_all_at(b"at the end", (30 << 20) - 10).unwrap();
    run("mkfifo", &[root.join("fifo").to_str().unwrap()]);
    run("setfattr", &["-n", "user.note", "-v", "0x0a3d00ff", root.join("dir/file").to_str().unwrap()]);
    run("setfacl", &["-m", "u:1234:r", root.join("dir/sub").to_str().unwrap()]);
}

fn copy(from: &Path, to: &Path) {
    run("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}

#[test]
fn copies_are_equal_however_tar_writes_them() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    plant(&a);
    copy(&a, &b);
    let expected = tree(&a, &[]);
    assert_eq!(expected["hardlinks"], 2);
    assert_eq!(expected["files"], 4);
    assert_eq!(expected["entries"], 11);
    assert_eq!(expected["xattrs"], 2);
    for more in [
        &[][..],
        &["--sort=name"],
        &["--sparse"],
        &["--sparse", "--sparse-version=0.0"],
        &["--sparse", "--sparse-version=0.1"],
        &["--format=posix", "--sparse", "--sparse-version=1.0"],
    ] {
        assert_eq!(tree(&b, more), expected, "{more:?}");
    }
    // A new directory was made for the copy: its own time does not count.
    run("touch", &["-d", "2001-01-01", b.to_str().unwrap()]);
    assert_eq!(tree(&b, &[]), expected);
}

#[test]
fn old_formats_give_the_same_digest() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    plant(&a);
    run("setfacl", &["-b", a.join("dir/sub").to_str().unwrap()]);
    run("setfattr", &["-x", "user.note", a.join("dir/file").to_str().unwrap()]);
    let plain = |more: &[&str]| {
        let mut command = std::process::Command::new("tar");
        let done = command.args(more).arg("-C").arg(&a).args(["-cf", "-", "."]).output().unwrap();
        serde_json::from_slice::<Value>(&feed(binary().arg("tree"), &done.stdout)).unwrap()
    };
    let expected = plain(&["--format=posix"]);
    assert_eq!(plain(&["--format=gnu"]), expected);
    assert_eq!(plain(&["--format=gnu", "--sparse"]), expected);
}

#[test]
fn every_change_that_matters_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    plant(&a);
    let expected = tree(&a, &[])["digest"].clone();
    let changes: [(&str, &str); 14] = [
        ("mode", "chmod 600 empty"),
        ("set-id bit", "chmod u+s empty"),
        ("owner", "chown 77 empty"),
        ("group", "chgrp 77 dir"),
        ("time", "touch -d 2001-01-01 empty"),
        ("content", "printf x | dd of=dir/file conv=notrunc status=none && touch -d @1700000000 dir/file"),
        ("name", "mv empty full"),
        ("link target", "ln -sfn dir/other soft"),
        ("hard link broken", "cp -a aa-link t && mv -f t aa-link"),
        ("attribute value", "setfattr -n user.note -v other dir/file"),
        ("attribute gone", "setfattr -x user.note dir/file"),
        ("acl", "setfacl -m u:1234:rw dir/sub"),
        ("default acl", "setfacl -d -m u:1234:r dir/sub"),
        ("type", "rm fifo && : > fifo"),
    ];
    let root = rustix::process::geteuid().is_root();
    for (what, script) in changes {
        if !root && matches!(what, "owner" | "group") {
            continue;
        }
        let b = dir.path().join("b");
        copy(&a, &b);
        assert_eq!(tree(&b, &[])["digest"], expected, "before {what}");
        // Times of directories change with what is in them: set them back, so that only the change itself is seen.
        let times = "find . -type d -exec touch -d @1700000000 {} +";
        run("sh", &["-c", &format!("cd '{}' && {times}", b.display())]);
        let before = tree(&b, &[])["digest"].clone();
        run("sh", &["-c", &format!("cd '{}' && {script} && {times}", b.display())]);
        assert_ne!(tree(&b, &[])["digest"], before, "{what}");
        std::fs::remove_dir_all(&b).unwrap();
    }
}

#[test]
fn a_torn_stream_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let a = dir.path().join("a");
    plant(&a);
    let whole = tar(&a, &[]);
    for keep in [0, 100, 512, 5000, whole.len() / 2] {
        let refused = viaduct::tree(&whole[..keep]);
        assert!(matches!(refused, Err(viaduct::Error::Tar { .. })), "{keep}: {refused:?}");
    }
}
