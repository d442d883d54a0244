//! What the extent tree names is in use: data, and every node of every tree, its own among them.

use super::super::view::{Doubt, View, doubt, require};
use super::chunks::{Chunk, Chunks};
use super::superblock::{Root, Superblock};
use super::tree::Tree;
use std::ops::Range;

const ROOT_ITEM: u8 = 132;
const EXTENT_TREE: u64 = 2;
const EXTENT_ITEM: u8 = 168;
const METADATA_ITEM: u8 = 169;
/// Ranges that are worth to be told; so many of them at most, so that memory stays bounded.
const GRAIN: u64 = 4096;
const RANGES_MAX: usize = 1 << 19;

/// What is free inside of the chunks, on the device, in no order.
pub async fn free(view: &View<'_>, sb: &Superblock, chunks: &Chunks) -> Result<Vec<Range<u64>>, Doubt> {
    let root = extent_root(view, sb, chunks).await?;
    let mut tree = Tree::new(view, sb, chunks, root)?;
    let mut gaps = Gaps { chunks: chunks.all(), at: 0, free: Vec::new(), grain: GRAIN };
    let (mut used, mut end) = (0, 0);
    while let Some((key, _)) = tree.next().await? {
        let length = match key.kind {
            EXTENT_ITEM => key.offset,
            METADATA_ITEM => sb.node_bytes,
            _ => continue,
        };
        require(length > 0 && key.object >= end, "its extents overlap")?;
        // It must lie in one chunk; then its end does not overflow either.
        chunks.place(key.object, length)?;
        gaps.until(key.object);
        end = key.object + length;
        gaps.at = end;
        used += length;
    }
    gaps.until(u64::MAX);
    require(used == sb.bytes_used, "its superblock and its extents disagree about the space in use")?;
    Ok(gaps.free)
}

async fn extent_root(view: &View<'_>, sb: &Superblock, chunks: &Chunks) -> Result<Root, Doubt> {
    let mut tree = Tree::new(view, sb, chunks, sb.roots)?;
    while let Some((key, item)) = tree.next().await? {
        if key.object == EXTENT_TREE && key.kind == ROOT_ITEM {
            return Ok(Root { at: item.le64(176)?, level: item.byte(238)?, generation: item.le64(160)? });
        }
    }
    doubt("it has no extent tree")
}

/// Collects what lies between extents.
struct Gaps<'a> {
    /// Those that may still have gaps.
    chunks: &'a [Chunk],
    /// Up to where the logical space is known.
    at: u64,
    free: Vec<Range<u64>>,
    grain: u64,
}

impl Gaps<'_> {
    /// What is in chunks from where we are to `end` is free.
    fn until(&mut self, end: u64) {
        while let Some(chunk) = self.chunks.first() {
            let gap = chunk.logical.start.max(self.at)..chunk.logical.end.min(end);
            if gap.start < gap.end && gap.end - gap.start >= self.grain {
                for copy in &chunk.copies {
                    let start = copy + (gap.start - chunk.logical.start);
                    self.free.push(start..start + (gap.end - gap.start));
                }
                self.bound();
            }
            if chunk.logical.end > end {
                return;
            }
            self.chunks = &self.chunks[1..];
        }
    }

    /// Forgets the smallest where there are too many.
    fn bound(&mut self) {
        while self.free.len() > RANGES_MAX {
            self.grain *= 2;
            let grain = self.grain;
            self.free.retain(|range| range.end - range.start >= grain);
        }
    }
}
