//! xfs: the free space of every allocation group, from the btree that keeps it by block number, once the log is known to
//! end with an unmount.

mod group;
mod log;
mod superblock;

use super::free::Free;
use super::view::{Doubt, View, require};
use superblock::Superblock;

const MAGIC: &[u8] = b"XFSB";

pub async fn marked(view: &View<'_>) -> Result<bool, Doubt> {
    Ok(view.length() >= 512 && view.read(0, 4).await?.bytes() == MAGIC)
}

pub async fn free_space(view: &View<'_>) -> Result<(&'static str, Free), Doubt> {
    let superblock = Superblock::read(view).await?;
    log::is_clean(view, &superblock).await?;
    let (mut free, mut total) = (Free::default(), 0);
    for group in 0..superblock.groups {
        let found = group::read(view, &superblock, group, &mut free).await?;
        total += found;
    }
    require(total == superblock.free_blocks, "its superblock and its groups disagree about the free space")?;
    Ok(("xfs", free))
}
