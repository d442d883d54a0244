//! The protocol on one stream, as written in `PROTOCOL.md`. Knows nothing of disks, sessions or transports.

mod frame;
mod message;
mod recipe;
mod stream;

pub use frame::{Damage, HEADER_BYTES, Header, Kind, VERSION};
pub(crate) use message::{
    Grains, Hello, Totals, Welcome, decode_have, decode_indexes, digests_of_grains, encode_have,
    encode_indexes,
};
pub(crate) use recipe::{Fill, Recipe};
pub(crate) use stream::{Pacer, Reader, Writer};
