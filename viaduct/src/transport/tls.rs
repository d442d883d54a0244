//! TLS 1.3 over TCP. Each end is pinned to the other's key; nothing else about a certificate counts, and nobody else is
//! asked. After the handshake the receiver says one byte, so that a sender whose key it refused learns it while connecting.

mod connect;
mod listen;
mod pin;

pub use connect::TlsConnector;
pub use listen::TlsListener;

use super::Fingerprint;
use crate::error::Error;

/// What is read off the line at a time: one per stream.
const READ_BYTES: usize = 256 << 10;

/// Both ends name the protocol, so that a TLS port of something else is told apart.
const ALPN: &[u8] = b"fluidcloud-viaduct/1";

/// What an I/O error of a handshake means. `ours` is the fingerprint the other end may not have accepted.
fn explain(error: std::io::Error, whom: &str, ours: Fingerprint) -> Error {
    use rustls::AlertDescription::{AccessDenied, BadCertificate, CertificateUnknown, UnknownCA};
    let whom = whom.to_owned();
    if let Some(pin::WrongKey { seen, expected }) = pin::wrong_key(&error) {
        return Error::WrongPeer { whom, seen: seen.to_string(), expected: expected.to_string() };
    }
    match pin::tls_error(&error) {
        Some(rustls::Error::AlertReceived(
            AccessDenied | BadCertificate | CertificateUnknown | UnknownCA,
        )) => Error::Refused { whom, ours: ours.to_string() },
        Some(error) => Error::protocol(&whom, error.to_string()),
        None => Error::Broken { whom, why: error.to_string() },
    }
}

/// The TLS library reads a few KiB at a time; asking the kernel that often would take more time than the cipher.
fn buffered(socket: tokio::net::TcpStream) -> tokio::io::BufReader<tokio::net::TcpStream> {
    tokio::io::BufReader::with_capacity(READ_BYTES, socket)
}

pub(super) fn prepare(socket: &tokio::net::TcpStream) {
    // Frames are written whole; waiting for more to say would only delay small ones.
    let _ = socket.set_nodelay(true);
    // A peer whose machine vanished is noticed even while nothing is due.
    let _ = rustix::net::sockopt::set_socket_keepalive(socket, true);
}
