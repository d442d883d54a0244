//! The marks of what is not read here, and must not be taken for what it may have been earlier: encrypted volumes, volume
//! managers, members of arrays, swap, other file systems.

use super::survey::Content;
use super::view::{Doubt, View};

/// Name, offset, bytes.
const MARKS: &[(&str, u64, &[u8])] = &[
    ("luks", 0, b"LUKS\xba\xbe"),
    ("bitlocker", 3, b"-FVE-FS-"),
    ("integrity", 0, b"integrt\0"),
    ("verity", 0, b"verity\0\0"),
    ("lvm", 0, b"LABELONE"),
    ("lvm", 512, b"LABELONE"),
    ("lvm", 1024, b"LABELONE"),
    ("lvm", 1536, b"LABELONE"),
    ("md", 0, MD),
    ("md", 4096, MD),
    ("bcache", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("swap", 4086, b"SWAP-SPACE"),
    ("swap", 4086, b"S1SUSPEND"),
    ("swap", 65526, b"SWAPSPACE2"),
    ("ntfs", 3, b"NTFS    "),
    ("exfat", 3, b"EXFAT   "),
    ("fat", 54, b"FAT1"),
    ("fat", 82, b"FAT32"),
    ("iso9660", 32769, b"CD001"),
    ("squashfs", 0, b"hsqs"),
    ("f2fs", 1024, b"\x10\x20\xf5\xf2"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("bluestore", 0, b"bluestore block device"),
    ("vmfs", 0x10_0000, b"\x0d\xd0\x01\xc0"),
    ("reiserfs", 65588, b"ReIsEr"),
    ("jfs", 32768, b"JFS1"),
    ("ocfs2", 4096, b"OCFSV2"),
    ("gfs2", 65536, b"\x01\x16\x19\x70\0\0\0\x01"),
];

const MD: &[u8] = b"\xfc\x4e\x2b\xa9";
/// Where ZFS keeps the newest of its roots: a ring of them in each label.
const ZFS_RING: std::ops::Range<u64> = 128 << 10..256 << 10;
const ZFS: u64 = 0x00ba_b10c;

pub async fn seen(view: &View<'_>) -> Result<Vec<Content>, Doubt> {
    let mut seen = Vec::new();
    for (name, at, bytes) in MARKS {
        if at_is(view, *at, bytes).await? {
            seen.push(Content::Foreign(name));
        }
    }
    if zfs(view).await? {
        seen.push(Content::Foreign("zfs"));
    }
    // These stand at the end, so that the start looks like what is inside.
    let length = view.length();
    for at in [(length & !0xffff).checked_sub(0x1_0000), length.checked_sub(0x2000).map(|at| at & !0xfff)] {
        if let Some(at) = at
            && at_is(view, at, MD).await?
        {
            seen.push(Content::Foreign("md"));
        }
    }
    if let Some(at) = length.checked_sub(1024)
        && at_is(view, at, b"Intel Raid ISM").await?
    {
        seen.push(Content::Foreign("imsm"));
    }
    if let Some(at) = length.checked_sub(512)
        && at_is(view, at, b"\xde\x11\xde\x11").await?
    {
        seen.push(Content::Foreign("ddf"));
    }
    seen.dedup();
    Ok(seen)
}

async fn at_is(view: &View<'_>, at: u64, bytes: &[u8]) -> Result<bool, Doubt> {
    let length = bytes.len() as u64;
    if at.checked_add(length).is_none_or(|end| end > view.length()) {
        return Ok(false);
    }
    Ok(view.read(at, length).await?.bytes() == bytes)
}

async fn zfs(view: &View<'_>) -> Result<bool, Doubt> {
    if view.length() < ZFS_RING.end {
        return Ok(false);
    }
    let ring = view.read(ZFS_RING.start, ZFS_RING.end - ZFS_RING.start).await?;
    let marked = |at: usize| [ring.le64(at), ring.be64(at)].contains(&Ok(ZFS));
    // A live ring has many; one alone may be any file's content.
    Ok((0..128).filter(|slot| marked(slot * 1024)).count() >= 2)
}
