//! xfs of both versions, clean and not.

use super::images::{MIB, can_mount, copy_live, fill, make, only, poke, script, tree};
use std::path::Path;

const TOOLS: &[&str] = &["mkfs.xfs", "xfs_repair", "xfs_db"];

fn check(image: &Path) {
    script(r#"xfs_repair -n -f "$1" >&2"#, &[image]);
}

fn comes_out_whole_and_clean(mkfs: &str) {
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 1024 * MIB, mkfs);
    fill(&image, 0, 60);
    check(&image);
    let copied = copy_live(&image);
    let area = only(&copied);
    assert_eq!((area.content.as_str(), &area.whole_because), ("xfs", &None), "{mkfs}");
    assert!(area.bytes_free > 200 * MIB, "{mkfs}: {area:?}");
    check(&copied.image);
    assert_eq!(tree(&copied.image, 0, ",nouuid"), tree(&image, 0, ",nouuid"), "{mkfs}");
}

#[test]
fn an_xfs_comes_out_whole_and_clean() {
    if !can_mount(TOOLS) {
        return;
    }
    for shape in [
        "",
        "-m rmapbt=1,reflink=1",
        "-b size=1024",
        "-d agcount=7",
        "-i size=1024 -n size=8192",
        "-d su=64k,sw=4",
    ] {
        comes_out_whole_and_clean(&format!("mkfs.xfs -q {shape}"));
    }
}

#[test]
fn an_xfs_of_version_4_comes_out_whole_and_clean() {
    if !can_mount(TOOLS) {
        return;
    }
    // Kernels are built without it; its maker fills it from a list of files.
    let dir = tempfile::tempdir().unwrap();
    let list = r#"head -c 30000000 /dev/urandom >"$1.noise"
        { echo "x"; echo "0 0"; echo "d--755 0 0"; for file in $(seq 6); do echo "file$file ---644 0 0 $1.noise"; done
          echo "\$"; } >"$1.list"; mkfs.xfs -q -m crc=0 -p "$1.list""#;
    let image = make(dir.path(), 400 * MIB, list);
    let copied = copy_live(&image);
    let area = only(&copied);
    assert_eq!((area.content.as_str(), &area.whole_because), ("xfs", &None));
    assert!(area.bytes_free > 100 * MIB && copied.bytes > 180_000_000, "{area:?} {}", copied.bytes);
    check(&copied.image);
    // Nothing but zeros was left out of what was never used.
    script(r#"cmp "$1" "$2""#, &[&image, &copied.image]);
}

#[test]
fn an_xfs_as_it_was_made_is_read_only_where_it_must() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 2048 * MIB, "mkfs.xfs -q");
    let copied = copy_live(&image);
    assert!(only(&copied).whole_because.is_none(), "{:?}", copied.areas);
    check(&copied.image);
}

#[test]
fn an_xfs_whose_log_went_round_many_times_is_understood() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 320 * MIB, "mkfs.xfs -q");
    for round in 0..6 {
        let text = r#"mkdir -p "$1.mnt"; mount -o loop "$1" "$1.mnt"; cd "$1.mnt"
            for each in $(seq 1500); do mkdir "d$each"; : >"d$each/a"; done; sync; rm -r d*
            cd /; umount "$1.mnt""#;
        script(text, &[&image]);
        let copied = copy_live(&image);
        assert!(only(&copied).whole_because.is_none(), "round {round}: {:?}", copied.areas);
        check(&copied.image);
    }
}

#[test]
fn an_xfs_with_a_log_to_replay_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 320 * MIB, "mkfs.xfs -q");
    let text = r#"mkdir "$1.mnt"; mount -o loop "$1" "$1.mnt"; for file in $(seq 200); do echo >"$1.mnt/$file"; done
        sync; cp --sparse=always "$1" "$1.torn"; fsfreeze -f "$1.mnt"; cp --sparse=always "$1" "$1.frozen"
        fsfreeze -u "$1.mnt"; umount "$1.mnt""#;
    script(text, &[&image]);
    for name in ["image.torn", "image.frozen"] {
        let torn = dir.path().join(name);
        let copied = copy_live(&torn);
        assert_eq!(only(&copied).whole_because.as_deref(), Some("its log has to be replayed"), "{name}");
        script(r#"cmp "$1" "$2""#, &[&torn, &copied.image]);
    }
}

#[test]
fn an_xfs_with_an_unknown_feature_or_a_part_elsewhere_is_read_whole() {
    if !can_mount(TOOLS) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (field, value) in [
        ("features_incompat", "0x80000003"),
        ("features_incompat", "0x13"),
        ("features_ro_compat", "0x8000000f"),
        ("fdblocks", "5"),
        ("inprogress", "1"),
        ("rblocks", "10"),
        ("logstart", "0"),
    ] {
        let image = make(dir.path(), 320 * MIB, "mkfs.xfs -q -f");
        script(&format!("xfs_db -x -c 'sb 0' -c 'write -d {field} {value}' \"$1\" >&2 || true"), &[&image]);
        assert!(only(&copy_live(&image)).whole_because.is_some(), "{field}");
    }
    let image = make(dir.path(), 320 * MIB, "mkfs.xfs -q -f");
    poke(&image, 512 + 52, &[1]);
    assert!(only(&copy_live(&image)).whole_because.is_some());
}
