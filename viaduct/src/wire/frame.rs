//! The fixed header before every payload. Pure encoding; refuses every header that a correct peer cannot have sent.
//!
//! ```text
//!  0       1      2         8         16        24            28         60
//!  version kind   check[6]  offset    length    wire_length   digest[32]   then wire_length bytes of payload
//! ```
//! Little endian. `check` is the start of the BLAKE3 digest of the header with `check` itself as zeros: a flipped bit in an
//! offset is found before it can do harm, on transports that do not protect their bytes too.

use crate::digest::Digest;
use crate::limits::{BLOCK_BYTES_MAX, GRAIN_BYTES, HAVE_ENTRIES_MAX, INDEXES_MAX, MESSAGE_BYTES_MAX};

/// The version of the protocol. Ends of different versions refuse each other.
pub const VERSION: u8 = 2;
pub const HEADER_BYTES: usize = 60;
/// One entry of a [`Kind::Have`] list: index and digest.
pub(crate) const HAVE_ENTRY_BYTES: usize = 8 + Digest::BYTES;
/// The longest answer to one [`Kind::Ask`]: a digest of the whole and one of every grain.
const GRAINS_BYTES_MAX: u32 = (BLOCK_BYTES_MAX / GRAIN_BYTES as u32 + 1) * Digest::BYTES as u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A block as it is.
    Raw = 1,
    /// A block, packed by zstd into fewer bytes.
    Zstd = 2,
    /// Blocks that hold nothing but zeros.
    Zero = 3,
    /// A block that the receiver already has durable, with this digest.
    Same = 4,
    /// The stream ends here; on stream 0 with the root digest and the sender's totals.
    End = 5,
    /// The sender is alive.
    Ping = 6,
    /// A block made of literal bytes, zeros and copies of what the receiver has; see [`super::recipe`].
    Mixed = 7,
    /// What do you have at this place?
    Ask = 8,
    /// Opens a stream.
    Hello = 16,
    /// Answers the hello of stream 0.
    Welcome = 17,
    /// A list of blocks that are durable at the receiver.
    Have = 18,
    /// The lists are complete, data may come.
    Ready = 19,
    /// The receiver is alive; `offset` bytes are durable.
    Status = 20,
    /// The roots agree and everything is durable.
    Verified = 21,
    /// Why this end gives up.
    Failed = 22,
    /// These blocks are written: they may be copied from.
    Settled = 23,
    /// These blocks could not be made of what is here: send them plain.
    Want = 24,
    /// Answers an ask: digests of what is there, grain by grain.
    Grains = 25,
}

impl Kind {
    pub const ALL: [Kind; 18] = [
        Kind::Raw,
        Kind::Zstd,
        Kind::Zero,
        Kind::Same,
        Kind::End,
        Kind::Ping,
        Kind::Mixed,
        Kind::Ask,
        Kind::Hello,
        Kind::Welcome,
        Kind::Have,
        Kind::Ready,
        Kind::Status,
        Kind::Verified,
        Kind::Failed,
        Kind::Settled,
        Kind::Want,
        Kind::Grains,
    ];

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    fn payload_max(self) -> u32 {
        match self {
            Kind::Raw | Kind::Zstd | Kind::Mixed => BLOCK_BYTES_MAX,
            Kind::Settled | Kind::Want => (INDEXES_MAX * 8) as u32,
            Kind::Grains => GRAINS_BYTES_MAX,
            Kind::Have => (HAVE_ENTRIES_MAX * HAVE_ENTRY_BYTES) as u32,
            Kind::Hello | Kind::Welcome | Kind::End | Kind::Failed => MESSAGE_BYTES_MAX,
            Kind::Zero
            | Kind::Same
            | Kind::Ping
            | Kind::Ask
            | Kind::Ready
            | Kind::Status
            | Kind::Verified => 0,
        }
    }
}

/// Offsets and lengths are bytes of the disk; `wire_length` is the payload's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    pub offset: u64,
    pub length: u64,
    pub wire_length: u32,
    pub digest: Digest,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it speaks version {0} of the protocol, this is version {VERSION}")]
    Version(u8),
    #[error("a frame header arrived damaged")]
    Check,
    #[error("unknown frame kind {0}")]
    Kind(u8),
    #[error("a {kind:?} frame with {wire_length} bytes of payload is beyond the bound")]
    Oversize { kind: Kind, wire_length: u32 },
    #[error("a {kind:?} frame of {length} bytes cannot have {wire_length} bytes of payload")]
    Lengths { kind: Kind, length: u64, wire_length: u32 },
}

impl Header {
    /// A header without payload.
    pub fn bare(kind: Kind, offset: u64, length: u64, digest: Digest) -> Header {
        Header { kind, offset, length, wire_length: 0, digest }
    }

    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0] = VERSION;
        bytes[1] = self.kind as u8;
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.length.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.wire_length.to_le_bytes());
        bytes[28..].copy_from_slice(&self.digest.0);
        let check = check_of(&bytes);
        bytes[2..8].copy_from_slice(&check);
        bytes
    }

    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Header, Damage> {
        // The version comes first: what another version means by the rest is not known.
        if bytes[0] != VERSION {
            return Err(Damage::Version(bytes[0]));
        }
        let mut blank = *bytes;
        blank[2..8].fill(0);
        if bytes[2..8] != check_of(&blank) {
            return Err(Damage::Check);
        }
        let kind = Kind::from_byte(bytes[1]).ok_or(Damage::Kind(bytes[1]))?;
        let mut digest = [0; Digest::BYTES];
        digest.copy_from_slice(&bytes[28..]);
        let header = Header {
            kind,
            offset: word(&bytes[8..16]),
            length: word(&bytes[16..24]),
            wire_length: word(&bytes[24..28]) as u32,
            digest: Digest(digest),
        };
        header.check_lengths()?;
        Ok(header)
    }

    fn check_lengths(&self) -> Result<(), Damage> {
        let Header { kind, length, wire_length, .. } = *self;
        if wire_length > kind.payload_max() {
            return Err(Damage::Oversize { kind, wire_length });
        }
        let fits = match kind {
            Kind::Raw => length == u64::from(wire_length) && length > 0,
            Kind::Zstd | Kind::Mixed => {
                u64::from(wire_length) < length && length <= u64::from(BLOCK_BYTES_MAX)
            }
            Kind::Ask => length > 0 && length <= u64::from(BLOCK_BYTES_MAX),
            Kind::Settled | Kind::Want => wire_length.is_multiple_of(8),
            Kind::Grains => wire_length.is_multiple_of(Digest::BYTES as u32),
            Kind::Have => (wire_length as usize).is_multiple_of(HAVE_ENTRY_BYTES),
            _ => true,
        };
        if fits { Ok(()) } else { Err(Damage::Lengths { kind, length, wire_length }) }
    }
}

fn check_of(bytes: &[u8; HEADER_BYTES]) -> [u8; 6] {
    let mut check = [0; 6];
    check.copy_from_slice(&blake3::hash(bytes).as_bytes()[..6]);
    check
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> impl Strategy<Value = Header> {
        (0..Kind::ALL.len(), any::<u64>(), 1..=BLOCK_BYTES_MAX, any::<[u8; 32]>()).prop_map(
            |(kind, offset, size, digest)| {
                let kind = Kind::ALL[kind];
                let wire_length = match kind {
                    Kind::Raw => size,
                    Kind::Zstd | Kind::Mixed => size - 1,
                    Kind::Settled | Kind::Want => size % 100 * 8,
                    Kind::Grains => size % 100 * Digest::BYTES as u32,
                    Kind::Have => size % 100 * HAVE_ENTRY_BYTES as u32,
                    kind => size.min(kind.payload_max()),
                };
                Header { kind, offset, length: u64::from(size), wire_length, digest: Digest(digest) }
            },
        )
    }

    proptest! {
        #[test]
        fn a_header_survives_the_line(header in header()) {
            prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn every_flipped_bit_is_found(header in header(), bit in 0..HEADER_BYTES * 8) {
            let mut bytes = header.encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Header::decode(&bytes).is_err());
        }

        #[test]
        fn noise_is_not_a_header(bytes in any::<[u8; 32]>(), more in any::<[u8; 28]>()) {
            let mut noise = [0; HEADER_BYTES];
            noise[..32].copy_from_slice(&bytes);
            noise[32..].copy_from_slice(&more);
            prop_assert!(Header::decode(&noise).is_err());
        }
    }

    #[test]
    fn another_version_is_named_whatever_follows_it() {
        let mut bytes = [0xff; HEADER_BYTES];
        bytes[0] = 7;
        assert_eq!(Header::decode(&bytes), Err(Damage::Version(7)));
    }

    #[test]
    fn a_payload_beyond_the_bound_of_its_kind_is_refused() {
        for kind in Kind::ALL {
            let wire_length = kind.payload_max() + 1;
            let header = Header {
                kind,
                offset: 0,
                length: u64::from(wire_length),
                wire_length,
                digest: Digest([0; 32]),
            };
            assert_eq!(Header::decode(&header.encode()), Err(Damage::Oversize { kind, wire_length }));
        }
    }

    #[test]
    fn a_packed_block_is_smaller_than_the_block() {
        let header =
            Header { kind: Kind::Zstd, offset: 0, length: 100, wire_length: 100, digest: Digest([0; 32]) };
        assert!(matches!(Header::decode(&header.encode()), Err(Damage::Lengths { .. })));
        let bomb = Header { length: u64::from(BLOCK_BYTES_MAX) + 1, ..header };
        assert!(matches!(Header::decode(&bomb.encode()), Err(Damage::Lengths { .. })));
    }
}
