//! A block of a disk, of which some parts may hold data and the rest is zeros.

use super::Source;
use crate::error::Result;
use std::ops::Range;

/// Makes `block` the bytes `bytes` of the disk, of which only `parts` are read: in order, apart from each other, within it.
/// How much was read.
pub(crate) async fn read_parts(
    source: &dyn Source,
    bytes: Range<u64>,
    parts: &[Range<u64>],
    block: &mut Vec<u8>,
) -> Result<u64> {
    block.clear();
    block.resize((bytes.end - bytes.start) as usize, 0);
    // All at a time: where each is a request to somebody else, waiting for one after the other is what would take long.
    let (mut reads, mut rest, mut at, mut read) = (Vec::new(), &mut block[..], bytes.start, 0);
    for part in parts {
        let (piece, behind) =
            rest.split_at_mut((part.start - at) as usize).1.split_at_mut((part.end - part.start) as usize);
        reads.push(source.read(part.start, piece));
        read += part.end - part.start;
        (rest, at) = (behind, part.end);
    }
    futures::future::try_join_all(reads).await?;
    Ok(read)
}
