//! Digests of blocks, and the one root over a whole disk. Owns the definition of "the same disk": equal size, equal
//! block size, equal content. Blocks of zeros cost nothing, so a huge sparse disk has its root at once.

use crate::blocks::Geometry;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// A BLAKE3 digest. Shown as `blake3:<hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    pub const BYTES: usize = 32;

    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// What no content has: "nothing but zeros" in lists of grains, and "empty" in tables.
    pub const NONE: Digest = Digest([0; 32]);

    pub fn parse(text: &str) -> Option<Digest> {
        let bytes = data_encoding::HEXLOWER.decode(text.strip_prefix("blake3:")?.as_bytes()).ok()?;
        Some(Digest(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "blake3:{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Digest::parse(&text).ok_or_else(|| serde::de::Error::custom("not a blake3 digest"))
    }
}

/// Folds block digests, in ascending order of their index and without blocks of zeros, into the root:
///
/// `blake3-derive-key("fluidcloud viaduct root v1", size:u64 block_bytes:u64 (index:u64 digest:32)*)`, little endian.
#[derive(Clone, Debug)]
pub struct Root {
    hasher: blake3::Hasher,
    next: u64,
}

impl Root {
    pub fn new(geometry: Geometry) -> Root {
        let mut hasher = blake3::Hasher::new_derive_key("fluidcloud viaduct root v1");
        hasher.update(&geometry.size().to_le_bytes());
        hasher.update(&u64::from(geometry.block_bytes()).to_le_bytes());
        Root { hasher, next: 0 }
    }

    /// `index` must be larger than the one before.
    pub fn push(&mut self, index: u64, digest: Digest) {
        debug_assert!(index >= self.next, "blocks are folded in order");
        self.next = index + 1;
        self.hasher.update(&index.to_le_bytes());
        self.hasher.update(&digest.0);
    }

    pub fn finish(&self) -> Digest {
        Digest(*self.hasher.finalize().as_bytes())
    }
}

/// Folds digests that arrive a little out of order, as parallel workers finish them. Each work item has a number, from 0
/// without gaps; the memory used is that of the items which overtook an unfinished one.
#[derive(Debug)]
pub struct OrderedRoot {
    root: Root,
    next: u64,
    waiting: BTreeMap<u64, Option<(u64, Digest)>>,
    /// There are no numbers from the first to the second.
    gap: Option<(u64, u64)>,
}

impl OrderedRoot {
    pub fn new(geometry: Geometry) -> OrderedRoot {
        OrderedRoot { root: Root::new(geometry), next: 0, waiting: BTreeMap::new(), gap: None }
    }

    /// Item `number` is block `index` with `digest`, or nothing but zeros.
    pub fn push(&mut self, number: u64, block: Option<(u64, Digest)>) {
        self.waiting.insert(number, block);
        self.fold();
    }

    /// There are no items with numbers `from..to`.
    pub fn gap(&mut self, from: u64, to: u64) {
        self.gap = Some((from, to));
        self.skip();
        self.fold();
    }

    fn skip(&mut self) {
        if let Some((_, to)) = self.gap.take_if(|(from, _)| *from == self.next) {
            self.next = to;
        }
    }

    fn fold(&mut self) {
        while let Some(block) = self.waiting.remove(&self.next) {
            self.next += 1;
            if let Some((index, digest)) = block {
                self.root.push(index, digest);
            }
            self.skip();
        }
    }

    /// The root, once every item up to number `end` was pushed.
    pub fn finish(&self, end: u64) -> Option<Digest> {
        (self.next == end).then(|| self.root.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_digest_survives_its_text_form() {
        let digest = Digest::of(b"viaduct");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("blake3:00"), None);
        assert_eq!(Digest::parse("sha256:00"), None);
    }

    #[test]
    fn size_block_size_place_and_content_all_matter() {
        let small = Geometry::new(1 << 20, 64 << 10).unwrap();
        let large = Geometry::new(2 << 20, 64 << 10).unwrap();
        let coarse = Geometry::new(1 << 20, 128 << 10).unwrap();
        let root = |geometry, index, content: &[u8]| {
            let mut root = Root::new(geometry);
            root.push(index, Digest::of(content));
            root.finish()
        };
        let all = [
            root(small, 0, b"a"),
            root(large, 0, b"a"),
            root(coarse, 0, b"a"),
            root(small, 1, b"a"),
            root(small, 0, b"b"),
        ];
        for (at, digest) in all.iter().enumerate() {
            assert!(!all[..at].contains(digest));
        }
    }

    proptest! {
        #[test]
        fn the_root_does_not_depend_on_the_order_of_the_workers(order in Just((0u64..40).collect::<Vec<_>>()).prop_shuffle()) {
            let geometry = Geometry::new(40 << 20, 1 << 20).unwrap();
            let block = |number: u64| (!number.is_multiple_of(3)).then(|| (number, Digest::of(&number.to_le_bytes())));
            let mut straight = OrderedRoot::new(geometry);
            (0..40).for_each(|number| straight.push(number, block(number)));
            let mut shuffled = OrderedRoot::new(geometry);
            for (pushed, number) in order.into_iter().enumerate() {
                prop_assert!(shuffled.finish(40).is_none(), "after {pushed}");
                shuffled.push(number, block(number));
            }
            prop_assert_eq!(shuffled.finish(40), straight.finish(40));
        }

        #[test]
        fn the_root_does_not_depend_on_where_numbers_are_left_out(
            order in Just((0u64..41).collect::<Vec<_>>()).prop_shuffle(), from in 0u64..=40,
        ) {
            let geometry = Geometry::new(40 << 20, 1 << 20).unwrap();
            let block = |number: u64| Some((number, Digest::of(&number.to_le_bytes())));
            let mut straight = OrderedRoot::new(geometry);
            (0..40).for_each(|number| straight.push(number, block(number)));
            let mut parted = OrderedRoot::new(geometry);
            for number in order {
                match number {
                    // Whenever that becomes known.
                    40 => parted.gap(from, from + 1000),
                    number if number < from => parted.push(number, block(number)),
                    number => parted.push(number + 1000, block(number)),
                }
            }
            prop_assert_eq!(parted.finish(1040), straight.finish(40));
        }
    }
}
