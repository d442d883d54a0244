//! Whether the log is clean: the last thing written to it is an unmount record, so that nothing is left to be replayed.
//!
//! The log is a ring of sectors. Each begins with the number of the round in which it was written, but for the first sector
//! of a record, which has it in its second word. The head, where the next record would go, is where the rounds change.

use super::super::view::{Doubt, Fields, View, doubt, require};
use super::superblock::Superblock;

const SECTOR: u64 = 512;
const RECORD: u32 = 0xfeed_babe;
const UNMOUNT: u8 = 0x20;
const CLIENT_LOG: u8 = 0xaa;
/// A record's header takes one sector for each of these that the writer's buffers had.
const BYTES_PER_HEADER: u64 = 32 << 10;
const HEADERS_MAX: u64 = 8;
/// An unmount record is short, but padded to the log's stripe unit, which is at most 256 KiB.
const RECORD_MAX: u64 = (256 << 10) / SECTOR + HEADERS_MAX;
const VERSION_2: u32 = 2;
const DIRTY: &str = "its log has to be replayed";

pub async fn is_clean(view: &View<'_>, sb: &Superblock) -> Result<(), Doubt> {
    let ring = Ring { view, start: sb.log_offset(), sectors: sb.log_blocks * sb.block_bytes / SECTOR };
    let head = ring.head().await?;
    for back in 2..=RECORD_MAX.min(ring.sectors) {
        let at = (head + ring.sectors - back) % ring.sectors;
        let sector = ring.sector(at).await?;
        if sector.be32(0)? != RECORD {
            continue;
        }
        return last_record(&ring, sb, &sector, at, back).await;
    }
    doubt(DIRTY)
}

/// Whether the record `back` sectors before the head is an unmount, and the last.
async fn last_record(
    ring: &Ring<'_>,
    sb: &Superblock,
    record: &Fields,
    at: u64,
    back: u64,
) -> Result<(), Doubt> {
    require(record.slice(304, 16)? == sb.uuid, "its log belongs to another")?;
    let sectors = u64::from(record.be32(12)?).div_ceil(SECTOR);
    let headers = match record.be32(8)? & VERSION_2 {
        0 => 1,
        _ => u64::from(record.be32(320)?).div_ceil(BYTES_PER_HEADER).clamp(1, HEADERS_MAX),
    };
    require(headers + sectors == back && record.be32(40)? == 1, DIRTY)?;
    let operation = ring.sector((at + headers) % ring.sectors).await?;
    require(operation.byte(8)? == CLIENT_LOG && operation.byte(9)? & UNMOUNT != 0, DIRTY)
}

struct Ring<'a> {
    view: &'a View<'a>,
    start: u64,
    sectors: u64,
}

impl Ring<'_> {
    async fn sector(&self, number: u64) -> Result<Fields, Doubt> {
        self.view.read(self.start + number * SECTOR, SECTOR).await
    }

    async fn round(&self, number: u64) -> Result<u32, Doubt> {
        let sector = self.sector(number).await?;
        match sector.be32(0)? {
            RECORD => sector.be32(4),
            round => Ok(round),
        }
    }

    /// By halving: the sectors before the head are of this round, those after it of the one before.
    async fn head(&self) -> Result<u64, Doubt> {
        let (this, last) = (self.round(0).await?, self.round(self.sectors - 1).await?);
        require(this > 0, "its log was never written")?;
        if this == last {
            // The last record ended where the ring does.
            return Ok(0);
        }
        require(last == this - 1 || last == 0, "its log is not understood")?;
        let (mut before, mut after) = (0, self.sectors - 1);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            match self.round(middle).await? {
                round if round == this => before = middle,
                round if round == last => after = middle,
                _ => return doubt("its log is not understood"),
            }
        }
        Ok(after)
    }
}
