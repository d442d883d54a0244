//! ext2, ext3 and ext4, with every feature that changes where free space is written down.

use super::images::{MIB, can_mount, copy_live, fill, make, only, poke, script, tree};
use std::path::Path;

const TOOLS: &[&str] = &["mkfs.ext4", "e2fsck", "debugfs"];

fn check(image: &Path) {
    script(r#"e2fsck -fn "$1" >&2"#, &[image]);
}

fn comes_out_whole_and_clean(size: u64, mkfs: &str, name: &str) {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), size, mkfs);
    fill(&image, 0, size / MIB / 5);
    check(&image);
    let copied = copy_live(&image);
    let area = only(&copied);
    assert_eq!((area.content.as_str(), &area.whole_because), (name, &None), "{mkfs}");
    // Residue of a fifth of the disk, and all that was never used.
    assert!(area.bytes_free > size / 2, "{mkfs}: {area:?}");
    assert!(copied.bytes < size / 2, "{mkfs}: {} of {size}", copied.bytes);
    check(&copied.image);
    assert_eq!(tree(&copied.image, 0, ""), tree(&image, 0, ""), "{mkfs}");
}

#[test]
fn an_ext4_comes_out_whole_and_clean() {
    comes_out_whole_and_clean(700 * MIB, "mkfs.ext4 -q", "ext4");
}

#[test]
fn an_ext4_with_lazily_made_inode_tables_comes_out_whole_and_clean() {
    comes_out_whole_and_clean(700 * MIB, "mkfs.ext4 -q -E lazy_itable_init=1,lazy_journal_init=1", "ext4");
}

#[test]
fn an_ext3_comes_out_whole_and_clean() {
    comes_out_whole_and_clean(200 * MIB, "mkfs.ext3 -q", "ext3");
}

#[test]
fn an_ext2_comes_out_whole_and_clean() {
    comes_out_whole_and_clean(200 * MIB, "mkfs.ext2 -q", "ext2");
}

#[test]
fn ext4_of_every_shape_comes_out_whole_and_clean() {
    for shape in [
        "-b 1024",
        "-b 2048 -g 8192",
        "-O ^metadata_csum,uninit_bg",
        "-O ^metadata_csum,uninit_bg,^flex_bg,^64bit",
        "-O ^metadata_csum,^uninit_bg",
        "-O meta_bg,^resize_inode -b 1024",
        "-O meta_bg,^resize_inode,^64bit,^flex_bg -b 1024",
        "-O bigalloc -C 65536",
        "-O bigalloc -b 1024 -C 16384",
        "-O sparse_super2 -b 1024",
        "-O ^sparse_super,^resize_inode -b 1024",
        "-O metadata_csum_seed,orphan_file,inline_data,encrypt,verity",
        "-O ^has_journal",
        "-G 4 -b 1024 -N 30000",
    ] {
        comes_out_whole_and_clean(160 * MIB, &format!("mkfs.ext4 -q {shape}"), "ext4");
    }
}

#[test]
fn a_mounted_ext4_and_one_with_a_journal_to_replay_are_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    for mkfs in ["mkfs.ext4 -q", "mkfs.ext2 -q"] {
        let dir = tempfile::tempdir().unwrap();
        let image = make(dir.path(), 64 * MIB, mkfs);
        // Copied while it is mounted: what a crash leaves.
        let text = r#"mkdir "$1.mnt"; mount -o loop "$1" "$1.mnt"; echo hello >"$1.mnt/file"; sync
            cp --sparse=always "$1" "$1.torn"; umount "$1.mnt""#;
        script(text, &[&image]);
        let torn = dir.path().join("image.torn");
        let copied = copy_live(&torn);
        let why = only(&copied).whole_because.clone().unwrap();
        assert!(why.contains("replayed") || why.contains("cleanly"), "{why}");
        script(r#"cmp "$1" "$2""#, &[&torn, &copied.image]);
    }
}

#[test]
fn an_ext_that_has_errors_or_an_unknown_feature_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (request, mark) in [
        ("ssv state 3", "errors"),
        ("ssv last_orphan 12", "deleted"),
        ("ssv feature_incompat 0x800002", "incompatible"),
        ("ssv feature_ro_compat 0x40000473", "feature"),
        ("ssv free_blocks_count 7", "disagree"),
        ("ssv blocks_count 9999999", "larger"),
        ("ssv journal_inum 0", "inode"),
    ] {
        let image = make(dir.path(), 64 * MIB, "mkfs.ext4 -q");
        script(&format!("debugfs -w -R '{request}' \"$1\" 2>/dev/null"), &[&image]);
        let why = only(&copy_live(&image)).whole_because.clone().unwrap();
        assert!(why.contains(mark), "{request}: {why}");
    }
}

#[test]
fn an_ext_whose_maps_disagree_with_themselves_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for mkfs in ["mkfs.ext4 -q", "mkfs.ext2 -q"] {
        let image = make(dir.path(), 64 * MIB, mkfs);
        let at = script(
            r#"dumpe2fs "$1" 2>/dev/null | sed -n 's/.*Block bitmap at \([0-9]*\).*/\1/p' | head -1"#,
            &[&image],
        );
        let block = script(r#"dumpe2fs -h "$1" 2>/dev/null | sed -n 's/^Block size: *//p'"#, &[&image]);
        let at = at.parse::<u64>().unwrap() * block.parse::<u64>().unwrap();
        // One block too many, and its own place among them.
        poke(&image, at, &[0xfe]);
        assert!(only(&copy_live(&image)).whole_because.is_some(), "{mkfs}");
    }
}
