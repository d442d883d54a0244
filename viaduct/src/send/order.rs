//! Which part of the disk is next. What packs well keeps processors busy, what does not keeps the line busy, and on most disks
//! they lie apart: so the disk is walked at two places, and the next block comes from where the idle one of the two finds
//! work. Each place is walked in order.

use super::changes::{Changes, Walk};
use super::{Outgoing, Second};
use crate::blocks::Geometry;
use crate::error::Result;
use crate::limits::{ORDER_RUN, ORDER_SECOND_BLOCKS};
use crate::plan::{Planner, Work, block_after};
use crate::table::DigestTable;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What numbers of the second place begin with; the first has fewer items than that.
pub const SECOND_NUMBERS: u64 = 1 << 62;
/// Of the data, what lies before the second place: not a half, nor any other part that is likely to be where a copy of the
/// first lies; else both would be read at the same time, and neither be known when the other comes.
const SECOND_AFTER: f64 = 0.618;
/// A weight of one: as many bytes on the line as on the disk.
const ONE: u32 = 1024;

/// Where the second place begins, as a block; `None` where there is too little data to gain anything.
pub async fn second_place(
    source: &dyn crate::ends::Source,
    geometry: Geometry,
    data_bytes: u64,
) -> Result<Option<u64>> {
    let block = u64::from(geometry.block_bytes());
    if data_bytes / block < 16 * u64::from(ORDER_RUN) {
        return Ok(None);
    }
    // What is done of it has to be remembered until the first part is: so it is not large.
    let first = (data_bytes as f64 * SECOND_AFTER) as u64;
    let first = first.max(data_bytes.saturating_sub(ORDER_SECOND_BLOCKS * block));
    Ok(Some(block_after(source, geometry, first).await?).filter(|second| *second < geometry.blocks()))
}

/// How heavy on the line the blocks of each place were of late.
#[derive(Debug)]
pub struct Weights {
    second: Second,
    of: [AtomicU32; 2],
}

impl Weights {
    pub fn new(second: Second) -> Weights {
        Weights { second, of: [AtomicU32::new(ONE / 2), AtomicU32::new(ONE / 2)] }
    }

    /// A block has become so many bytes.
    pub fn observe(&self, index: u64, length: u64, on_wire: u64) {
        let place = &self.of[usize::from(self.second.is_some_and(|second| index >= second))];
        let weight = (on_wire * u64::from(ONE) / length.max(1)).min(u64::from(ONE)) as u32;
        // Two workers at a time may lose one of their words, which does no harm.
        place.store((place.load(Relaxed) * 7 + weight) / 8, Relaxed);
    }

    fn heavier(&self) -> usize {
        usize::from(self.of[1].load(Relaxed) > self.of[0].load(Relaxed))
    }
}

struct Place<'a> {
    planner: Planner<'a>,
    walk: Walk<'a>,
    /// The next item's.
    number: u64,
    done: bool,
}

pub struct Order<'a> {
    outgoing: &'a Outgoing,
    weights: &'a Weights,
    have: &'a DigestTable,
    places: Vec<Place<'a>>,
    current: usize,
    /// Blocks that come from here before it may be left: where disks turn, going to and fro costs.
    run: u32,
}

impl<'a> Order<'a> {
    /// Of as many places as there are weights for.
    pub fn new(
        outgoing: &'a Outgoing,
        changes: &'a Changes,
        weights: &'a Weights,
        have: &'a DigestTable,
    ) -> Order<'a> {
        let (source, geometry) = (&*outgoing.source, outgoing.geometry);
        let place = |blocks, number| Place {
            planner: Planner::of_part(source, geometry, blocks),
            walk: changes.walk(),
            number,
            done: false,
        };
        let end = geometry.blocks();
        let first = place(0..weights.second.unwrap_or(end), 0);
        let second = weights.second.map(|second| place(second..end, SECOND_NUMBERS));
        let places = std::iter::once(first).chain(second).collect();
        Order { outgoing, weights, have, places, current: 0, run: ORDER_RUN }
    }

    /// The next item and its number. `idle` is whether the line has little to do.
    pub async fn next(&mut self, idle: bool) -> Result<Option<(u64, Work)>> {
        loop {
            if self.run == 0 && self.places.len() == 2 {
                let heavier = self.weights.heavier();
                self.current = if idle { heavier } else { 1 - heavier };
                self.run = ORDER_RUN;
            }
            if self.places[self.current].done {
                self.current = self.places.len() - 1 - self.current;
            }
            let place = &mut self.places[self.current];
            if place.done {
                return Ok(None);
            }
            let Some(work) = place.planner.next().await? else {
                place.done = true;
                continue;
            };
            let work = place.walk.judge(work, self.outgoing, self.have).await?;
            self.run = self.run.saturating_sub(1);
            place.number += 1;
            return Ok(Some((place.number - 1, work)));
        }
    }

    /// The first number after the first place's, and the first after all.
    pub fn ends(&self) -> (u64, u64) {
        let first = self.places[0].number;
        (first, self.places.last().map_or(first, |place| place.number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ends::{MemoryDisk, Source};
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    const BLOCK: u32 = 64 << 10;

    async fn outgoing(blocks: usize) -> Outgoing {
        let source: Arc<dyn Source> = Arc::new(MemoryDisk::new(vec![1; blocks * BLOCK as usize]));
        let geometry = Geometry::new(source.size(), BLOCK).unwrap();
        Outgoing {
            second: second_place(&*source, geometry, source.size()).await.unwrap(),
            source,
            geometry,
            data_bytes: geometry.size(),
            streams: Some(1),
            since: None,
            bitmap_lied: AtomicBool::new(false),
            encoders: 1,
            pacer: None,
            idle: Duration::from_secs(1),
            counters: Arc::default(),
        }
    }

    /// The blocks in the order in which they come, with their numbers, for a line that idles or does not; blocks from `heavy`
    /// on do not pack.
    async fn walk(outgoing: &Outgoing, heavy: u64, idle: impl Fn(usize) -> bool) -> Vec<(u64, u64)> {
        let changes = Changes::new(outgoing, None);
        let weights = Weights::new(outgoing.second);
        let have = DigestTable::new(outgoing.geometry.blocks());
        let mut order = Order::new(outgoing, &changes, &weights, &have);
        let mut seen = Vec::new();
        while let Some((number, work)) = order.next(idle(seen.len())).await.unwrap() {
            let Work::Read { index, .. } = work else { panic!("{work:?}") };
            weights.observe(index, 1000, if index >= heavy { 1000 } else { 300 });
            seen.push((number, index));
        }
        let (first, end) = order.ends();
        let numbers: Vec<_> = (0..first).chain(SECOND_NUMBERS..end.max(SECOND_NUMBERS)).collect();
        let mut told = seen.clone();
        told.sort();
        // In the order of their numbers, blocks are in the order of the disk, and none is missing.
        assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), numbers);
        let indexes: Vec<_> = told.iter().map(|(_, index)| *index).collect();
        assert_eq!(indexes, (0..outgoing.geometry.blocks()).collect::<Vec<_>>());
        seen
    }

    #[tokio::test]
    async fn an_idle_line_gets_what_is_heavy_and_a_busy_one_what_is_light() {
        let outgoing = outgoing(400).await;
        let second = outgoing.second.unwrap();
        assert_eq!(second, 247);
        let heavy_first = walk(&outgoing, second, |_| true).await;
        let light_first = walk(&outgoing, second, |_| false).await;
        let late = |seen: &[(u64, u64)]| seen[..150].iter().filter(|(_, index)| *index >= second).count();
        assert!(late(&heavy_first) > 120, "{}", late(&heavy_first));
        assert!(late(&light_first) < 30, "{}", late(&light_first));
        walk(&outgoing, 100, |at| at % 3 == 0).await;
    }

    #[tokio::test]
    async fn a_small_disk_is_walked_in_order() {
        let outgoing = outgoing(100).await;
        assert_eq!(outgoing.second, None);
        let seen = walk(&outgoing, 50, |_| true).await;
        assert!(seen.is_sorted());
    }
}
