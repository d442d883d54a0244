//! What on a disk lives: the disk's partitions are found, the file systems in them asked for their free space, and a disk
//! made of which the free space reads as zeros, whatever lies there.
//!
//! Owns one rule: what is not understood completely, or not clean, is read whole. A file system is believed only if every
//! mark it carries says that nothing is left to be replayed, every checksum it has is right, and its own counts agree
//! with its maps.

mod areas;
mod btrfs;
mod crc;
mod ext;
mod foreign;
mod free;
mod gpt;
mod mbr;
mod survey;
mod view;
mod xfs;

use crate::apart::apart;
use crate::ends::Source;
use crate::error::{Error, Result};
use async_trait::async_trait;
use free::Free;
use serde::Serialize;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use survey::{Survey, survey};

/// A part of the disk, and what it was recognised as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Area {
    pub start: u64,
    pub length: u64,
    /// Such as `ext4`; `unknown` for what has no name here.
    pub content: String,
    /// What its file system calls free.
    pub bytes_free: u64,
    /// Why all of it is read, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_because: Option<String>,
}

/// A disk whose free space reads as zeros.
#[derive(Debug)]
pub struct LiveSource {
    inner: Arc<dyn Source>,
    survey: Survey,
    /// From where the disk was last asked for a change, and its answer: free ranges are many, changes few, and each question
    /// may go all over the disk.
    changed: Mutex<Option<(u64, Option<Range<u64>>)>>,
}

impl LiveSource {
    /// Looks at the disk, which must lie still: that it did is part of what [`Source::check_unchanged`] says at the end.
    pub async fn open(inner: Arc<dyn Source>) -> Result<LiveSource> {
        let survey = survey_apart(inner.clone()).await?;
        Ok(LiveSource { inner, survey, changed: Mutex::default() })
    }

    /// In the order of the disk.
    pub fn areas(&self) -> &[Area] {
        &self.survey.areas
    }

    /// Whether there is nothing that need not be read.
    pub fn is_whole(&self) -> bool {
        self.survey.free.is_empty()
    }

    fn free(&self) -> &Free {
        &self.survey.free
    }

    async fn next_written(&self, from: u64) -> Result<Option<Range<u64>>> {
        let known = self.changed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let written = match known {
            Some((asked, answer)) if asked <= from && answer.as_ref().is_none_or(|next| next.end > from) => {
                answer
            }
            _ => {
                let answer = self.inner.next_changed(from).await?;
                *self.changed.lock().unwrap_or_else(PoisonError::into_inner) = Some((from, answer.clone()));
                answer
            }
        };
        Ok(written.map(|range| range.start.max(from)..range.end))
    }
}

/// Surveys on a thread that may block.
async fn survey_apart(source: Arc<dyn Source>) -> Result<Survey> {
    apart(async move { Ok(survey(&*source).await) }).await
}

#[async_trait]
impl Source for LiveSource {
    fn name(&self) -> String {
        self.inner.name()
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    async fn next_data(&self, mut from: u64) -> Result<Option<Range<u64>>> {
        while let Some(data) = self.inner.next_data(from).await? {
            if let Some(range) = self.free().first_outside(data.clone()) {
                return Ok(Some(range));
            }
            // All of it is free. The next question begins behind the free range, which may reach beyond this data.
            from = self.free().end_of(data.end - 1).unwrap_or(data.end);
        }
        Ok(None)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = offset..offset + buffer.len() as u64;
        if self.free().first_outside(range.clone()).is_some() {
            self.inner.read(offset, buffer).await?;
        }
        // Small pieces between data are read with it; they are zeros all the same.
        for free in self.free().within(range) {
            buffer[(free.start - offset) as usize..(free.end - offset) as usize].fill(0);
        }
        Ok(())
    }

    fn will_read(&self, range: Range<u64>) {
        if let Some(range) = self.free().first_outside(range) {
            self.inner.will_read(range);
        }
    }

    fn tells_changes(&self) -> bool {
        self.inner.tells_changes()
    }

    async fn next_changed(&self, from: u64) -> Result<Option<Range<u64>>> {
        // What was freed since then was not written to, but reads as zeros now: all that is free may have changed.
        let freed = self.free().within(from..self.size()).next();
        let written = self.next_written(from).await?;
        Ok(match (written, freed) {
            (Some(written), Some(freed)) if written.start <= freed.start => Some(written),
            (written, freed) => freed.or(written),
        })
    }

    async fn check_unchanged(&self) -> Result<()> {
        self.inner.check_unchanged().await?;
        if self.free().is_empty() && self.inner.sees_writes() {
            return Ok(());
        }
        // What was skipped was skipped because of what the disk said then; and where nothing was, this is where those who
        // write to a disk write first, so that they are found out where the end cannot tell.
        if survey_apart(self.inner.clone()).await?.evidence == self.survey.evidence {
            return Ok(());
        }
        Err(Error::SourceChanged {
            what: self.name(),
            why: "its partition table, superblocks or maps of free space are not what they were at the start"
                .into(),
        })
    }

    fn in_use(&self) -> bool {
        self.inner.in_use()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::MemoryDisk;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A disk that counts changes, and how often it is asked for them.
    #[derive(Debug)]
    struct Counting {
        disk: MemoryDisk,
        changes: Vec<Range<u64>>,
        asked: AtomicU64,
    }

    #[async_trait]
    impl Source for Counting {
        fn name(&self) -> String {
            "counting".into()
        }

        fn size(&self) -> u64 {
            self.disk.size()
        }

        async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
            self.disk.next_data(from).await
        }

        async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
            self.disk.read(offset, buffer).await
        }

        async fn next_changed(&self, from: u64) -> Result<Option<Range<u64>>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let next = self.changes.iter().find(|change| change.end > from);
            Ok(next.map(|change| change.start.max(from)..change.end))
        }

        async fn check_unchanged(&self) -> Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_is_free_or_was_written_to_may_have_changed_and_the_disk_is_hardly_asked() {
        const GRAIN: u64 = 4096;
        let (written, free) = ([10, 11, 500], (0..1000u64).step_by(2).collect::<Vec<_>>());
        let grain = |at: &u64| at * GRAIN..(at + 1) * GRAIN;
        let inner = Arc::new(Counting {
            disk: MemoryDisk::new(vec![1; 1000 * GRAIN as usize]),
            changes: vec![10 * GRAIN..12 * GRAIN, grain(&500)],
            asked: AtomicU64::new(0),
        });
        let mut live = LiveSource::open(inner.clone()).await.unwrap();
        live.survey.free = Free::sorted(free.iter().map(grain).collect());
        let (mut seen, mut at) = (Vec::new(), 0);
        while let Some(change) = live.next_changed(at).await.unwrap() {
            assert!(change.start >= at && change.end > change.start);
            seen.extend(change.start / GRAIN..change.end.div_ceil(GRAIN));
            at = change.end;
        }
        let mut expected = [&written[..], &free].concat();
        expected.sort();
        expected.dedup();
        seen.dedup();
        assert_eq!(seen, expected);
        assert!(inner.asked.load(Ordering::Relaxed) < 10, "{inner:?}");
        // Going back asks again.
        assert_eq!(live.next_changed(11 * GRAIN).await.unwrap().unwrap().start, 11 * GRAIN);
    }
}
