//! What keeps the broker from working. What goes wrong in answering one request is a problem document instead.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "http.listen is {0}, which other hosts can reach, and a development start asks nobody for a token: listen on 127.0.0.1 or [::1], or start it without --development"
    )]
    NotLoopback(SocketAddr),
    #[error(
        "http.listen is {0}, which other hosts can reach, and tokens would cross the network readable: add `http.tls` with a certificate and its key, or listen on 127.0.0.1 or [::1] and reach it from elsewhere through `ssh -L`"
    )]
    NotEncrypted(SocketAddr),
    #[error("cannot use {path} for TLS ({why}): name a PEM file with the certificates, the server's own first, and one with its key", path = path.display())]
    Certificate { path: PathBuf, why: String },
    #[error("cannot write the audit log {path}: see that this user owns the directory and that it has room", path = path.display())]
    Audit {
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "cannot listen on {address} for the HTTP API: choose another http.listen, or end what listens there"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        cause: io::Error,
    },
    #[error("the broker cannot use the bus")]
    Bus(#[from] fluidcloud_proto::bus::Error),
    #[error("cannot start {program}: check that it exists and may be executed")]
    Start {
        program: String,
        #[source]
        cause: io::Error,
    },
    #[error("{part} of the broker ended by itself: start the broker again, and report this with its log")]
    Ended { part: &'static str },
}

impl Error {
    pub fn retryable(&self) -> bool {
        match self {
            Self::Bus(error) => error.retryable(),
            Self::Listen { cause, .. } => cause.kind() == io::ErrorKind::AddrInUse,
            Self::NotLoopback(_)
            | Self::NotEncrypted(_)
            | Self::Certificate { .. }
            | Self::Audit { .. }
            | Self::Start { .. }
            | Self::Ended { .. } => false,
        }
    }
}
