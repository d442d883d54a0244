//! The partition table of the PC: four entries in the first sector, and a chain of further tables in an extended partition.

use super::view::{Doubt, View, doubt, require};
use std::ops::Range;

pub const SECTOR: u64 = 512;
/// A chain longer than this is a loop.
const LOGICAL_MAX: usize = 128;
const ENTRIES: usize = 446;
const PROTECTIVE: u8 = 0xee;

#[derive(Debug, PartialEq, Eq)]
pub enum Table {
    None,
    Mbr(Vec<Range<u64>>),
    /// The one that only says that there is a GPT.
    Protective,
}

#[derive(Clone, Debug)]
struct Entry {
    kind: u8,
    /// Bytes, from wherever the table counts.
    range: Range<u64>,
}

impl Entry {
    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

pub async fn read(disk: &View<'_>) -> Result<Table, Doubt> {
    let Some(entries) = entries(disk, 0).await? else { return Ok(Table::None) };
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        require(entries.len() == 1, "its GPT has partitions in the MBR too")?;
        return Ok(Table::Protective);
    }
    if entries.is_empty() {
        // The signature alone is what boot sectors of file systems have too.
        return Ok(Table::None);
    }
    let mut ranges = Vec::new();
    for entry in entries {
        if entry.is_extended() {
            logical(disk, entry.range, &mut ranges).await?;
        } else {
            ranges.push(entry.range);
        }
    }
    Ok(Table::Mbr(ranges))
}

/// Follows the chain. Each link has one partition, counted from the link, and the next link, counted from the extended
/// partition.
async fn logical(disk: &View<'_>, extended: Range<u64>, ranges: &mut Vec<Range<u64>>) -> Result<(), Doubt> {
    let mut link = extended.start;
    for _ in 0..LOGICAL_MAX {
        let Some(entries) = entries(disk, link).await? else {
            return doubt("the chain of its logical partitions is broken");
        };
        let mut next = None;
        for entry in entries {
            if entry.is_extended() {
                require(next.is_none(), "the chain of its logical partitions forks")?;
                next = Some(extended.start + entry.range.start);
                continue;
            }
            let range = link + entry.range.start..link + entry.range.end;
            require(
                range.start > link && range.end <= extended.end,
                "a logical partition is outside of its extended one",
            )?;
            ranges.push(range);
        }
        match next {
            None => return Ok(()),
            Some(at) if at > extended.start && at < extended.end => link = at,
            Some(_) => return doubt("the chain of its logical partitions leaves the extended one"),
        }
    }
    doubt("the chain of its logical partitions does not end")
}

/// The used entries of the table in the sector at `at`; `None` if there is no table.
async fn entries(disk: &View<'_>, at: u64) -> Result<Option<Vec<Entry>>, Doubt> {
    let sector = disk.read(at, SECTOR).await?;
    if sector.slice(510, 2)? != [0x55, 0xaa] {
        return Ok(None);
    }
    let mut entries = Vec::new();
    for number in 0..4 {
        let entry = ENTRIES + 16 * number;
        let (active, kind) = (sector.byte(entry)?, sector.byte(entry + 4)?);
        let (start, count) = (u64::from(sector.le32(entry + 8)?), u64::from(sector.le32(entry + 12)?));
        if kind == 0 && count == 0 {
            continue;
        }
        // What is no table may have the signature, but hardly this in all of its entries.
        require(
            matches!(active, 0 | 0x80) && kind != 0 && start > 0 && count > 0,
            "its MBR is not understood",
        )?;
        entries.push(Entry { kind, range: start * SECTOR..(start + count) * SECTOR });
    }
    Ok(Some(entries))
}
