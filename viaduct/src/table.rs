//! One digest per block, and one bit per block, in memory that follows what is used: a sparse disk costs next to nothing,
//! a full one of the largest size 64 MiB.

use crate::digest::Digest;
use std::ops::Range;

const PAGE: usize = 1024;
const ABSENT: Digest = Digest::NONE;

/// Digests by block index, below a fixed number of blocks.
#[derive(Debug, Default)]
pub(crate) struct DigestTable {
    pages: Vec<Option<Box<[Digest; PAGE]>>>,
    count: u64,
}

impl DigestTable {
    pub fn new(blocks: u64) -> DigestTable {
        DigestTable { pages: vec![None; (blocks as usize).div_ceil(PAGE)], count: 0 }
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn get(&self, index: u64) -> Option<Digest> {
        let page = self.pages.get(index as usize / PAGE)?.as_ref()?;
        Some(page[index as usize % PAGE]).filter(|digest| *digest != ABSENT)
    }

    /// Ignores an index beyond the number of blocks.
    pub fn set(&mut self, index: u64, digest: Option<Digest>) {
        let Some(page) = self.pages.get_mut(index as usize / PAGE) else { return };
        if page.is_none() && digest.is_none() {
            return;
        }
        let slot = &mut page.get_or_insert_with(|| Box::new([ABSENT; PAGE]))[index as usize % PAGE];
        self.count -= u64::from(*slot != ABSENT);
        *slot = digest.unwrap_or(ABSENT);
        self.count += u64::from(*slot != ABSENT);
    }

    /// In ascending order, from `from` on.
    pub fn iter_from(&self, from: u64) -> impl Iterator<Item = (u64, Digest)> + '_ {
        let first = from as usize / PAGE;
        self.pages
            .iter()
            .enumerate()
            .skip(first)
            .filter_map(|(number, page)| page.as_ref().map(|page| (number, page)))
            .flat_map(move |(number, page)| {
                page.iter()
                    .enumerate()
                    .map(move |(slot, digest)| ((number * PAGE + slot) as u64, *digest))
                    .filter(move |(index, digest)| *index >= from && *digest != ABSENT)
            })
    }
}

/// A set of block indexes below a fixed number.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockSet {
    words: Vec<u64>,
    count: u64,
}

impl BlockSet {
    pub fn new(blocks: u64) -> BlockSet {
        BlockSet { words: vec![0; (blocks as usize).div_ceil(64)], count: 0 }
    }

    pub fn len(&self) -> u64 {
        self.count
    }

    pub fn contains(&self, index: u64) -> bool {
        self.words.get(index as usize / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    /// Whether it was not in the set before.
    pub fn insert(&mut self, index: u64) -> bool {
        let (word, bit) = (&mut self.words[index as usize / 64], 1 << (index % 64));
        // Not `count += u64::from(new); new`: where that is inlined into a caller that branches on the answer, optimised
        // code of rustc 1.95 adds nothing (rust-lang/rust#158206).
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.count += 1;
        true
    }

    pub fn remove(&mut self, index: u64) {
        let word = &mut self.words[index as usize / 64];
        self.count -= *word >> (index % 64) & 1;
        *word &= !(1 << (index % 64));
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
        self.count = 0;
    }
}

/// Cuts `range` into runs of blocks of which `kind` says the same.
pub(crate) fn runs<K: PartialEq>(range: Range<u64>, mut kind: impl FnMut(u64) -> K) -> Vec<(Range<u64>, K)> {
    let mut runs: Vec<(Range<u64>, K)> = Vec::new();
    for index in range {
        let of = kind(index);
        match runs.last_mut() {
            Some((run, last)) if *last == of => run.end = index + 1,
            _ => runs.push((index..index + 1, of)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::{BTreeMap, BTreeSet};

    proptest! {
        #[test]
        fn a_table_is_a_map(changes in proptest::collection::vec((0u64..5000, proptest::option::of(1u8..)), 0..200), from in 0u64..5000) {
            let (mut table, mut map) = (DigestTable::new(5000), BTreeMap::new());
            for (index, value) in changes {
                let digest = value.map(|value| Digest([value; 32]));
                table.set(index, digest);
                match digest {
                    Some(digest) => map.insert(index, digest),
                    None => map.remove(&index),
                };
            }
            prop_assert_eq!(table.len(), map.len() as u64);
            prop_assert_eq!(table.iter_from(from).collect::<Vec<_>>(), map.range(from..).map(|(i, d)| (*i, *d)).collect::<Vec<_>>());
        }

        #[test]
        fn a_block_set_is_a_set(changes in proptest::collection::vec((0u64..300, any::<bool>()), 0..200)) {
            let (mut set, mut model) = (BlockSet::new(300), BTreeSet::new());
            for (index, add) in changes {
                if add {
                    prop_assert_eq!(set.insert(index), model.insert(index));
                } else {
                    set.remove(index);
                    model.remove(&index);
                }
            }
            prop_assert_eq!(set.len(), model.len() as u64);
            prop_assert!((0..300).all(|index| set.contains(index) == model.contains(&index)));
        }
    }
}
