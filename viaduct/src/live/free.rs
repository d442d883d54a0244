//! Ranges that are free: sorted, apart from each other, and bounded in number. Where there are too many, the smallest are
//! forgotten, which only means that they are read.

use std::ops::Range;

/// 8 MiB of ranges at most.
const RANGES_MAX: usize = 1 << 19;
/// Nothing smaller is worth to be known.
const GRAIN: u64 = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Free {
    ranges: Vec<Range<u64>>,
    grain: u64,
}

impl Default for Free {
    fn default() -> Free {
        Free { ranges: Vec::new(), grain: GRAIN }
    }
}

impl Free {
    /// Adds a range that starts at or after the end of the last one. Empty ones are nothing.
    pub fn push(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        match self.ranges.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            // What came before is complete now: it is kept only if it is large enough.
            Some(last) if last.end - last.start < self.grain => *last = range,
            _ => self.ranges.push(range),
        }
        while self.ranges.len() > RANGES_MAX {
            self.grain *= 2;
            let grain = self.grain;
            self.ranges.retain(|range| range.end - range.start >= grain);
        }
    }

    /// From ranges in any order that do not overlap.
    pub fn sorted(mut ranges: Vec<Range<u64>>) -> Free {
        ranges.sort_by_key(|range| range.start);
        let mut free = Free::default();
        ranges.into_iter().for_each(|range| free.push(range));
        free
    }

    /// The same, `by` bytes further on.
    pub fn shifted(&self, by: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(move |range| range.start + by..range.end + by)
    }

    /// Without `range`.
    pub fn keep(&mut self, range: Range<u64>) {
        let ranges = std::mem::take(&mut self.ranges);
        for free in ranges {
            self.push(free.start..free.end.min(range.start));
            self.push(free.start.max(range.end)..free.end);
        }
    }

    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Where the free range that holds `at` ends, if one does.
    pub fn end_of(&self, at: u64) -> Option<u64> {
        let next = self.ranges.get(self.index(at))?;
        next.contains(&at).then_some(next.end)
    }

    /// The first piece of `range` that is not free.
    pub fn first_outside(&self, range: Range<u64>) -> Option<Range<u64>> {
        let start = self.end_of(range.start).unwrap_or(range.start);
        if start >= range.end {
            return None;
        }
        let end = self.ranges.get(self.index(start)).map_or(range.end, |next| next.start.min(range.end));
        Some(start..end)
    }

    /// What of `range` is free.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = self.index(range.start);
        let (start, end) = (range.start, range.end);
        self.ranges[first..]
            .iter()
            .take_while(move |free| free.start < end)
            .map(move |free| free.start.max(start)..free.end.min(end))
    }

    /// The first range that ends after `at`.
    fn index(&self, at: u64) -> usize {
        self.ranges.partition_point(|range| range.end <= at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UNIT: u64 = GRAIN;
    const UNITS: u64 = 64;

    fn of(bits: u64) -> Free {
        let units = (0..UNITS).filter(|unit| bits >> unit & 1 == 1);
        Free::sorted(units.map(|unit| unit * UNIT..(unit + 1) * UNIT).collect())
    }

    fn is_free(bits: u64, at: u64) -> bool {
        bits >> (at / UNIT) & 1 == 1
    }

    proptest! {
        #[test]
        fn free_ranges_are_a_set_of_bytes(bits: u64, a in 0..UNITS * UNIT, b in 0..UNITS * UNIT) {
            let free = of(bits);
            let range = a.min(b)..a.max(b) + 1;
            prop_assert_eq!(free.bytes(), u64::from(bits.count_ones()) * UNIT);
            let within: u64 = free.within(range.clone()).map(|piece| piece.end - piece.start).sum();
            let model = range.clone().filter(|at| is_free(bits, *at)).count() as u64;
            prop_assert_eq!(within, model);
            prop_assert_eq!(free.end_of(a).is_some(), is_free(bits, a));
            match free.first_outside(range.clone()) {
                None => prop_assert_eq!(model, range.end - range.start),
                Some(outside) => {
                    prop_assert!((range.start..outside.start).all(|at| is_free(bits, at)));
                    prop_assert!(outside.clone().all(|at| !is_free(bits, at)));
                    prop_assert!(outside.end == range.end || is_free(bits, outside.end));
                }
            }
        }

        #[test]
        fn what_is_kept_is_not_free(bits: u64, a in 0..UNITS, b in 0..UNITS) {
            let (a, b) = (a.min(b), a.max(b) + 1);
            let mut free = of(bits);
            free.keep(a * UNIT..b * UNIT);
            let mask = (a..b).fold(0, |mask, unit| mask | 1 << unit);
            prop_assert_eq!(free, of(bits & !mask));
        }
    }

    #[test]
    fn too_many_ranges_forget_the_smallest() {
        let mut free = Free::default();
        for number in 0..(RANGES_MAX as u64 + 10) {
            let start = number * 8 * GRAIN;
            free.push(start..start + GRAIN * if number % 1000 == 0 { 4 } else { 1 });
        }
        assert!(free.ranges.len() <= RANGES_MAX);
        assert!(free.end_of(0).is_some());
        assert!(free.end_of(8 * GRAIN).is_none());
    }
}
