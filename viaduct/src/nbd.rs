//! A small client of the NBD protocol: fixed newstyle, structured replies, block status, pipelined. Knows disks only as a
//! server's export; what they are to a transfer is in `ends/nbd`.

mod client;
mod handshake;
mod prompt;
mod reply;

pub(crate) use client::{Client, Request};
pub(crate) use reply::Interest;
