//! One allocation group: its header, and the btree of free extents by block number.

use super::super::crc::crc32c;
use super::super::free::Free;
use super::super::view::{Doubt, Fields, View, require};
use super::superblock::Superblock;

const HEADER: &[u8] = b"XAGF";
const HEADER_CRC_AT: usize = 216;
const NODE_V4: &[u8] = b"ABTB";
const NODE_V5: &[u8] = b"AB3B";
const NODE_CRC_AT: usize = 52;
const LEVELS_MAX: u32 = 10;
const NOBODY: u32 = u32::MAX;

/// Adds what the group has free, and says how many blocks the superblock takes for free in it.
pub async fn read(view: &View<'_>, sb: &Superblock, number: u64, free: &mut Free) -> Result<u64, Doubt> {
    let start = number * sb.group_blocks * sb.block_bytes;
    let header = view.read(start + sb.sector_bytes, sb.sector_bytes).await?;
    require(header.slice(0, 4)? == HEADER && header.be32(4)? == 1, "a group has no header")?;
    if sb.version == 5 {
        let right = crc32c(&header.without(HEADER_CRC_AT, 4)?) == header.le32(HEADER_CRC_AT)?;
        require(right && header.slice(64, 16)? == sb.meta_uuid, "a group's header has a wrong checksum")?;
    }
    let blocks = sb.blocks_of(number);
    let same = u64::from(header.be32(8)?) == number && u64::from(header.be32(12)?) == blocks;
    require(same, "a group's header speaks of another one")?;
    let levels = header.be32(28)?;
    require((1..=LEVELS_MAX).contains(&levels), "a group's btree makes no sense")?;
    let tree = Tree { view, sb, number, start, blocks };
    let (mut leaf, first_node) = tree.first_leaf(header.be32(16)?, levels).await?;
    let (mut found, mut end, mut left) = (0, 0, NOBODY);
    let mut node = first_node;
    // Each leaf has at least one free extent behind those before it, so that this ends.
    loop {
        require(node.be32(8)? == left, "a group's btree makes no sense")?;
        let records = node.be16(6)?;
        require(records > 0 || (levels == 1 && found == 0), "a group's btree makes no sense")?;
        for record in 0..usize::from(records) {
            let at = tree.header_bytes() + 8 * record;
            let (first, count) = (u64::from(node.be32(at)?), u64::from(node.be32(at + 4)?));
            let sane = first >= end && count > 0 && first + count <= blocks && (first > end || end == 0);
            require(sane, "a group's free extents overlap, or lie outside of it")?;
            // The sectors of the headers are never free.
            require(first * sb.block_bytes >= 4 * sb.sector_bytes, "a group's header is called free")?;
            end = first + count;
            found += count;
            free.push(start + first * sb.block_bytes..start + end * sb.block_bytes);
        }
        let right = node.be32(12)?;
        if right == NOBODY {
            break;
        }
        (left, leaf) = (leaf, right);
        node = tree.node(leaf, 0).await?;
    }
    require(found == u64::from(header.be32(52)?), "a group and its btree disagree about the free space")?;
    // The superblock counts as free what the free-space btrees and their reserve of blocks take, too.
    Ok(found + u64::from(header.be32(48)?) + u64::from(header.be32(60)?))
}

struct Tree<'a> {
    view: &'a View<'a>,
    sb: &'a Superblock,
    number: u64,
    start: u64,
    blocks: u64,
}

impl Tree<'_> {
    fn header_bytes(&self) -> usize {
        if self.sb.version == 5 { 56 } else { 16 }
    }

    async fn first_leaf(&self, root: u32, levels: u32) -> Result<(u32, Fields), Doubt> {
        let header = self.header_bytes();
        // A node holds keys of 8 bytes, as many as would fit, and then as many pointers of 4.
        let pointers = header + (self.sb.block_bytes as usize - header) / 12 * 8;
        let (mut block, mut level) = (root, levels - 1);
        loop {
            let node = self.node(block, level).await?;
            if level == 0 {
                return Ok((block, node));
            }
            require(node.be16(6)? > 0, "a group's btree makes no sense")?;
            (block, level) = (node.be32(pointers)?, level - 1);
        }
    }

    async fn node(&self, block: u32, level: u32) -> Result<Fields, Doubt> {
        require(u64::from(block) < self.blocks, "a group's btree leaves it")?;
        let offset = self.start + u64::from(block) * self.sb.block_bytes;
        let node = self.view.read(offset, self.sb.block_bytes).await?;
        let magic = if self.sb.version == 5 { NODE_V5 } else { NODE_V4 };
        let known = node.slice(0, 4)? == magic && u32::from(node.be16(4)?) == level;
        require(known, "a group's btree makes no sense")?;
        if self.sb.version == 5 {
            let right = crc32c(&node.without(NODE_CRC_AT, 4)?) == node.le32(NODE_CRC_AT)?;
            require(right, "a group's btree has a wrong checksum")?;
            let own = node.be64(16)? == offset / 512
                && node.slice(32, 16)? == self.sb.meta_uuid
                && u64::from(node.be32(48)?) == self.number;
            require(own, "a group's btree belongs to another")?;
        }
        Ok(node)
    }
}
