//! The protocol on one stream, as written in `PROTOCOL.md`. Knows nothing of disks, sessions or transports.

mod frame;
mod message;
mod stream;

pub use frame::{Damage, HEADER_BYTES, Header, Kind, VERSION};
pub(crate) use message::{Hello, Totals, Welcome, decode_have, encode_have};
pub(crate) use stream::{Pacer, Reader, Writer};
