//! The payload of a mixed block: how it is put together from literal bytes, zeros, and copies of what the receiver has. Pure
//! encoding; whether a copy yields what it should is for the receiver to check by the digest of the whole block.
//!
//! ```text
//! packed:u8  0  count:u16   ( fill:u8  0  0  0  length:u32  from:u64 )*    then the literal bytes, one after the other,
//!                                                                        as they are or packed by zstd
//! ```
//! Little endian. The lengths add up to the block's. `from` is a place of the receiver: see "Places" in `PROTOCOL.md`.

use crate::limits::{BLOCK_BYTES_MAX, GRAIN_BYTES};

const HEAD_BYTES: usize = 4;
const PART_BYTES: usize = 16;
/// A part is never smaller than a grain, but for the last one of a disk.
const PARTS_MAX: usize = BLOCK_BYTES_MAX as usize / GRAIN_BYTES;

/// What a part of a block is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fill {
    /// The next bytes of the payload.
    Literal,
    Zeros,
    /// The bytes at this place of the receiver.
    Copy {
        from: u64,
    },
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// Consecutive parts: bytes and what they are made of.
    pub parts: Vec<(u32, Fill)>,
}

impl Recipe {
    /// Adds a part, to the last one if it goes on there.
    pub fn push(&mut self, length: u32, fill: Fill) {
        if let Some((before, last)) = self.parts.last_mut() {
            let goes_on = match (*last, fill) {
                (Fill::Copy { from: start }, Fill::Copy { from }) => start + u64::from(*before) == from,
                (last, fill) => last == fill,
            };
            if goes_on {
                *before += length;
                return;
            }
        }
        self.parts.push((length, fill));
    }

    /// Bytes that copies stand for.
    pub fn copied(&self) -> u64 {
        let copies = self.parts.iter().filter(|(_, fill)| matches!(fill, Fill::Copy { .. }));
        copies.map(|(length, _)| u64::from(*length)).sum()
    }

    /// Bytes that must come with the recipe, unpacked.
    pub fn literal(&self) -> u64 {
        let literals = self.parts.iter().filter(|(_, fill)| matches!(fill, Fill::Literal));
        literals.map(|(length, _)| u64::from(*length)).sum()
    }

    /// How long the recipe is, without the literal bytes.
    pub fn encoded_bytes(&self) -> usize {
        HEAD_BYTES + self.parts.len() * PART_BYTES
    }

    /// Appends the recipe; the literal bytes follow.
    pub fn encode(&self, packed: bool, into: &mut Vec<u8>) {
        into.extend_from_slice(&[u8::from(packed), 0]);
        into.extend_from_slice(&(self.parts.len() as u16).to_le_bytes());
        for (length, fill) in &self.parts {
            let (kind, from) = match fill {
                Fill::Literal => (0, 0),
                Fill::Zeros => (1, 0),
                Fill::Copy { from } => (2, *from),
            };
            into.extend_from_slice(&[kind, 0, 0, 0]);
            into.extend_from_slice(&length.to_le_bytes());
            into.extend_from_slice(&u64::to_le_bytes(from));
        }
    }

    /// The recipe of a block of `length` bytes, whether its literal bytes are packed, and they themselves.
    pub fn decode(payload: &[u8], length: u64) -> Result<(Recipe, bool, &[u8]), &'static str> {
        let (head, rest) = payload.split_first_chunk::<HEAD_BYTES>().ok_or("its recipe is cut off")?;
        let count = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (parts, literals) = rest.split_at_checked(count * PART_BYTES).ok_or("its recipe is cut off")?;
        if count > PARTS_MAX || head[0] > 1 || head[1] != 0 {
            return Err("its recipe is not understood");
        }
        let (mut recipe, mut total) = (Recipe::default(), 0);
        for part in parts.as_chunks::<PART_BYTES>().0 {
            let bytes = u32::from_le_bytes([part[4], part[5], part[6], part[7]]);
            let from = part[8..].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            total += u64::from(bytes);
            let fill = match part[0] {
                0 => Fill::Literal,
                1 => Fill::Zeros,
                2 if from.checked_add(u64::from(bytes)).is_some() => Fill::Copy { from },
                _ => return Err("its recipe is not understood"),
            };
            recipe.parts.push((bytes, fill));
        }
        if total != length || recipe.parts.iter().any(|(bytes, _)| *bytes == 0) {
            return Err("its recipe makes another length");
        }
        Ok((recipe, head[0] == 1, literals))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = (u32, Fill)> {
        let fill = prop_oneof![
            Just(Fill::Literal),
            Just(Fill::Zeros),
            (0u64..1 << 50).prop_map(|from| Fill::Copy { from }),
        ];
        (1u32..100_000, fill)
    }

    proptest! {
        #[test]
        fn a_recipe_survives_the_line(parts in proptest::collection::vec(part(), 0..40), packed: bool, literals in proptest::collection::vec(any::<u8>(), 0..40)) {
            let recipe = Recipe { parts };
            let length = recipe.parts.iter().map(|(length, _)| u64::from(*length)).sum();
            let mut payload = Vec::new();
            recipe.encode(packed, &mut payload);
            prop_assert_eq!(payload.len(), HEAD_BYTES + recipe.parts.len() * PART_BYTES);
            payload.extend_from_slice(&literals);
            prop_assert_eq!(Recipe::decode(&payload, length), Ok((recipe.clone(), packed, &literals[..])));
            prop_assert!(Recipe::decode(&payload, length + 1).is_err());
            for cut in 0..HEAD_BYTES + recipe.parts.len() * PART_BYTES {
                prop_assert!(Recipe::decode(&payload[..cut], length).is_err());
            }
        }

        #[test]
        fn noise_never_makes_more_than_the_block(noise in proptest::collection::vec(any::<u8>(), 0..200), length in 0u64..1 << 23) {
            if let Ok((recipe, _, _)) = Recipe::decode(&noise, length) {
                prop_assert!(recipe.literal() + recipe.copied() <= length);
            }
        }

        #[test]
        fn parts_that_go_on_are_one_part(parts in proptest::collection::vec(part(), 0..40)) {
            let (mut recipe, mut length) = (Recipe::default(), 0);
            for (bytes, fill) in &parts {
                recipe.push(*bytes, *fill);
                length += u64::from(*bytes);
            }
            prop_assert_eq!(recipe.parts.iter().map(|(bytes, _)| u64::from(*bytes)).sum::<u64>(), length);
            let mut copy = Recipe::default();
            copy.push(4096, Fill::Copy { from: 8192 });
            copy.push(4096, Fill::Copy { from: 12288 });
            copy.push(4096, Fill::Copy { from: 0 });
            prop_assert_eq!(copy.parts.len(), 2);
        }
    }
}
