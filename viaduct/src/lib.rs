//! Carries the bytes of one disk from a source site to a target site, and never knows why. Library and binary are the same
//! pipeline; `PROTOCOL.md` beside this crate says what goes over the wire.
//!
//! ```text
//! extents -> read -> drop zeros and what is known -> pack -> frame -> N streams -> check -> write -> journal -> root
//! plan       send/encode                                    wire     transport   receive/apply      keeper     digest
//! ```

mod apart;
pub mod blocks;
mod buffers;
mod copy;
mod digest;
mod ends;
mod error;
mod finish;
pub mod limits;
mod live;
mod nbd;
mod plan;
mod private_dir;
mod progress;
mod receive;
mod relay;
mod root;
mod send;
mod table;
mod transport;
mod tree;
mod wire;

pub use copy::{CopyOptions, copy};
pub use digest::{Digest, Root};
pub use ends::{
    Announced, Disk, MemoryDisk, NbdAddress, Source, Spool, Target, open_source, open_stdin, open_target,
};
pub use error::{Error, Failure, Result};
pub use finish::Finish;
pub use live::{Area, LiveSource};
pub use nbd::{ServeOptions, serve, serve_source};
pub use progress::{Event, Progress, Summary};
pub use receive::{OpenTarget, ReceiveOptions, forget, journal_dir, receive, receive_to};
pub use relay::{Relay, RelayOptions};
pub use root::root_of;
pub use send::{SendOptions, send, send_from};
pub use transport::{
    Accepted, Connector, Fingerprint, HostKey, Identity, Io, Listener, MemoryConnector, MemoryListener,
    Rendezvous, SshConnector, SshDestination, SshLogin, SshOptions, StdioListener, Stream, TlsConnector,
    TlsListener, Token, join, memory,
};
pub use tree::{Tree, tree};
pub use wire::{Damage, HEADER_BYTES, Header, Kind, VERSION};
