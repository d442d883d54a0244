//! ext2, ext3 and ext4: the free clusters of every block group's bitmap, once all that describes them agrees.

mod groups;
mod journal;
mod superblock;

use super::free::Free;
use super::view::{Doubt, View, require};
use groups::Groups;
use superblock::Superblock;

const SUPERBLOCK: u64 = 1024;
const MAGIC_AT: u64 = SUPERBLOCK + 56;

pub async fn marked(view: &View<'_>) -> Result<bool, Doubt> {
    let there = view.length() >= 2 * SUPERBLOCK;
    Ok(there && view.read(MAGIC_AT, 2).await?.bytes() == [0x53, 0xef])
}

pub async fn free_space(view: &View<'_>) -> Result<(&'static str, Free), Doubt> {
    let superblock = Superblock::read(view).await?;
    let groups = Groups::read(view, &superblock).await?;
    journal::is_empty(view, &superblock, &groups).await?;
    let mut free = Free::default();
    let mut clusters_free = 0;
    for group in 0..superblock.groups {
        let bitmap = groups.bitmap(view, &superblock, group).await?;
        clusters_free += u64::from(bitmap.free);
        let first = superblock.first_block_of(group);
        for run in bitmap.free_runs() {
            let start = first + run.start * superblock.blocks_per_cluster;
            let end = (first + run.end * superblock.blocks_per_cluster).min(superblock.blocks);
            free.push(start * superblock.block_bytes..end * superblock.block_bytes);
        }
    }
    require(
        clusters_free * superblock.blocks_per_cluster == superblock.free_blocks,
        "its superblock and its groups disagree about the free space",
    )?;
    Ok((superblock.name(), free))
}
