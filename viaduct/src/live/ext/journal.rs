//! The journal inside of the file system: found through its inode, and required to hold nothing to replay. The superblock
//! says so too; a disagreement between the two is what a file system check would stop at.

use super::super::view::{Doubt, Fields, View, doubt, require};
use super::groups::Groups;
use super::superblock::Superblock;

const JOURNAL_MAGIC: u32 = 0xc03b_3998;
const EXTENTS_FLAG: u32 = 0x8_0000;
const EXTENT_MAGIC: u16 = 0xf30a;
const DEPTH_MAX: u16 = 5;
/// Where an inode says where its blocks are.
const MAP: usize = 40;

pub async fn is_empty(view: &View<'_>, sb: &Superblock, groups: &Groups) -> Result<(), Doubt> {
    let Some(number) = sb.journal else { return Ok(()) };
    let inode = view.read(groups.inode(sb, number)?, sb.inode_bytes).await?;
    let block = first_block(view, sb, &inode).await?;
    require(block > 0 && block < sb.blocks, "its journal is nowhere")?;
    let journal = view.read(block * sb.block_bytes, 1024).await?;
    let known = journal.be32(0)? == JOURNAL_MAGIC && matches!(journal.be32(4)?, 3 | 4);
    require(known, "its journal is not understood")?;
    require(journal.be32(28)? == 0, "its journal has to be replayed")?;
    require(journal.be32(32)? == 0, "its journal has met an error")
}

async fn first_block(view: &View<'_>, sb: &Superblock, inode: &Fields) -> Result<u64, Doubt> {
    if inode.le32(32)? & EXTENTS_FLAG == 0 {
        return Ok(inode.le32(MAP)?.into());
    }
    let (mut node, mut at) = (inode.clone(), MAP);
    for _ in 0..=DEPTH_MAX {
        let (entries, depth) = (node.le16(at + 2)?, node.le16(at + 6)?);
        let known = node.le16(at)? == EXTENT_MAGIC && entries > 0 && depth <= DEPTH_MAX;
        require(known && node.le32(at + 12)? == 0, "its journal is not understood")?;
        if depth == 0 {
            return Ok(u64::from(node.le16(at + 18)?) << 32 | u64::from(node.le32(at + 20)?));
        }
        let block = u64::from(node.le16(at + 20)?) << 32 | u64::from(node.le32(at + 16)?);
        require(block < sb.blocks, "its journal is nowhere")?;
        node = view.read(block * sb.block_bytes, sb.block_bytes).await?;
        at = 0;
    }
    doubt("its journal is not understood")
}
