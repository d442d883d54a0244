//! Whole disks: partition tables of both kinds, several file systems, what is between them, and the way through `send`.

use super::images::{MIB, can_mount, copy_live, fill, make, only, poke, script, tree};
use crate::lab::{Lab, digest, have};
use std::fs::File;
use std::path::{Path, PathBuf};

const TOOLS: &[&str] = &["sfdisk", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"];

fn disk(dir: &Path, size: u64, table: &str) -> PathBuf {
    let image = dir.join("image");
    File::create(&image).unwrap().set_len(size).unwrap();
    script(&format!("printf '{table}' | sfdisk -q \"$1\""), &[&image]);
    image
}

/// Makes a file system where a partition is, and fills it.
fn format(image: &Path, offset: u64, size: u64, mkfs: &str) {
    let text = r#"loop=$(losetup -f --show -o "$OFFSET" --sizelimit "$SIZE" "$1"); MKFS "$loop" || code=$?
        losetup -d "$loop"; exit "${code:-0}""#;
    let text = text.replace("$OFFSET", &offset.to_string()).replace("$SIZE", &size.to_string());
    script(&text.replace("MKFS", mkfs), &[image]);
    fill(image, offset, 20);
}

fn contents(image: &Path) -> Vec<(String, u64, bool)> {
    let copied = copy_live(image);
    copied.areas.into_iter().map(|area| (area.content, area.start, area.whole_because.is_some())).collect()
}

#[test]
fn partitions_of_a_gpt_are_each_read_as_what_they_are() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let table = "label: gpt\\nsize=1M, type=21686148-6449-6E6F-744E-656564454649\\nsize=200M\\nsize=400M\\nsize=300M\\nsize=8M\\n";
    let image = disk(dir.path(), 1024 * MIB, table);
    format(&image, 2 * MIB, 200 * MIB, "mkfs.ext4 -q");
    format(&image, 202 * MIB, 400 * MIB, "mkfs.xfs -q");
    format(&image, 602 * MIB, 300 * MIB, "mkfs.btrfs -q");
    // A boot loader in its own partition, one before the first, and something in a gap.
    poke(&image, MIB, b"core of a boot loader");
    poke(&image, 40_000, b"stage one and a half");
    poke(&image, 1020 * MIB, b"what nobody knows of");
    let copied = copy_live(&image);
    let kinds: Vec<&str> = copied.areas.iter().map(|area| area.content.as_str()).collect();
    assert_eq!(kinds, ["unknown", "ext4", "xfs", "btrfs", "unknown"]);
    for (offset, options) in [(2, ""), (202, ",nouuid"), (602, "")] {
        let (ours, theirs) =
            (tree(&copied.image, offset * MIB, options), tree(&image, offset * MIB, options));
        assert_eq!(ours, theirs, "at {offset} MiB");
    }
    script(
        r#"cmp -n 2097152 "$1" "$2"; cmp -i 945815552 "$1" "$2"; sfdisk -q --verify "$2""#,
        &[&image, &copied.image],
    );
    assert!(copied.bytes < 500 * MIB, "{}", copied.bytes);
}

#[test]
fn primary_and_logical_partitions_of_an_mbr_are_each_read_as_what_they_are() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let table = "label: dos\\nstart=1M, size=100M, type=83\\nstart=101M, size=400M, type=5\\nstart=110M, size=100M, type=83\\nstart=220M, size=100M, type=83\\nstart=330M, size=20M, type=82\\n";
    // The third line would be primary: logical ones have their own numbers.
    let table = table.replacen("start=110M", "5: start=110M", 1).replacen("start=220M", "6: start=220M", 1);
    let table = table.replacen("start=330M", "7: start=330M", 1);
    let image = disk(dir.path(), 600 * MIB, &table);
    for offset in [1, 110, 220] {
        format(&image, offset * MIB, 100 * MIB, "mkfs.ext4 -q");
    }
    let found = contents(&image);
    let of = |content: &str, at: u64, whole| (content.to_owned(), at * MIB, whole);
    assert_eq!(
        found,
        [of("ext4", 1, false), of("ext4", 110, false), of("ext4", 220, false), of("unknown", 330, true)]
    );
    let copy = image.with_extension("copy");
    script(
        r#"sfdisk -d "$1" | tail -n +4 >"$1.a"; sfdisk -d "$2" | tail -n +4 >"$1.b"; sed -i "s,$2,$1," "$1.b"; cmp "$1.a" "$1.b""#,
        &[&image, &copy],
    );
    for offset in [1, 110, 220] {
        assert_eq!(tree(&copy, offset * MIB, ""), tree(&image, offset * MIB, ""));
    }
}

#[test]
fn what_has_two_readings_or_none_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let table = "label: dos\\nstart=1M, type=83\\n";
    // A remnant of a file system over all of the disk.
    let image = disk(dir.path(), 64 * MIB, table);
    poke(&image, 1080, &[0x53, 0xef]);
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("both"));
    // A GPT whose checksum is wrong.
    let image = disk(dir.path(), 64 * MIB, "label: gpt\\nsize=10M\\n");
    poke(&image, 512 + 72, &[3]);
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("checksum"));
    // Overlapping partitions.
    let image = disk(dir.path(), 64 * MIB, table);
    poke(&image, 446 + 16, &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 16, 0, 0, 0, 32, 0, 0]);
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("overlap"));
    // A chain of logical partitions that bites its tail.
    let image = disk(dir.path(), 64 * MIB, "label: dos\\nstart=1M, size=60M, type=5\\nstart=2M, size=10M\\n");
    poke(&image, MIB + 446 + 16, &[0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0]);
    assert!(only(&copy_live(&image)).whole_because.is_some());
}

#[test]
fn what_another_owns_is_read_whole_even_where_a_file_system_was_before() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let size = 64 * MIB;
    for (at, mark) in [
        (0, &b"LUKS\xba\xbe\0\x02"[..]),
        (512, b"LABELONE"),
        (4096, b"\xfc\x4e\x2b\xa9"),
        (size - 8192, b"\xfc\x4e\x2b\xa9"),
        (size - 65536, b"\xfc\x4e\x2b\xa9"),
        (4086, b"SWAPSPACE2"),
        (3, b"NTFS    "),
    ] {
        let image = make(dir.path(), size, "mkfs.ext4 -q -F");
        poke(&image, at, mark);
        let copied = copy_live(&image);
        assert!(only(&copied).whole_because.is_some(), "{at}");
        script(r#"cmp "$1" "$2""#, &[&image, &copied.image]);
    }
}

#[test]
fn a_device_that_is_mounted_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 64 * MIB, "mkfs.ext4 -q");
    let lab = Lab::new();
    let text = r#"loop=$(losetup -f --show "$1"); echo "$loop" >"$1.loop"; MOUNT
        "$2" send --from "$loop" --to tls://127.0.0.1:1 --retry-secs 0 --identity "$3" --report json \
            --peer sha256:0000000000000000000000000000000000000000000000000000000000000000 || true
        losetup -d "$loop""#;
    let binary = Path::new(env!("CARGO_BIN_EXE_viaduct"));
    let identity = lab.path("sender.pem");
    let found = |mount: &str| {
        let said = script(&text.replace("MOUNT", mount), &[&image, binary, &identity]);
        let events = said.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        events.into_iter().find(|event| event["event"] == "found").unwrap()
    };
    let free = found(":");
    assert_eq!((&free["content"], &free["whole_because"]), (&"ext4".into(), &().into()), "{free}");
    let mounted = found(r#"mkdir "$1.mnt"; mount -o ro "$loop" "$1.mnt""#);
    assert!(mounted["whole_because"].as_str().unwrap().contains("mounted"), "{mounted}");
}

#[test]
fn a_transfer_leaves_out_free_space_and_says_so() {
    if !can_mount(TOOLS) {
        return;
    }
    let lab = Lab::new();
    let image = disk(lab.dir.path(), 300 * MIB, "label: dos\\nstart=1M, type=83\\n");
    format(&image, MIB, 299 * MIB, "mkfs.ext4 -q");
    let from = image.display().to_string();
    let live = lab.path("live.raw");
    let (sent, received) = lab.carry(&from, live.to_str().unwrap());
    let free = sent["bytes_free"].as_u64().unwrap();
    assert!(free > 5 * MIB, "{sent}");
    assert_eq!(sent["digest"], received["digest"]);
    assert_ne!(digest(&from), digest(live.to_str().unwrap()));
    let marked = crate::lab::binary().args(["digest", "--live", "--from", &from]).output().unwrap();
    assert_eq!(String::from_utf8(marked.stdout).unwrap().trim(), digest(live.to_str().unwrap()));
    assert_eq!(tree(&live, MIB, ""), tree(&image, MIB, ""));

    let whole = lab.path("whole.raw");
    let receiver = lab.receive(whole.to_str().unwrap(), &[]);
    let sent = lab.send(&from, &receiver.address(), &["--whole"]).success();
    receiver.success();
    assert_eq!(sent["bytes_free"], 0);
    assert_eq!(digest(whole.to_str().unwrap()), digest(&from));
}

#[test]
fn a_qcow2_image_is_left_out_of_in_the_same_way() {
    if !can_mount(TOOLS) || !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let image = make(lab.dir.path(), 300 * MIB, "mkfs.ext4 -q");
    fill(&image, 0, 60);
    let packed = lab.path("disk.qcow2");
    script(r#"qemu-img convert -q -O qcow2 "$1" "$2""#, &[&image, &packed]);
    let to = lab.path("target.raw");
    let (sent, _) = lab.carry(&format!("qcow2:{}", packed.display()), to.to_str().unwrap());
    assert!(sent["bytes_free"].as_u64().unwrap() > 50 * MIB, "{sent}");
    assert_eq!(tree(&to, 0, ""), tree(&image, 0, ""));
    script(r#"e2fsck -fn "$1" >&2"#, &[&to]);
}
