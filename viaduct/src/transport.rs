//! How streams between two ends come to be. Owns the contract; knows nothing of what is said on a stream.

mod identity;
mod memory;
mod ssh;
mod stdio;
mod tls;
pub(crate) mod via;

pub use identity::{Fingerprint, Identity};
pub use memory::{MemoryConnector, MemoryListener, memory};
pub(crate) use ssh::Shell;
pub use ssh::{HostKey, SshConnector, SshDestination, SshLogin, SshOptions};
pub use stdio::{StdioListener, join};
pub use tls::{TlsConnector, TlsListener};
pub use via::{Rendezvous, Token};

use crate::error::{Error, Result};
use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a receiver says as soon as it has accepted a stream, before any frame: the sender knows that it has arrived.
const GREETING: u8 = b'v';

pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin + std::fmt::Debug> Io for T {}

/// A reliable, ordered stream of bytes whose other end has proved who it is.
pub type Stream = Box<dyn Io>;

/// The sender's side.
#[async_trait]
pub trait Connector: Send + Sync {
    /// The other end, for messages.
    fn whom(&self) -> String;

    /// Opens one stream. The first of a session is opened with no `join`; the others with what the receiver answered to the
    /// first. An error says by `retryable()` whether trying again can help. Dropping the future leaves nothing behind.
    async fn connect(&self, join: Option<&str>) -> Result<Stream>;
}

/// The receiver's side.
#[async_trait]
pub trait Listener: Send {
    /// Where it can be reached.
    fn address(&self) -> String;

    /// What further streams of a session need to know to come here.
    fn join(&self) -> Option<String> {
        None
    }

    /// The next stream, proved. Safe to drop and call again: no connection is lost.
    async fn accept(&mut self) -> Accepted;
}

/// What became of a connection.
pub enum Accepted {
    Stream {
        stream: Stream,
        whom: String,
    },
    /// Someone came and was turned away. `stranger` is false where the caller of the sender most likely made a mistake: the
    /// other end speaks our protocol, but with another key.
    Refused {
        error: Error,
        stranger: bool,
    },
    /// Nobody can come any more.
    Closed,
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Accepted::Stream { whom, .. } => {
                f.debug_struct("Stream").field("whom", whom).finish_non_exhaustive()
            }
            Accepted::Refused { error, .. } => f.debug_tuple("Refused").field(error).finish(),
            Accepted::Closed => f.write_str("Closed"),
        }
    }
}
