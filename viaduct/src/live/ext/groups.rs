//! The block groups: their descriptors, and the bitmap of each with everything in it that the metadata occupies.

use super::super::crc::{crc16, crc32c_raw};
use super::super::view::{Doubt, Fields, View, require};
use super::superblock::{Checksums, Superblock};
use std::ops::Range;

const CHECKSUM_AT: usize = 0x1e;
/// The bitmap of such a group was never written: its blocks are free but for what must be there.
const BLOCK_UNINIT: u16 = 0x2;

#[derive(Debug)]
struct Group {
    bitmap: u64,
    inode_table: u64,
    free: u32,
    uninit: bool,
    checksum: u32,
}

#[derive(Debug)]
pub struct Groups {
    groups: Vec<Group>,
    /// Blocks of bitmaps and inode tables, wherever they stand: in order, apart from each other.
    metadata: Vec<Range<u64>>,
}

/// The clusters of one group; a bit that is set is in use.
#[derive(Debug)]
pub struct Bitmap {
    bits: Vec<u8>,
    clusters: u64,
    pub free: u32,
}

impl Groups {
    pub async fn read(view: &View<'_>, sb: &Superblock) -> Result<Groups, Doubt> {
        let (mut groups, mut metadata) = (Vec::new(), Vec::new());
        for number in 0..sb.groups.div_ceil(sb.descriptors_per_block()) {
            let block = view.read(sb.descriptor_block(number) * sb.block_bytes, sb.block_bytes).await?;
            let first = number * sb.descriptors_per_block();
            for group in first..(first + sb.descriptors_per_block()).min(sb.groups) {
                let at = ((group - first) * sb.descriptor_bytes) as usize;
                check(&block, at, group, sb)?;
                groups.push(describe(&block, at, sb, &mut metadata)?);
            }
        }
        metadata.sort_by_key(|range| range.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in metadata {
            require(
                range.end <= sb.blocks && range.start >= sb.first_data_block,
                "a block group points outside",
            )?;
            match merged.last_mut() {
                Some(last) if range.start < last.end => {
                    return Err(Doubt("its block groups share metadata".into()));
                }
                Some(last) if range.start == last.end => last.end = range.end,
                _ => merged.push(range),
            }
        }
        Ok(Groups { groups, metadata: merged })
    }

    /// Where an inode is, in bytes.
    pub fn inode(&self, sb: &Superblock, number: u64) -> Result<u64, Doubt> {
        let index = number.wrapping_sub(1);
        let group = self.groups.get((index / sb.inodes_per_group) as usize);
        let Some(group) = group else { return Err(Doubt("an inode is outside of its groups".into())) };
        Ok(group.inode_table * sb.block_bytes + index % sb.inodes_per_group * sb.inode_bytes)
    }

    /// The bitmap of a group, found to agree with its descriptor and with where the metadata is.
    pub async fn bitmap(&self, view: &View<'_>, sb: &Superblock, number: u64) -> Result<Bitmap, Doubt> {
        let group = &self.groups[number as usize];
        let clusters = sb.blocks_of(number).div_ceil(sb.blocks_per_cluster);
        let length = sb.blocks_per_group / sb.blocks_per_cluster / 8;
        let mut bitmap = if group.uninit {
            let mut bitmap = Bitmap { bits: vec![0; length as usize], clusters, free: 0 };
            bitmap.mark(0..sb.leading_blocks(number).div_ceil(sb.blocks_per_cluster));
            bitmap
        } else {
            let bits = view.read(group.bitmap * sb.block_bytes, length).await?.bytes().to_vec();
            if let Checksums::All { seed } = sb.checksums {
                let mask = if sb.descriptor_bytes >= 64 { u32::MAX } else { 0xffff };
                let right = crc32c_raw(seed, &bits) & mask == group.checksum;
                require(right, "a bitmap has a wrong checksum")?;
            }
            Bitmap { bits, clusters, free: 0 }
        };
        let first = sb.first_block_of(number);
        let end = first + sb.blocks_of(number);
        let from = self.metadata.partition_point(|range| range.end <= first);
        for range in self.metadata[from..].iter().take_while(|range| range.start < end) {
            let blocks = range.start.max(first) - first..range.end.min(end) - first;
            let clusters = blocks.start / sb.blocks_per_cluster..blocks.end.div_ceil(sb.blocks_per_cluster);
            require(bitmap.mark(clusters) || group.uninit, "a bitmap calls metadata free")?;
        }
        bitmap.free = bitmap.free_runs().map(|run| (run.end - run.start) as u32).sum();
        require(bitmap.free == group.free, "a bitmap and its block group disagree")?;
        Ok(bitmap)
    }
}

impl Bitmap {
    /// Marks clusters as in use; whether all of them were.
    fn mark(&mut self, clusters: Range<u64>) -> bool {
        let mut all = true;
        for cluster in clusters {
            if let Some(byte) = self.bits.get_mut(cluster as usize / 8) {
                let bit = 1 << (cluster % 8);
                all &= *byte & bit != 0;
                *byte |= bit;
            }
        }
        all
    }

    /// Clusters within the group.
    pub fn free_runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, false)?;
            at = self.next(start, true).unwrap_or(self.clusters);
            Some(start..at)
        })
    }

    /// The first cluster from `at` on that is in use, or that is free.
    fn next(&self, mut at: u64, used: bool) -> Option<u64> {
        let skip = if used { 0 } else { 0xff };
        while at < self.clusters {
            let byte = *self.bits.get(at as usize / 8)?;
            if at.is_multiple_of(8) && byte == skip {
                at += 8;
            } else if (byte >> (at % 8) & 1 == 1) == used {
                return Some(at);
            } else {
                at += 1;
            }
        }
        None
    }
}

fn describe(
    block: &Fields,
    at: usize,
    sb: &Superblock,
    metadata: &mut Vec<Range<u64>>,
) -> Result<Group, Doubt> {
    let wide = sb.descriptor_bytes >= 64;
    let pointer = |low: usize, high: usize| -> Result<u64, Doubt> {
        let high = if wide { block.le32(at + high)? } else { 0 };
        Ok(u64::from(high) << 32 | u64::from(block.le32(at + low)?))
    };
    let half = |low: usize, high: usize| -> Result<u32, Doubt> {
        let high = if wide { block.le16(at + high)? } else { 0 };
        Ok(u32::from(high) << 16 | u32::from(block.le16(at + low)?))
    };
    let (bitmap, inode_bitmap, inode_table) = (pointer(0, 0x20)?, pointer(4, 0x24)?, pointer(8, 0x28)?);
    for (start, blocks) in [(bitmap, 1), (inode_bitmap, 1), (inode_table, sb.inode_table_blocks())] {
        require(start < sb.blocks, "a block group points outside")?;
        metadata.push(start..start + blocks);
    }
    let uninit = block.le16(at + 18)? & BLOCK_UNINIT != 0;
    // Without checksums the flag means nothing to anybody.
    require(!uninit || sb.checksums != Checksums::None, "a block group has a flag that it cannot have")?;
    Ok(Group { bitmap, inode_table, free: half(12, 0x2c)?, uninit, checksum: half(24, 0x38)? })
}

fn check(block: &Fields, at: usize, number: u64, sb: &Superblock) -> Result<(), Doubt> {
    let descriptor = block.slice(at, sb.descriptor_bytes as usize)?;
    let (before, stored) = descriptor.split_at(CHECKSUM_AT);
    let (stored, after) = stored.split_at(2);
    let stored = u16::from_le_bytes([stored[0], stored[1]]);
    let number = (number as u32).to_le_bytes();
    let found = match sb.checksums {
        Checksums::None => return Ok(()),
        Checksums::Descriptors { uuid } => {
            let crc = crc16(crc16(crc16(!0, &uuid), &number), before);
            crc16(crc, after)
        }
        Checksums::All { seed } => {
            let crc = crc32c_raw(crc32c_raw(seed, &number), before);
            crc32c_raw(crc32c_raw(crc, &[0; 2]), after) as u16
        }
    };
    require(found == stored, "a block group has a wrong checksum")
}
