//! A disk of everything at once, in partitions of both kinds of table: what is understood loses its free space and nothing
//! else, what is not arrives byte for byte, and both ends call the same disk by the same digest.

use super::images::{MIB, can_mount, fill, poke, script, tree};
use crate::lab::{Lab, binary, digest, noise};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const TOOLS: &[&str] = &[
    "sfdisk",
    "mkfs.ext4",
    "e2fsck",
    "mkfs.xfs",
    "xfs_repair",
    "mkfs.btrfs",
    "btrfs",
    "mkswap",
    "mkfs.vfat",
];

/// What a partition is, and what its copy must be.
enum Copy {
    /// The same files, and consistent: options to mount it with, how it is checked.
    Live { options: &'static str, check: &'static str },
    /// The same bytes.
    Whole,
}

struct Part {
    content: &'static str,
    size: u64,
    image: PathBuf,
    copy: Copy,
}

fn part(lab: &Lab, name: &str, content: &'static str, mebibytes: u64, make: &str, copy: Copy) -> Part {
    let (image, size) = (lab.path(name), mebibytes * MIB);
    File::create(&image).unwrap().set_len(size).unwrap();
    script(make, &[&image]);
    Part { content, size, image, copy }
}

/// Files by the thousand, each smaller than a block; then most of them are gone, and a hole is all that one large file has.
const TINY: &str = r#"mkfs.ext4 -q -b 1024 -N 8000 "$1"; mkdir "$1.mnt"; mount -o loop "$1" "$1.mnt"; cd "$1.mnt"
    for each in $(seq 3000); do echo "$each" >"tiny$each"; done; sync; rm tiny1*; truncate -s 64M hole
    cd /; umount "$1.mnt"; rmdir "$1.mnt""#;

/// As it lies under a machine whose power failed.
const DIRTY: &str = r#"mkfs.ext4 -q "$1"; mkdir "$1.mnt"; mount -o loop "$1" "$1.mnt"
    head -c 3000000 /dev/urandom >"$1.mnt/kept"; sync; for each in $(seq 50); do echo >"$1.mnt/$each"; done
    rm "$1.mnt/kept"; sync; cp --sparse=always "$1" "$1.torn"; umount "$1.mnt"; rmdir "$1.mnt"; mv "$1.torn" "$1""#;

fn parts(lab: &Lab) -> Vec<Part> {
    let live = |options, check| Copy::Live { options, check };
    let ext = r#"e2fsck -fn "$1" >&2"#;
    let all = vec![
        part(lab, "tiny", "ext4", 32, TINY, live("", ext)),
        part(lab, "swap", "swap", 8, r#"mkswap -q "$1" >&2"#, Copy::Whole),
        part(lab, "xfs", "xfs", 320, r#"mkfs.xfs -q "$1""#, live(",nouuid", r#"xfs_repair -n -f "$1" >&2"#)),
        part(lab, "luks", "unknown", 8, ":", Copy::Whole),
        part(lab, "btrfs", "btrfs", 256, r#"mkfs.btrfs -q "$1""#, live("", r#"btrfs check "$1" >&2"#)),
        part(lab, "vfat", "vfat", 34, r#"mkfs.vfat -F 32 "$1" >&2"#, Copy::Whole),
        part(lab, "dirty", "ext4", 32, DIRTY, Copy::Whole),
        part(lab, "lvm", "unknown", 8, ":", Copy::Whole),
        part(lab, "hole", "unknown", 100, ":", Copy::Whole),
        part(lab, "ext3", "ext3", 48, r#"mkfs.ext3 -q "$1""#, live("", ext)),
    ];
    for part in &all {
        match part.image.file_name().and_then(|name| name.to_str()).unwrap() {
            "xfs" | "btrfs" | "ext3" => fill(&part.image, 0, 6),
            // Marks of what owns the rest, which is noise to everybody else.
            "luks" => {
                poke(&part.image, 0, &noise(1, part.size));
                poke(&part.image, 0, b"LUKS\xba\xbe\0\x02");
            }
            "lvm" => {
                poke(&part.image, 2 * MIB, &noise(2, 3 * MIB));
                poke(&part.image, 512, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001");
            }
            "vfat" => poke(&part.image, 5 * MIB, &noise(3, 4 * MIB)),
            "swap" => poke(&part.image, MIB, &noise(4, MIB)),
            "hole" => poke(&part.image, 99 * MIB, b"the only byte that counts"),
            _ => {}
        }
    }
    all
}

/// A disk with each part at a place of its own, 2 MiB apart: room for what stands before a logical partition.
fn assemble(lab: &Lab, parts: &[Part], label: &str) -> (PathBuf, Vec<u64>) {
    let (mut table, mut places, mut at) = (format!("label: {label}\n"), Vec::new(), 2 * MIB);
    for (number, part) in parts.iter().enumerate() {
        if label == "dos" && number == 2 {
            let rest: u64 = parts[2..].iter().map(|part| part.size + 2 * MIB).sum();
            table += &format!("start={}, size={}, type=5\n", at / 512, rest / 512);
        }
        at += 2 * MIB;
        let name = if label == "dos" && number >= 2 { format!("{}: ", number + 3) } else { String::new() };
        table += &format!("{name}start={}, size={}\n", at / 512, part.size / 512);
        places.push(at);
        at += part.size;
    }
    let image = lab.path(&format!("{label}.raw"));
    File::create(&image).unwrap().set_len(at + 4 * MIB).unwrap();
    std::fs::write(lab.path("table"), table).unwrap();
    script(r#"sfdisk -q "$1" <"$2" >&2"#, &[&image, &lab.path("table")]);
    for (part, place) in parts.iter().zip(&places) {
        let text = r#"dd if="$1" of="$2" bs=1M seek=SEEK conv=sparse,notrunc status=none"#;
        script(&text.replace("SEEK", &(place / MIB).to_string()), &[&part.image, &image]);
    }
    // A boot loader behind the table, and what nobody has put into any partition.
    poke(&image, 40_000, b"stage one and a half");
    poke(&image, at + MIB, b"beyond the last partition");
    (image, places)
}

fn cut(image: &Path, place: u64, size: u64, into: &Path) {
    let text =
        r#"dd if="$1" of="$2" bs=1M skip=SKIP count=COUNT conv=sparse status=none; truncate -s SIZE "$2""#;
    let text = text.replace("SKIP", &(place / MIB).to_string()).replace("COUNT", &(size / MIB).to_string());
    script(&text.replace("SIZE", &size.to_string()), &[image, into]);
}

#[test]
fn a_disk_of_everything_arrives_in_partitions_of_both_kinds() {
    if !can_mount(TOOLS) {
        return;
    }
    let lab = Lab::new();
    let parts = parts(&lab);
    let trees: Vec<_> = parts
        .iter()
        .map(|part| match part.copy {
            Copy::Live { options, .. } => tree(&part.image, 0, options),
            Copy::Whole => String::new(),
        })
        .collect();
    for label in ["gpt", "dos"] {
        let (image, places) = assemble(&lab, &parts, label);
        let target = lab.path(&format!("{label}.target"));
        let receiver = lab.receive(target.to_str().unwrap(), &["--verify-target"]);
        let sender = lab.send(image.to_str().unwrap(), &receiver.address(), &[]).end();
        assert_eq!(sender.code, Some(0), "{sender:?}");
        let (sent, received) = (&sender.last, receiver.success());
        assert_eq!(sent["digest"], received["digest"]);
        let live = binary().args(["digest", "--live", "--from"]).arg(&image).output().unwrap();
        assert_eq!(sent["digest"].as_str(), Some(String::from_utf8(live.stdout).unwrap().trim()));
        assert_eq!(sent["digest"].as_str(), Some(&*digest(target.to_str().unwrap())));
        assert!(sent["bytes_free"].as_u64().unwrap() > 10 * MIB, "{sent}");
        for ((part, place), tree_before) in parts.iter().zip(&places).zip(&trees) {
            let copy = lab.path("copy");
            cut(&target, *place, part.size, &copy);
            match part.copy {
                Copy::Live { options, check } => {
                    script(check, &[&copy]);
                    assert_eq!(&tree(&copy, 0, options), tree_before, "{} in {label}", part.content);
                }
                Copy::Whole => {
                    script(r#"cmp "$1" "$2""#, &[&part.image, &copy]);
                }
            }
        }
        outside_is_the_same(&image, &target, &places, &parts);
        std::fs::remove_file(&image).unwrap();
        std::fs::remove_file(&target).unwrap();
    }
}

/// The tables, and all that is in no partition.
fn outside_is_the_same(image: &Path, target: &Path, places: &[u64], parts: &[Part]) {
    let (ours, theirs) = (File::open(target).unwrap(), File::open(image).unwrap());
    let size = theirs.metadata().unwrap().len();
    let starts = std::iter::once(0).chain(places.iter().zip(parts).map(|(place, part)| place + part.size));
    for (start, end) in starts.zip(places.iter().copied().chain([size])) {
        let mut both = [vec![0; (end - start) as usize], vec![1; (end - start) as usize]];
        ours.read_exact_at(&mut both[0], start).unwrap();
        theirs.read_exact_at(&mut both[1], start).unwrap();
        assert!(both[0] == both[1], "{start} to {end}");
    }
}
