//! A small client and a smaller server of the NBD protocol: fixed newstyle; the client takes structured replies and block
//! status, and pipelines. Knows disks only as a server's export; what they are to a transfer is in `ends/nbd`.

mod client;
mod handshake;
mod prompt;
mod reply;
mod serve;

pub(crate) use client::{Client, Request};
pub(crate) use reply::Interest;
pub use serve::{ServeOptions, serve, serve_source};
