//! btrfs on one device, in the profiles that are read, and as it must not be believed.

use super::images::{MIB, can_mount, copy_live, fill, make, only, poke, script, tree};
use std::path::Path;

const TOOLS: &[&str] = &["mkfs.btrfs", "btrfs"];

fn check(image: &Path) {
    script(r#"btrfs check --check-data-csum "$1" >&2"#, &[image]);
}

#[test]
fn a_btrfs_comes_out_whole_and_clean() {
    if !can_mount(TOOLS) {
        return;
    }
    for shape in [
        "",
        "-m single -d single",
        "-m dup -d dup",
        "-M -m single -d single",
        "-n 4096 -R ^free-space-tree",
        "-n 65536 -O no-holes",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let image = make(dir.path(), 600 * MIB, &format!("mkfs.btrfs -q {shape}"));
        fill(&image, 0, 60);
        check(&image);
        let copied = copy_live(&image);
        let area = only(&copied);
        assert_eq!((area.content.as_str(), &area.whole_because), ("btrfs", &None), "{shape}");
        assert!(area.bytes_free > 300 * MIB, "{shape}: {area:?}");
        check(&copied.image);
        assert_eq!(tree(&copied.image, 0, ""), tree(&image, 0, ""), "{shape}");
    }
}

#[test]
fn a_btrfs_with_snapshots_and_a_large_tree_comes_out_whole_and_clean() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 600 * MIB, "mkfs.btrfs -q -n 4096");
    let text = r#"mkdir "$1.mnt"; mount -o loop,compress=zstd "$1" "$1.mnt"; cd "$1.mnt"
        btrfs -q subvolume create one; for file in $(seq 3000); do seq 50 >one/$file; done; sync
        for number in 1 2 3; do btrfs -q subvolume snapshot one snap$number; rm one/*$number; sync; done
        btrfs -q subvolume delete snap2; cp --reflink=always one/4 one/clone
        cd /; umount "$1.mnt"; rmdir "$1.mnt""#;
    script(text, &[&image]);
    let copied = copy_live(&image);
    assert!(only(&copied).whole_because.is_none(), "{:?}", copied.areas);
    check(&copied.image);
    assert_eq!(tree(&copied.image, 0, ""), tree(&image, 0, ""));
}

#[test]
fn a_btrfs_with_a_log_or_other_devices_or_checksums_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 300 * MIB, "mkfs.btrfs -q");
    let text = r#"mkdir "$1.mnt"; mount -o loop,commit=300 "$1" "$1.mnt"; echo a >"$1.mnt/a"; sync
        echo more >>"$1.mnt/a"; sync "$1.mnt/a"; cp --sparse=always "$1" "$1.torn"; umount "$1.mnt""#;
    script(text, &[&image]);
    let torn = dir.path().join("image.torn");
    let copied = copy_live(&torn);
    assert_eq!(only(&copied).whole_because.as_deref(), Some("its log has to be replayed"));
    script(r#"cmp "$1" "$2""#, &[&torn, &copied.image]);

    let image = make(dir.path(), 300 * MIB, "mkfs.btrfs -q -f --csum xxhash");
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("checksums"));

    let image =
        make(dir.path(), 300 * MIB, r#"truncate -s 300M "$1.2"; mkfs.btrfs -q -f -d raid0 -m raid1 "$1.2""#);
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("device"));

    let image = make(dir.path(), 300 * MIB, "mkfs.btrfs -q -f");
    poke(&image, (64 << 10) + 0xbc + 7, &[0x80]);
    assert!(only(&copy_live(&image)).whole_because.as_deref().unwrap().contains("checksum"));
}
