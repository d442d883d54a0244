//! What a sender may copy from: the target as it is, and other disks of this site. One space of places for all of them; see
//! "Places" in `PROTOCOL.md`. Reads only; whether what it reads is what was meant, the caller checks by digest.

use crate::blocks::{Geometry, PLACES_BYTES, disk_of_place};
use crate::ends::{Disk, Source, Target, open_source};
use crate::error::{Error, Result};
use crate::limits::SHELF_DISKS_MAX;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Extents that are remembered of each disk: the workers are not far from each other.
const EXTENTS_KEPT: usize = 16;

#[derive(Clone, Debug, Default)]
pub struct Shelf {
    disks: Arc<[Other]>,
}

#[derive(Debug)]
struct Other {
    disk: Arc<dyn Source>,
    /// The extents of data that were found last: asking for one may mean a walk over all of it.
    extents: Mutex<VecDeque<Range<u64>>>,
}

impl Other {
    fn new(disk: Arc<dyn Source>) -> Other {
        Other { disk, extents: Mutex::default() }
    }

    /// Reads a range, but for what is known to be zeros.
    async fn look(&self, range: Range<u64>, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(0);
        let mut at = range.start;
        while let Some(data) = self.next_data(at).await?.filter(|data| data.start < range.end) {
            let end = data.end.min(range.end);
            let place = (data.start - range.start) as usize..(end - range.start) as usize;
            self.disk.read(data.start, &mut buffer[place]).await?;
            at = end;
        }
        Ok(())
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        let known = self.extents().iter().find(|extent| extent.contains(&from)).cloned();
        if let Some(extent) = known {
            return Ok(Some(from..extent.end));
        }
        let found = self.disk.next_data(from).await?;
        if let Some(extent) = &found {
            let mut extents = self.extents();
            extents.truncate(EXTENTS_KEPT - 1);
            extents.push_front(extent.clone());
        }
        Ok(found)
    }

    fn extents(&self) -> MutexGuard<'_, VecDeque<Range<u64>>> {
        self.extents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    pub async fn open(disks: &[Disk]) -> Result<Shelf> {
        if disks.len() > SHELF_DISKS_MAX {
            let remedy = format!("name at most {SHELF_DISKS_MAX}");
            return Err(Error::usage("--have", "there are too many other disks", remedy));
        }
        let mut opened = Vec::new();
        for disk in disks {
            opened.push(Other::new(open_source(disk).await?.into()));
        }
        Ok(Shelf { disks: opened.into() })
    }

    pub fn sizes(&self) -> Vec<u64> {
        self.disks.iter().map(|other| other.disk.size().min(PLACES_BYTES)).collect()
    }

    /// Fills `buffer` from `place`. `false` where there is no such place.
    pub async fn read(
        &self,
        target: &dyn Target,
        geometry: Geometry,
        place: u64,
        buffer: &mut [u8],
    ) -> Result<bool> {
        let Some(end) = place.checked_add(buffer.len() as u64) else { return Ok(false) };
        if end <= geometry.size() {
            target.read(place, buffer).await?;
            return Ok(true);
        }
        match self.find(place..end) {
            Some((other, range)) => other.disk.read(range.start, buffer).await.map(|()| true),
            None => Ok(false),
        }
    }

    /// The same for a first look, of which nothing is known: what the disk knows to be zeros is not read.
    pub async fn look(
        &self,
        target: &dyn Target,
        geometry: Geometry,
        place: u64,
        buffer: &mut [u8],
    ) -> Result<bool> {
        let end = place.saturating_add(buffer.len() as u64);
        match self.find(place..end) {
            Some((other, range)) => other.look(range, buffer).await.map(|()| true),
            None => self.read(target, geometry, place, buffer).await,
        }
    }

    /// The disk to which a range of places belongs, and where there.
    fn find(&self, places: Range<u64>) -> Option<(&Other, Range<u64>)> {
        let (number, start) = disk_of_place(places.start)?;
        let other = self.disks.get(number)?;
        let range = start..start.checked_add(places.end.checked_sub(places.start)?)?;
        (range.end <= other.disk.size()).then_some((other, range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::place_of_disk;
    use crate::ends::MemoryDisk;
    use proptest::prelude::*;

    #[tokio::test]
    async fn places_are_found_or_refused_but_never_mixed_up() {
        let target = MemoryDisk::new(vec![1; 1 << 20]);
        let geometry = Geometry::new(1 << 20, 64 << 10).unwrap();
        let other = [vec![0; 10_000], vec![2; 10_000], vec![0; 10_000]].concat();
        let shelf = Shelf { disks: Arc::from([Other::new(Arc::new(MemoryDisk::new(other.clone())))]) };
        let mut buffer = vec![9; 4096];
        for (place, expected) in [
            (0, Some(&vec![1; 4096][..])),
            ((1 << 20) - 4095, None),
            (1 << 20, None),
            (place_of_disk(0), Some(&other[..4096])),
            (place_of_disk(0) + 9000, Some(&other[9000..13096])),
            (place_of_disk(0) + 11_000, Some(&other[11_000..15_096])),
            (place_of_disk(0) + 25_904, Some(&other[25_904..])),
            (place_of_disk(0) + 25_905, None),
            (place_of_disk(0) - 1, None),
            (place_of_disk(1), None),
            (u64::MAX, None),
            (u64::MAX - 4096, None),
        ] {
            let found = shelf.read(&target, geometry, place, &mut buffer).await.unwrap();
            assert_eq!(found.then_some(&buffer[..]), expected, "place {place}");
            let found = shelf.look(&target, geometry, place, &mut buffer).await.unwrap();
            assert_eq!(found.then_some(&buffer[..]), expected, "a look at place {place}");
        }
    }

    proptest! {
        #[test]
        fn no_place_however_strange_is_an_error(place: u64, length in 0usize..10_000) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let target = MemoryDisk::new(vec![1; 1 << 20]);
            let geometry = Geometry::new(1 << 20, 64 << 10).unwrap();
            let found = runtime.block_on(Shelf::default().read(&target, geometry, place, &mut vec![0; length]));
            prop_assert_eq!(found.unwrap(), place.checked_add(length as u64).is_some_and(|end| end <= 1 << 20));
        }
    }
}
