//! The payloads that are not blocks: small JSON messages, and the packed lists of what the receiver has.

use super::frame::HAVE_ENTRY_BYTES;
use crate::digest::Digest;
use serde::{Deserialize, Serialize};

/// The first frame of every stream, from the sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hello {
    /// Names this attempt; streams with the same session belong together. A new one replaces the old.
    pub session: String,
    /// 0 is the control stream, which comes first; it carries data too.
    pub stream: u16,
    pub streams: u16,
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
    }

    #[test]
    fn a_message_with_an_unknown_field_is_refused() {
        assert!(
            serde_json::from_str::<Welcome>(r#"{"join":null,"have":0,"idle_secs":60,"more":1}"#).is_err()
        );
    }
}
