//! The payloads that are not blocks: small JSON messages, and the packed lists of what the receiver has.

use super::frame::HAVE_ENTRY_BYTES;
use crate::blocks::is_zero;
use crate::digest::Digest;
use crate::limits::GRAIN_BYTES;
use serde::{Deserialize, Serialize};

/// The first frame of every stream, from the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    /// Names this attempt; streams with the same session belong together. A new one replaces the old.
    pub session: String,
    /// 0 is the control stream, which comes first; it carries data too.
    pub stream: u16,
    pub size: u64,
    pub block_bytes: u32,
    /// What the source may have to write at the target at most: its allocated bytes.
    pub data_bytes: u64,
    /// What the source is called, for people.
    pub label: String,
}

/// The receiver's answer on stream 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Welcome {
    /// Where further streams join, on a transport that needs to know (a socket's path on the receiver's host).
    pub join: Option<String>,
    /// How many blocks the lists that follow name.
    pub have: u64,
    /// Whether blocks that the lists do not name may hold something else than zeros.
    pub old: bool,
    /// The sizes of the other disks that may be copied from; see `PROTOCOL.md` for their places.
    pub shelf: Vec<u64>,
    /// The root with which the last transfer to this target ended, if it did and the lists rest on it.
    pub base: Option<Digest>,
    /// The receiver gives up on a sender that says nothing for so long.
    pub idle_secs: u64,
}

/// The sender's totals, so that both ends report the same numbers. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Totals {
    pub read: u64,
    pub zero: u64,
    pub reused: u64,
    pub on_wire: u64,
    /// How many streams there were, in the end of stream 0.
    pub streams: u16,
}

pub(crate) fn encode_have(entries: &[(u64, Digest)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * HAVE_ENTRY_BYTES);
    for (index, digest) in entries {
        bytes.extend_from_slice(&index.to_le_bytes());
        bytes.extend_from_slice(&digest.0);
    }
    bytes
}

pub(crate) fn decode_have(bytes: &[u8]) -> impl Iterator<Item = (u64, Digest)> + '_ {
    bytes.chunks_exact(HAVE_ENTRY_BYTES).map(|entry| {
        let (mut index, mut digest) = ([0; 8], [0; Digest::BYTES]);
        index.copy_from_slice(&entry[..8]);
        digest.copy_from_slice(&entry[8..]);
        (u64::from_le_bytes(index), Digest(digest))
    })
}

pub(crate) fn encode_indexes(indexes: &[u64]) -> Vec<u8> {
    indexes.iter().flat_map(|index| index.to_le_bytes()).collect()
}

pub(crate) fn decode_indexes(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    bytes.as_chunks().0.iter().map(|index| u64::from_le_bytes(*index))
}

/// What is at a place: the digest of the whole range, and one per grain. A range of zeros has no digests at all; a grain
/// of zeros has [`Digest::NONE`]; the last grain may be shorter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grains {
    pub whole: Option<Digest>,
    pub each: Vec<Digest>,
}

impl Grains {
    pub fn of(bytes: &[u8]) -> Grains {
        if is_zero(bytes) {
            return Grains::default();
        }
        Grains { whole: Some(Digest::of(bytes)), each: digests_of_grains(bytes) }
    }

    pub fn encode(&self) -> Vec<u8> {
        self.whole.iter().chain(&self.each).flat_map(|digest| digest.0).collect()
    }

    /// `None` where `bytes` do not speak of a range of `length` bytes.
    pub fn decode(bytes: &[u8], length: u64) -> Option<Grains> {
        let (digests, rest) = bytes.as_chunks::<{ Digest::BYTES }>();
        let mut digests = digests.iter().map(|digest| Digest(*digest));
        let whole = digests.next();
        let each: Vec<Digest> = digests.collect();
        let expected = if whole.is_some() { length.div_ceil(GRAIN_BYTES as u64) } else { 0 };
        (rest.is_empty() && each.len() as u64 == expected).then_some(Grains { whole, each })
    }
}

pub(crate) fn digests_of_grains(bytes: &[u8]) -> Vec<Digest> {
    let digest = |grain: &[u8]| if is_zero(grain) { Digest::NONE } else { Digest::of(grain) };
    bytes.chunks(GRAIN_BYTES).map(digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_of_blocks_survives_the_line(entries in proptest::collection::vec((any::<u64>(), any::<[u8; 32]>()), 0..50)) {
            let entries: Vec<_> = entries.into_iter().map(|(index, digest)| (index, Digest(digest))).collect();
            prop_assert_eq!(decode_have(&encode_have(&entries)).collect::<Vec<_>>(), entries);
        }

        #[test]
        fn a_list_of_indexes_survives_the_line(indexes in proptest::collection::vec(any::<u64>(), 0..50)) {
            prop_assert_eq!(decode_indexes(&encode_indexes(&indexes)).collect::<Vec<_>>(), indexes);
        }

        #[test]
        fn grains_survive_the_line_and_noise_is_none(bytes in proptest::collection::vec(0u8..2, 1..20_000), noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let grains = Grains::of(&bytes);
            prop_assert_eq!(Grains::decode(&grains.encode(), bytes.len() as u64), Some(grains));
            if let Some(grains) = Grains::decode(&noise, 4096) {
                prop_assert!(grains.each.len() <= 1);
            }
        }
    }

    #[test]
    fn a_message_with_an_unknown_field_is_refused() {
        assert!(
            serde_json::from_str::<Welcome>(
                r#"{"join":null,"have":0,"old":false,"shelf":[],"base":null,"idle_secs":60,"more":1}"#
            )
            .is_err()
        );
    }
}
