//! Puts a block together from what the receiver has: grain by grain, what lies under it already, what it can copy from
//! elsewhere, zeros, and the rest literally.

use super::known::Known;
use crate::digest::Digest;
use crate::limits::GRAIN_BYTES;
use crate::wire::{Fill, Grains, Recipe};

/// The recipe of the block at `place` whose grains have these digests. `under` is what the receiver has there now.
pub fn compose(
    place: u64,
    length: usize,
    grains: &[Digest],
    under: Option<&Grains>,
    known: &Known,
) -> Recipe {
    let elsewhere = known.places(grains);
    let mut recipe = Recipe::default();
    for (number, (grain, found)) in grains.iter().zip(elsewhere).enumerate() {
        let at = number * GRAIN_BYTES;
        let bytes = (length - at).min(GRAIN_BYTES);
        let lies_there = under.and_then(|under| under.each.get(number)) == Some(grain);
        let fill = match found {
            _ if *grain == Digest::NONE => Fill::Zeros,
            _ if lies_there => Fill::Copy { from: place + at as u64 },
            // The short grain at the end of a disk is not worth a look elsewhere.
            Some(from) if bytes == GRAIN_BYTES => Fill::Copy { from },
            _ => Fill::Literal,
        };
        recipe.push(bytes as u32, fill);
    }
    recipe
}

/// The literal bytes of a block, one part after the other.
pub fn literals(recipe: &Recipe, block: &[u8], into: &mut Vec<u8>) {
    let mut at = 0;
    for (length, fill) in &recipe.parts {
        let end = at + *length as usize;
        if *fill == Fill::Literal {
            into.extend_from_slice(&block[at..end]);
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::send::index::GrainIndex;
    use crate::wire::digests_of_grains;

    fn grain(byte: u8) -> Vec<u8> {
        vec![byte; GRAIN_BYTES]
    }

    #[test]
    fn a_block_is_made_of_what_is_there_and_the_rest() {
        let place = 1 << 20;
        let mut index = GrainIndex::for_data(1 << 20, 1);
        index.insert(Digest::of(&grain(3)), 7 * 4096);
        index.insert(Digest::of(&grain(4)), 8 * 4096);
        let known = Known::new(index, true, std::iter::empty());
        let block = [grain(1), grain(2), grain(3), grain(4), grain(0), vec![5; 100]].concat();
        let under = Grains::of(&[grain(1), grain(9), grain(3), grain(9), grain(9), vec![9; 100]].concat());
        let recipe = compose(place, block.len(), &digests_of_grains(&block), Some(&under), &known);
        let grain = GRAIN_BYTES as u32;
        let expected = [
            (grain, Fill::Copy { from: place }),
            (grain, Fill::Literal),
            (grain, Fill::Copy { from: place + 2 * 4096 }),
            (grain, Fill::Copy { from: 8 * 4096 }),
            (grain, Fill::Zeros),
            (100, Fill::Literal),
        ];
        assert_eq!(recipe.parts, expected);
        let mut bytes = Vec::new();
        literals(&recipe, &block, &mut bytes);
        assert_eq!(bytes, [vec![2; GRAIN_BYTES], vec![5; 100]].concat());
    }
}
