//! btrfs on one device, with each chunk once or twice on it: what no chunk takes, and within the chunks what the extent
//! tree does not name.

mod chunks;
mod extents;
mod superblock;
mod tree;

use super::free::Free;
use super::view::{Doubt, View};
use chunks::Chunks;
use superblock::{MAGIC, MIRROR_BYTES, MIRRORS, RESERVED, SUPERBLOCK, Superblock};

pub async fn marked(view: &View<'_>) -> Result<bool, Doubt> {
    let there = view.length() >= SUPERBLOCK + 4096;
    Ok(there && view.read(SUPERBLOCK + 0x40, 8).await?.bytes() == MAGIC)
}

pub async fn free_space(view: &View<'_>) -> Result<(&'static str, Free), Doubt> {
    let superblock = Superblock::read(view).await?;
    let chunks = Chunks::read(view, &superblock).await?;
    let unused = chunks.unused(RESERVED..superblock.device_bytes)?;
    let within = extents::free(view, &superblock, &chunks).await?;
    let mut free = Free::sorted([unused, within].concat());
    for mirror in MIRRORS {
        // They lie inside of chunks, where nothing is allotted to them.
        free.keep(mirror..mirror + MIRROR_BYTES);
    }
    Ok(("btrfs", free))
}
