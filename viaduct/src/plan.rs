//! Turns a source's extents into work: blocks to read, and runs of blocks that are zeros without being read.

use crate::blocks::Geometry;
use crate::ends::Source;
use crate::error::Result;
use std::ops::Range;

/// Data ranges inside a block that are closer than this are read as one.
const MERGE_BYTES: u64 = 64 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// These parts of the block may hold data; the rest of it is zeros. Byte ranges of the disk, in order, not empty.
    Read { index: u64, parts: Vec<Range<u64>> },
    /// The source says that the block is what the receiver has; not to be read.
    Kept { index: u64 },
    /// The same, to be read all the same, to see whether that is true.
    Probe { index: u64 },
    /// Whole blocks of zeros.
    Zeros { blocks: Range<u64> },
}

/// Walks the disk, or a part of it, once, in order. Holds one extent at a time.
#[derive(Debug)]
pub(crate) struct Planner<'a> {
    source: &'a dyn Source,
    geometry: Geometry,
    block: u64,
    end: u64,
    /// The extent at or after the current block; `None` before the first question and after the last answer.
    extent: Option<Range<u64>>,
    asked: bool,
}

impl<'a> Planner<'a> {
    pub fn new(source: &'a dyn Source, geometry: Geometry) -> Planner<'a> {
        Planner::of_part(source, geometry, 0..geometry.blocks())
    }

    pub fn of_part(source: &'a dyn Source, geometry: Geometry, blocks: Range<u64>) -> Planner<'a> {
        Planner { source, geometry, block: blocks.start, end: blocks.end, extent: None, asked: false }
    }

    pub async fn next(&mut self) -> Result<Option<Work>> {
        if self.block >= self.end {
            return Ok(None);
        }
        if !self.asked {
            self.ask(self.geometry.offset(self.block)).await?;
            self.asked = true;
        }
        let Some(extent) = &self.extent else {
            return Ok(Some(self.zeros_until(self.end)));
        };
        // The source may be larger than what is looked at.
        let first = (extent.start / u64::from(self.geometry.block_bytes())).min(self.end);
        if first > self.block {
            return Ok(Some(self.zeros_until(first)));
        }
        let parts = self.parts_of_block().await?;
        let work = Work::Read { index: self.block, parts };
        self.block += 1;
        Ok(Some(work))
    }

    fn zeros_until(&mut self, end: u64) -> Work {
        let blocks = self.block..end;
        self.block = end;
        Work::Zeros { blocks }
    }

    /// Consumes the extents that begin within the current block.
    async fn parts_of_block(&mut self) -> Result<Vec<Range<u64>>> {
        let block = self.geometry.bytes_of(self.block);
        let mut parts: Vec<Range<u64>> = Vec::new();
        while let Some(extent) = self.extent.clone().filter(|extent| extent.start < block.end) {
            let part = extent.start.max(block.start)..extent.end.min(block.end);
            match parts.last_mut() {
                Some(last) if part.start - last.end < MERGE_BYTES => last.end = part.end,
                _ => parts.push(part),
            }
            if extent.end > block.end {
                // The rest belongs to the next block.
                self.extent = Some(block.end..extent.end);
                break;
            }
            self.ask(extent.end).await?;
        }
        Ok(parts)
    }

    async fn ask(&mut self, from: u64) -> Result<()> {
        self.extent = self.source.next_data(from).await?;
        Ok(())
    }
}

/// The bytes that may hold data, in the grain in which a target leaves holes: the most a copy can take there.
pub(crate) async fn data_bytes(source: &dyn Source) -> Result<u64> {
    let grain = crate::limits::HOLE_GRAIN as u64;
    let (mut total, mut counted) = (0, 0);
    let mut at = 0;
    while let Some(extent) = source.next_data(at).await? {
        let start = (extent.start / grain * grain).max(counted);
        let end = extent.end.next_multiple_of(grain).min(source.size());
        total += end.saturating_sub(start);
        (counted, at) = (end.max(counted), extent.end);
    }
    Ok(total)
}

/// The block before which lie so many bytes of data, or a little less.
pub(crate) async fn block_after(source: &dyn Source, geometry: Geometry, data: u64) -> Result<u64> {
    let (mut left, mut at) = (data, 0);
    while let Some(extent) = source.next_data(at).await? {
        let length = extent.end - extent.start;
        if length >= left {
            return Ok((extent.start + left) / u64::from(geometry.block_bytes()));
        }
        (left, at) = (left - length, extent.end);
    }
    Ok(geometry.blocks())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::MemoryDisk;
    use crate::limits::BLOCK_BYTES_MIN;
    use proptest::prelude::*;

    fn disk() -> impl Strategy<Value = Vec<u8>> {
        let piece = (any::<bool>(), 1usize..150_000);
        (proptest::collection::vec(piece, 0..8)).prop_map(|pieces| {
            pieces
                .into_iter()
                .flat_map(|(data, length)| std::iter::repeat_n(u8::from(data), length))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn work_covers_the_disk_once_and_reads_every_byte_of_data(bytes in disk()) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let disk = MemoryDisk::new(bytes.clone());
                let geometry = Geometry::new(bytes.len() as u64, BLOCK_BYTES_MIN).unwrap();
                let mut planner = Planner::new(&disk, geometry);
                let mut rebuilt = vec![0; bytes.len()];
                let (mut block, mut read) = (0, 0);
                while let Some(work) = planner.next().await.unwrap() {
                    match work {
                        Work::Zeros { blocks } => {
                            assert_eq!(blocks.start, block);
                            assert!(blocks.end > blocks.start);
                            block = blocks.end;
                        }
                        Work::Kept { .. } | Work::Probe { .. } => unreachable!("the planner asks nobody"),
                        Work::Read { index, parts } => {
                            assert_eq!(index, block);
                            block += 1;
                            let mut at = geometry.bytes_of(index).start;
                            assert!(!parts.is_empty());
                            for part in parts {
                                assert!(part.start >= at && part.end > part.start);
                                at = part.end;
                                read += part.end - part.start;
                                let part = part.start as usize..part.end as usize;
                                rebuilt[part.clone()].copy_from_slice(&bytes[part]);
                            }
                            assert!(at <= geometry.bytes_of(index).end);
                        }
                    }
                }
                assert_eq!(block, geometry.blocks());
                assert!(rebuilt == bytes);
                // In two parts it is the same work, but for zeros that are cut in two.
                let half = block_after(&disk, geometry, bytes.len() as u64 / 2).await.unwrap();
                let mut reads = [Vec::new(), Vec::new()];
                for (middle, reads) in [0, half].into_iter().zip(&mut reads) {
                    for part in [0..middle, middle..block] {
                        let mut planner = Planner::of_part(&disk, geometry, part.clone());
                        while let Some(work) = planner.next().await.unwrap() {
                            match work {
                                Work::Zeros { blocks } => assert!(blocks.end <= part.end),
                                work => reads.push(work),
                            }
                        }
                    }
                }
                assert_eq!(reads[0], reads[1]);
                let data = bytes.iter().filter(|byte| **byte != 0).count() as u64;
                let estimate = data_bytes(&disk).await.unwrap();
                assert!(estimate >= data && estimate <= bytes.len() as u64);
                assert!(read >= data);
            });
        }
    }
}
