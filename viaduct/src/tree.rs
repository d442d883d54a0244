//! Whether two trees of files are the same: an order-independent digest over a tar stream, with everything that must survive
//! when a volume is folded into another file system. Reads ustar, PAX and GNU tar; keeps a few dozen bytes per entry.

mod acl;
mod header;
mod manifest;
mod pax;
mod reader;
mod sparse;

pub use manifest::{Tree, tree};
