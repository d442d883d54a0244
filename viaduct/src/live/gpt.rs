//! The GUID partition table, on disks with sectors of 512 or 4096 bytes. Only the first copy is read, and only if all of
//! its checksums are right.

use super::crc::crc32;
use super::view::{Doubt, View, doubt, require};
use std::ops::Range;

const SIGNATURE: &[u8] = b"EFI PART";
const SECTORS: [u64; 2] = [512, 4096];
const HEADER_MIN: u32 = 92;

/// Whether there is the mark of a header anywhere it could be.
pub async fn marked(disk: &View<'_>) -> Result<bool, Doubt> {
    for sector in SECTORS {
        if disk.length() >= 2 * sector && disk.read(sector, 8).await?.bytes() == SIGNATURE {
            return Ok(true);
        }
    }
    Ok(false)
}

pub async fn read(disk: &View<'_>) -> Result<Vec<Range<u64>>, Doubt> {
    let mut found = Vec::new();
    for sector in SECTORS {
        if disk.length() >= 2 * sector && disk.read(sector, 8).await?.bytes() == SIGNATURE {
            found.push(sector);
        }
    }
    match found.as_slice() {
        [sector] => table(disk, *sector).await,
        [] => doubt("its MBR speaks of a GPT that is not there"),
        _ => doubt("it has two GPTs"),
    }
}

async fn table(disk: &View<'_>, sector: u64) -> Result<Vec<Range<u64>>, Doubt> {
    let header = disk.read(sector, sector).await?;
    let length = header.le32(12)?;
    require((HEADER_MIN..=sector as u32).contains(&length), "its GPT is not understood")?;
    let checked = crc32(&header.without(16, 4)?[..length as usize]);
    require(checked == header.le32(16)?, "its GPT has a wrong checksum")?;
    require(header.le32(8)? == 0x0001_0000 && header.le64(24)? == 1, "its GPT is not understood")?;
    let (first, last) = (header.le64(40)?, header.le64(48)?);
    let (at, count, size) = (header.le64(72)?, header.le32(80)?, header.le32(84)?);
    require((1..=1024).contains(&count) && matches!(size, 128 | 256 | 512), "its GPT is not understood")?;
    let Some(at) = at.checked_mul(sector) else { return doubt("its GPT is not understood") };
    let entries = disk.read(at, u64::from(count) * u64::from(size)).await?;
    require(crc32(entries.bytes()) == header.le32(88)?, "its GPT has a wrong checksum")?;
    let mut ranges = Vec::new();
    for number in 0..count as usize {
        let entry = number * size as usize;
        if entries.slice(entry, 16)?.iter().all(|byte| *byte == 0) {
            continue;
        }
        let (start, end) = (entries.le64(entry + 32)?, entries.le64(entry + 40)?);
        require(start >= first && end >= start && end <= last, "a partition is where its GPT allows none")?;
        let end = end.checked_add(1).and_then(|end| end.checked_mul(sector));
        let Some(end) = end else { return doubt("its GPT is not understood") };
        ranges.push(start * sector..end);
    }
    Ok(ranges)
}
