//! The chunks: how the logical space in which everything is addressed lies on the device.

use super::super::view::{Doubt, Fields, View, doubt, require};
use super::superblock::Superblock;
use super::tree::{Key, Tree};
use std::ops::Range;

const CHUNK_ITEM: u8 = 228;
const CHUNK_TREE_OBJECT: u64 = 256;
const KEY_BYTES: usize = 17;
const CHUNK_BYTES: usize = 48;
const STRIPE_BYTES: usize = 32;
/// More than a device of 1 PiB has.
const CHUNKS_MAX: usize = 256 << 10;
/// Data, system, metadata.
const TYPES: u64 = 0x7;
const DUPLICATE: u64 = 0x20;
const WHY: &str = "its chunks make no sense";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub logical: Range<u64>,
    /// Where each copy begins on the device.
    pub copies: Vec<u64>,
}

/// In the order of the logical space, apart from each other.
#[derive(Clone, Debug)]
pub struct Chunks(Vec<Chunk>);

impl Chunks {
    pub async fn read(view: &View<'_>, sb: &Superblock) -> Result<Chunks, Doubt> {
        let system = Chunks::new(system_chunks(sb)?)?;
        let mut found = Vec::new();
        let mut tree = Tree::new(view, sb, &system, sb.chunks)?;
        while let Some((key, item)) = tree.next().await? {
            if key.kind == CHUNK_ITEM && key.object == CHUNK_TREE_OBJECT {
                require(found.len() < CHUNKS_MAX, "it has too many chunks")?;
                found.push(chunk(&item, 0, key.offset, sb)?.0);
            }
        }
        let chunks = Chunks::new(found)?;
        // The tree must contain what it was found through.
        require(system.0.iter().all(|chunk| chunks.0.contains(chunk)), WHY)?;
        chunks.apart()?;
        Ok(chunks)
    }

    fn new(mut chunks: Vec<Chunk>) -> Result<Chunks, Doubt> {
        chunks.sort_by_key(|chunk| chunk.logical.start);
        let apart = chunks.windows(2).all(|pair| pair[0].logical.end <= pair[1].logical.start);
        require(apart, WHY)?;
        Ok(Chunks(chunks))
    }

    pub fn all(&self) -> &[Chunk] {
        &self.0
    }

    /// Where the first copy of a logical range is, which must not leave its chunk.
    pub fn place(&self, logical: u64, length: u64) -> Result<u64, Doubt> {
        let next = self.0.partition_point(|chunk| chunk.logical.end <= logical);
        match self.0.get(next) {
            Some(chunk) if chunk.logical.contains(&logical) && length <= chunk.logical.end - logical => {
                Ok(chunk.copies[0] + (logical - chunk.logical.start))
            }
            _ => doubt("it points outside of its chunks"),
        }
    }

    /// The copies on the device, in its order.
    fn copies(&self) -> Vec<Range<u64>> {
        let copies = |chunk: &Chunk| -> Vec<Range<u64>> {
            let length = chunk.logical.end - chunk.logical.start;
            chunk.copies.iter().map(|start| *start..start + length).collect()
        };
        let mut all: Vec<Range<u64>> = self.0.iter().flat_map(copies).collect();
        all.sort_by_key(|copy| copy.start);
        all
    }

    fn apart(&self) -> Result<(), Doubt> {
        require(self.copies().windows(2).all(|pair| pair[0].end <= pair[1].start), WHY)
    }

    /// What of the device is in no chunk.
    pub fn unused(&self, device: Range<u64>) -> Result<Vec<Range<u64>>, Doubt> {
        let (mut unused, mut at) = (Vec::new(), device.start);
        for copy in self.copies() {
            require(copy.start >= at && copy.end <= device.end, "a chunk lies outside of its device")?;
            unused.push(at..copy.start);
            at = copy.end;
        }
        unused.push(at..device.end);
        Ok(unused)
    }
}

/// The array of keys and chunks in the superblock.
fn system_chunks(sb: &Superblock) -> Result<Vec<Chunk>, Doubt> {
    let array = Fields::new(sb.system_chunks.clone());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < sb.system_chunks.len() {
        let key = Key::read(&array, at)?;
        require(key.kind == CHUNK_ITEM, WHY)?;
        let (chunk, length) = chunk(&array, at + KEY_BYTES, key.offset, sb)?;
        found.push(chunk);
        at += KEY_BYTES + length;
    }
    Ok(found)
}

/// A chunk, and how many bytes describe it.
fn chunk(item: &Fields, at: usize, logical: u64, sb: &Superblock) -> Result<(Chunk, usize), Doubt> {
    let (length, kind) = (item.le64(at)?, item.le64(at + 24)?);
    let stripes = usize::from(item.le16(at + 44)?);
    require(kind & TYPES != 0 && kind & !(TYPES | DUPLICATE) == 0, "it has a profile that is not known")?;
    require(stripes == if kind & DUPLICATE != 0 { 2 } else { 1 }, WHY)?;
    let end = logical.checked_add(length).filter(|end| *end > logical);
    let Some(end) = end else { return doubt(WHY) };
    let mut copies = Vec::new();
    for stripe in 0..stripes {
        let stripe = at + CHUNK_BYTES + STRIPE_BYTES * stripe;
        let (device, start) = (item.le64(stripe)?, item.le64(stripe + 8)?);
        require(device == sb.device, "it has more than one device")?;
        require(start.checked_add(length).is_some_and(|end| end <= sb.device_bytes), WHY)?;
        copies.push(start);
    }
    Ok((Chunk { logical: logical..end, copies }, CHUNK_BYTES + STRIPE_BYTES * stripes))
}
