//! What need not be read, because the source counts changes and the receiver has the state from which it counts. Believed
//! only as far as that state is the one; a sample of what is not read is read all the same, and once it differs nothing is
//! believed any more.

use super::Outgoing;
use crate::digest::Digest;
use crate::ends::Source;
use crate::error::Result;
use crate::plan::Work;
use crate::table::DigestTable;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// One in so many blocks that need not be read is read to see whether that was true ...
const PROBE_EVERY: u64 = 61;
/// ... but not more than this many.
const PROBES_MAX: u64 = 64;

#[derive(Debug)]
pub struct Changes {
    source: Arc<dyn Source>,
    believed: bool,
}

impl Changes {
    /// `base` is the root of the state the receiver has.
    pub fn new(outgoing: &Outgoing, base: Option<Digest>) -> Changes {
        let fits = base.is_some() && outgoing.since.is_none_or(|since| base == Some(since));
        let fits = fits && !outgoing.bitmap_lied.load(Relaxed);
        Changes { source: outgoing.source.clone(), believed: fits && outgoing.source.tells_changes() }
    }

    /// To walk over the disk once, in order.
    pub fn walk(&self) -> Walk<'_> {
        Walk { changes: self, next: None, asked: false, kept: 0 }
    }
}

#[derive(Debug)]
pub struct Walk<'a> {
    changes: &'a Changes,
    /// The change at or after where the walk is.
    next: Option<Range<u64>>,
    asked: bool,
    kept: u64,
}

impl Walk<'_> {
    /// Work as it was planned, or none where the receiver has the block. Work comes in the order of the disk.
    pub async fn judge(&mut self, work: Work, outgoing: &Outgoing, have: &DigestTable) -> Result<Work> {
        let Work::Read { index, .. } = work else { return Ok(work) };
        if !self.changes.believed || have.get(index).is_none() {
            return Ok(work);
        }
        let block = outgoing.geometry.bytes_of(index);
        if self.touches(block).await? {
            return Ok(work);
        }
        self.kept += 1;
        let probe = self.kept % PROBE_EVERY == 1 && self.kept / PROBE_EVERY < PROBES_MAX;
        Ok(if probe { Work::Probe { index } } else { Work::Kept { index } })
    }

    async fn touches(&mut self, block: Range<u64>) -> Result<bool> {
        if !self.asked {
            self.next = self.changes.source.next_changed(0).await?;
            self.asked = true;
        }
        while let Some(change) = self.next.clone().filter(|change| change.end <= block.start) {
            self.next = self.changes.source.next_changed(change.end).await?;
        }
        Ok(self.next.as_ref().is_some_and(|change| change.start < block.end))
    }
}
