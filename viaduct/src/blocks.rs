//! The arithmetic of a disk cut into fixed blocks. Pure; refuses disks and blocks outside the bounds.

use crate::error::{Error, Result};
use crate::limits::{BLOCK_BYTES, BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BLOCKS_MAX};
use std::ops::Range;

/// A disk of `size` bytes in blocks of `block_bytes` (a power of two); the last block may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    size: u64,
    block_bytes: u32,
}

impl Geometry {
    pub fn new(size: u64, block_bytes: u32) -> Result<Geometry> {
        if !block_bytes.is_power_of_two() || !(BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&block_bytes) {
            return Err(Error::usage(
                format!("block size {block_bytes}"),
                "it is not a power of two within the bounds",
                format!("use a power of two from {BLOCK_BYTES_MIN} to {BLOCK_BYTES_MAX}"),
            ));
        }
        if size.div_ceil(u64::from(block_bytes)) > BLOCKS_MAX {
            return Err(Error::usage(
                format!("a disk of {size} bytes in blocks of {block_bytes}"),
                format!("it has more than {BLOCKS_MAX} blocks"),
                "use larger blocks: --block-size",
            ));
        }
        Ok(Geometry { size, block_bytes })
    }

    /// The geometry both ends use when nobody asks for another one: 1 MiB blocks, larger ones beyond 2 TiB.
    pub fn for_size(size: u64) -> Result<Geometry> {
        let mut block_bytes = BLOCK_BYTES;
        while block_bytes < BLOCK_BYTES_MAX && size.div_ceil(u64::from(block_bytes)) > BLOCKS_MAX {
            block_bytes *= 2;
        }
        Geometry::new(size, block_bytes)
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn block_bytes(&self) -> u32 {
        self.block_bytes
    }

    pub fn blocks(&self) -> u64 {
        self.size.div_ceil(u64::from(self.block_bytes))
    }

    pub fn offset(&self, index: u64) -> u64 {
        index * u64::from(self.block_bytes)
    }

    /// The bytes of one block; `index` must be below [`Geometry::blocks`].
    pub fn bytes_of(&self, index: u64) -> Range<u64> {
        let start = self.offset(index);
        start..(start + u64::from(self.block_bytes)).min(self.size)
    }

    pub fn len_of(&self, index: u64) -> u64 {
        let bytes = self.bytes_of(index);
        bytes.end - bytes.start
    }

    /// The bytes of consecutive blocks.
    pub fn bytes_of_run(&self, blocks: &Range<u64>) -> Range<u64> {
        self.offset(blocks.start)..self.offset(blocks.end).min(self.size)
    }

    /// The block that starts at `offset`, if one does.
    pub fn index_at(&self, offset: u64) -> Option<u64> {
        (offset < self.size && offset.is_multiple_of(u64::from(self.block_bytes)))
            .then(|| offset / u64::from(self.block_bytes))
    }

    /// The blocks that exactly make up `length` bytes from `offset`, if they do.
    pub fn blocks_at(&self, offset: u64, length: u64) -> Option<Range<u64>> {
        let first = self.index_at(offset)?;
        let end = offset.checked_add(length)?;
        let whole = length > 0
            && end <= self.size
            && (end == self.size || end.is_multiple_of(u64::from(self.block_bytes)));
        whole.then(|| first..end.div_ceil(u64::from(self.block_bytes)))
    }
}

/// A disk takes at most this much of the receiver's places.
pub const PLACES_BYTES: u64 = 1 << 48;

/// Where the receiver's other disks begin in its places; its target begins at 0.
pub fn place_of_disk(number: usize) -> u64 {
    (number as u64 + 1) * PLACES_BYTES
}

/// The disk that a place of the receiver's other disks belongs to, and how far from its start it is.
pub fn disk_of_place(place: u64) -> Option<(usize, u64)> {
    let number = usize::try_from((place / PLACES_BYTES).checked_sub(1)?).ok()?;
    Some((number, place % PLACES_BYTES))
}

/// Whether every byte is zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    // Comparing a slice with itself shifted by one word is a memcmp, which is as fast as memory.
    let head = bytes.len().min(16);
    bytes[..head].iter().all(|byte| *byte == 0) && bytes[head..] == bytes[..bytes.len() - head]
}

/// Cuts a buffer into runs that are zero or not, in grains of `grain` bytes: what may become holes.
pub fn zero_runs(bytes: &[u8], grain: usize) -> Vec<(Range<usize>, bool)> {
    let mut runs: Vec<(Range<usize>, bool)> = Vec::new();
    for start in (0..bytes.len()).step_by(grain) {
        let end = (start + grain).min(bytes.len());
        let zero = is_zero(&bytes[start..end]);
        match runs.last_mut() {
            Some((run, kind)) if *kind == zero => run.end = end,
            _ => runs.push((start..end, zero)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_disk_beyond_two_tebibytes_gets_larger_blocks() {
        assert_eq!(Geometry::for_size(2 << 40).unwrap().block_bytes(), 1 << 20);
        assert_eq!(Geometry::for_size((2 << 40) + 1).unwrap().block_bytes(), 2 << 20);
        assert_eq!(Geometry::for_size(16 << 40).unwrap().block_bytes(), 8 << 20);
        assert!(Geometry::for_size((16 << 40) + 1).is_err());
    }

    #[test]
    fn block_sizes_outside_the_bounds_are_refused() {
        for wrong in [0, 1, 4096, 100_000, 3 << 20, 64 << 20] {
            assert!(Geometry::new(1 << 30, wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn blocks_cover_the_disk_once_and_in_order(size in 0u64..(1 << 28)) {
            let geometry = Geometry::new(size, BLOCK_BYTES_MIN).unwrap();
            let mut at = 0;
            for index in 0..geometry.blocks() {
                let bytes = geometry.bytes_of(index);
                prop_assert_eq!(bytes.start, at);
                prop_assert!(bytes.end > bytes.start);
                prop_assert_eq!(geometry.index_at(bytes.start), Some(index));
                prop_assert_eq!(geometry.blocks_at(bytes.start, bytes.end - bytes.start), Some(index..index + 1));
                at = bytes.end;
            }
            prop_assert_eq!(at, size);
        }

        #[test]
        fn ranges_that_are_not_whole_blocks_are_not_found(offset: u64, length: u64, size in 1u64..(1 << 40)) {
            let geometry = Geometry::new(size, BLOCK_BYTES).unwrap();
            if let Some(run) = geometry.blocks_at(offset, length) {
                prop_assert_eq!(geometry.bytes_of_run(&run), offset..offset + length);
                prop_assert!(run.end <= geometry.blocks());
            }
        }

        #[test]
        fn zero_runs_rebuild_the_buffer(bytes in proptest::collection::vec(prop_oneof![9 => Just(0u8), 1 => any::<u8>()], 0..4096), grain in 1usize..600) {
            let mut at = 0;
            for (run, zero) in zero_runs(&bytes, grain) {
                prop_assert_eq!(run.start, at);
                at = run.end;
                prop_assert!(!zero || bytes[run].iter().all(|byte| *byte == 0));
            }
            prop_assert_eq!(at, bytes.len());
            prop_assert_eq!(is_zero(&bytes), bytes.iter().all(|byte| *byte == 0));
        }
    }
}
