//! Where the receiver has a grain, by its digest: blocks of this disk that it has written, and its other disks. Bounded: a
//! full bucket forgets one of its entries, which costs bytes on the wire and nothing else. Half of the digest is remembered:
//! enough for a hint of which the receiver checks the outcome, in the whole digest of the whole block.

use crate::digest::Digest;
use crate::limits::{GRAIN_BYTES, INDEX_GRAINS_BESIDE_TABLE, INDEX_GRAINS_MAX};

/// Entries that share a bucket; a lookup looks at all of them.
const BUCKET: usize = 4;
/// Blocks of the disk from which on the table of what the receiver has may be so large that the index must be small.
const MANY_BLOCKS: u64 = 512 << 10;

/// The first half of the digest, and the place. Zeros are an empty entry, and memory that was never touched costs nothing.
type Entry = [u64; 3];
type Key = [u64; 2];

pub struct GrainIndex {
    entries: Vec<Entry>,
    victim: usize,
}

impl GrainIndex {
    /// For as many grains as `bytes` of data have, within the bounds.
    pub fn for_data(bytes: u64, blocks: u64) -> GrainIndex {
        let most = if blocks >= MANY_BLOCKS { INDEX_GRAINS_BESIDE_TABLE } else { INDEX_GRAINS_MAX };
        // With a little room to spare it hardly ever forgets.
        let wanted = usize::try_from(bytes / GRAIN_BYTES as u64 / 2 * 3).unwrap_or(most);
        let buckets = (wanted.clamp(BUCKET, most) / BUCKET).max(1);
        GrainIndex { entries: vec![[0; 3]; buckets * BUCKET], victim: 0 }
    }

    /// How many bytes of data it remembers without forgetting much.
    pub fn bytes(&self) -> u64 {
        (self.entries.len() / 2 * GRAIN_BYTES) as u64
    }

    pub fn get(&self, digest: Digest) -> Option<u64> {
        if digest == Digest::NONE {
            // What an empty entry looks like.
            return None;
        }
        let key = key_of(digest);
        let bucket = self.bucket(&key);
        self.entries[bucket..bucket + BUCKET].iter().find(|entry| entry[..2] == key).map(|entry| entry[2])
    }

    /// What is known stays; a grain of zeros is not worth an entry.
    pub fn insert(&mut self, digest: Digest, place: u64) {
        let key = key_of(digest);
        if digest == Digest::NONE {
            return;
        }
        let bucket = self.bucket(&key);
        let entries = &mut self.entries[bucket..bucket + BUCKET];
        if entries.iter().any(|entry| entry[..2] == key) {
            return;
        }
        let free = entries.iter().position(|entry| entry[..2] == [0; 2]);
        self.victim = (self.victim + 1) % BUCKET;
        entries[free.unwrap_or(self.victim)] = [key[0], key[1], place];
    }

    fn bucket(&self, key: &Key) -> usize {
        key[0] as usize % (self.entries.len() / BUCKET) * BUCKET
    }
}

impl std::fmt::Debug for GrainIndex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GrainIndex").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

fn key_of(digest: Digest) -> Key {
    let mut key = [0; 2];
    for (word, bytes) in key.iter_mut().zip(digest.0.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(number: u64) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    #[test]
    fn what_fits_is_remembered_and_what_does_not_is_forgotten_and_never_mistaken() {
        let mut index = GrainIndex::for_data(100 * GRAIN_BYTES as u64, 1);
        for number in 0..100 {
            index.insert(digest(number), number * 4096);
        }
        let kept = (0..100).filter(|number| index.get(digest(*number)) == Some(number * 4096)).count();
        assert!(kept >= 80, "{kept} of 100");
        for number in 100..100_000 {
            index.insert(digest(number), number * 4096);
        }
        for number in 0..100_000 {
            assert!(index.get(digest(number)).is_none_or(|place| place == number * 4096));
        }
        assert_eq!(index.entries.len(), 148);
    }

    #[test]
    fn sixteen_bytes_of_the_digest_count() {
        let mut index = GrainIndex::for_data(1 << 20, 1);
        let mut other = digest(1);
        index.insert(other, 7);
        other.0[15] ^= 1;
        assert_eq!((index.get(digest(1)), index.get(other)), (Some(7), None));
        index.insert(Digest::NONE, 9);
        assert_eq!(index.get(Digest::NONE), None);
    }

    #[test]
    fn memory_is_bounded_whatever_the_disk() {
        assert_eq!(GrainIndex::for_data(u64::MAX, 1000).entries.len(), INDEX_GRAINS_MAX);
        assert_eq!(GrainIndex::for_data(u64::MAX, 1 << 21).entries.len(), INDEX_GRAINS_BESIDE_TABLE);
    }
}
