//! Images that are made of a received disk, by the real qemu-img.

use crate::lab::{End, Lab, MIB, disk, have, run, same, viaduct};
use std::path::Path;

fn names(lab: &Lab) -> Vec<String> {
    let all = std::fs::read_dir(lab.dir.path()).unwrap();
    let mut names: Vec<_> = all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_received_disk_becomes_images_that_are_the_same_disk() {
    if !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    // No multiple of what either format likes.
    let from = disk(&lab.path("source.raw"), 33 * MIB + 512, &[(MIB, 3 * MIB), (33 * MIB, 512)]);
    let images = ["vmdk:a.vmdk", "vhd:b:c.vhd", "vhd-fixed:d.vhd"].map(|image| {
        let (format, name) = image.split_once(':').unwrap();
        (format, lab.path(name))
    });
    let finish: Vec<String> =
        images.iter().map(|(format, path)| format!("--finish={format}:{}", path.display())).collect();
    let more: Vec<&str> = finish.iter().map(String::as_str).collect();
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &more);
    lab.send(&from, &receiver.address(), &[]).success();
    let ended = receiver.end();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.seen.iter().filter(|event| event["event"] == "converted").count(), 3);
    assert_eq!(ended.last["event"], "finished");
    for (format, path) in &images {
        let path = path.to_str().unwrap();
        let kind = if *format == "vmdk" { "vmdk" } else { "vpc" };
        run("qemu-img", &["compare", "-q", "-f", "raw", "-F", kind, &from, path]);
        let info = run("qemu-img", &["info", "--output=json", "-f", kind, path]);
        let info: serde_json::Value = serde_json::from_str(&info).unwrap();
        assert_eq!(info["virtual-size"], 33 * MIB + 512, "{info}");
        if kind == "vmdk" {
            assert_eq!(info["format-specific"]["data"]["create-type"], "streamOptimized");
        }
        use std::os::unix::fs::MetadataExt;
        assert_eq!(Path::new(path).metadata().unwrap().mode() & 0o777, 0o600);
    }
    // Fixed is as large as the disk and its footer; dynamic is not.
    assert_eq!(images[2].1.metadata().unwrap().len(), 33 * MIB + 1024);
    assert!(images[1].1.metadata().unwrap().len() < 10 * MIB);
    assert!(!names(&lab).iter().any(|name| name.contains("viaduct-new")));
    assert!(same(Path::new(&from), &lab.path("target.raw")));
}

#[test]
fn a_qcow2_copy_is_finished_too() {
    if !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 8 * MIB, &[(MIB, 3 * MIB)]);
    let (image, finish) = (
        format!("qcow2:{}", lab.path("disk.qcow2").display()),
        format!("vmdk:{}", lab.path("disk.vmdk").display()),
    );
    End::start(&mut viaduct(&["copy", "--from", &from, "--to", &image, "--finish", &finish])).success();
    run(
        "qemu-img",
        &["compare", "-q", "-f", "raw", "-F", "vmdk", &from, lab.path("disk.vmdk").to_str().unwrap()],
    );
}

#[test]
fn what_cannot_be_finished_is_told_before_the_copy() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 2 * MIB, &[(0, MIB)]);
    let to = lab.path("target.raw").display().to_string();
    let copy = |finish: &str, path: Option<&str>| {
        let mut command = viaduct(&["copy", "--from", &from, "--to", &to, "--finish", finish]);
        if let Some(path) = path {
            command.env("PATH", path);
        }
        End::start(&mut command)
    };
    let image = format!("vmdk:{}", lab.path("disk.vmdk").display());
    let failed = copy(&image, Some("/nowhere")).failure("qemu-img");
    assert!(failed["remedy"].as_str().unwrap().contains("qemu-utils"), "{failed}");
    copy("vmdk:/no/such/directory/disk.vmdk", None).failure("usage");
    copy(&format!("vhd:{to}"), None).failure("usage");
    assert_eq!(names(&lab), ["receiver.pem", "sender.pem", "source.raw"]);
}

/// A qemu-img that does something else than it should.
fn with_tool(lab: &Lab, script: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let real = run("sh", &["-c", "command -v qemu-img"]);
    let bin = lab.path("bin");
    let _ = std::fs::create_dir(&bin);
    let tool = bin.join("qemu-img");
    std::fs::write(&tool, format!("#!/bin/sh\n{}\n", script.replace("REAL", real.trim()))).unwrap();
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn an_image_that_is_not_the_disk_is_found_out_and_removed() {
    if !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4 * MIB, &[(MIB, MIB)]);
    let other = disk(&lab.path("other.raw"), 4 * MIB, &[(0, MIB)]);
    let to = lab.path("target.raw").display().to_string();
    let image = lab.path("disk.vmdk");
    std::fs::write(&image, "the one of yesterday").unwrap();
    let finish = format!("vmdk:{}", image.display());
    // The last word is the new image: it makes one of another disk.
    let lie = format!(
        r#"if [ "$1" = convert ]; then for new; do :; done; exec REAL convert -f raw -O vmdk -o subformat=streamOptimized {other} "$new"; fi; exec REAL "$@""#
    );
    let fails = "if [ \"$1\" = convert ]; then for new; do :; done; echo half > \"$new\"; echo 'qemu-img: no luck' >&2; exit 1; fi; exec REAL \"$@\"";
    for (script, code) in [(lie.as_str(), "differs"), (fails, "qemu-img")] {
        let mut command = viaduct(&["copy", "--from", &from, "--to", &to, "--finish", &finish]);
        let failed = End::start(command.env("PATH", with_tool(&lab, script))).failure(code);
        assert!(failed["message"].as_str().unwrap().contains("disk.vmdk"), "{failed}");
        assert_eq!(std::fs::read(&image).unwrap(), b"the one of yesterday");
        assert!(!names(&lab).iter().any(|name| name.contains("viaduct-new")));
    }
    // The disk itself is there all the same, and only the image is made the next time.
    let again =
        End::start(&mut viaduct(&["copy", "--from", &from, "--to", &to, "--finish", &finish])).success();
    assert_eq!(again["bytes_reused"], MIB);
    run("qemu-img", &["compare", "-q", "-f", "raw", "-F", "vmdk", &from, image.to_str().unwrap()]);
}
