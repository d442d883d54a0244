//! Where on the disk to look for file systems: in its partitions, or, where it has no table, in all of it.

use super::gpt;
use super::mbr::{self, Table};
use super::survey::any_mark;
use super::view::{Doubt, View, doubt, require};
use std::ops::Range;

/// More partitions than any real table has.
const PARTITIONS_MAX: usize = 256;

#[derive(Debug)]
pub enum Found {
    /// In order, apart from each other, within the disk.
    Partitions(Vec<Range<u64>>),
    NoTable,
}

pub async fn areas(disk: &View<'_>) -> Result<Found, Doubt> {
    if disk.length() < mbr::SECTOR {
        return Ok(Found::NoTable);
    }
    let mut ranges = match mbr::read(disk).await? {
        Table::None => {
            require(!gpt::marked(disk).await?, "it has a GPT without the MBR that goes with it")?;
            return Ok(Found::NoTable);
        }
        Table::Mbr(ranges) => {
            // A table that is as stale as this would not be noticed by those who made the other.
            require(!gpt::marked(disk).await?, "it has both an MBR and a GPT")?;
            ranges
        }
        Table::Protective => gpt::read(disk).await?,
    };
    // A table may be left over under a file system that took all of the disk, and the other way round.
    require(!any_mark(disk).await?, "it has both partitions and a file system over all of it")?;
    require(ranges.len() <= PARTITIONS_MAX, "it has too many partitions")?;
    ranges.sort_by_key(|range| range.start);
    let mut end = 0;
    for range in &ranges {
        if range.start < end || range.end <= range.start || range.end > disk.length() {
            return doubt("its partitions overlap, or lie outside of it");
        }
        end = range.end;
    }
    Ok(Found::Partitions(ranges))
}
