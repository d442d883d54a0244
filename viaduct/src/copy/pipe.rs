//! A disk as a plain stream of bytes on stdout: in order, zeros included. A pipe cannot be read back, so that nothing is verified
//! here but what was read; whoever is at its other end has the digest to compare.

use crate::apart::apart;
use crate::blocks::{Geometry, is_zero};
use crate::digest::{Digest, Root};
use crate::ends::{Source, read_parts};
use crate::error::{Error, Result};
use crate::plan::{Planner, Work};
use crate::progress::Counters;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub async fn to_stdout(
    source: Arc<dyn Source>,
    geometry: Geometry,
    counters: Arc<Counters>,
) -> Result<Digest> {
    apart(async move { pour(&*source, geometry, &counters).await }).await
}

async fn pour(source: &dyn Source, geometry: Geometry, counters: &Counters) -> Result<Digest> {
    let fail = |error| Error::io("write", "stdout", error);
    // Not the buffered one: blocks are long enough.
    let mut out = crate::ends::raw_stdout()?;
    let mut root = Root::new(geometry);
    let mut planner = Planner::new(source, geometry);
    let mut block = Vec::new();
    while let Some(work) = planner.next().await? {
        match work {
            Work::Read { index, parts } => {
                let read = read_parts(source, geometry.bytes_of(index), &parts, &mut block).await?;
                counters.read.fetch_add(read, Relaxed);
                if is_zero(&block) {
                    counters.zero.fetch_add(block.len() as u64, Relaxed);
                } else {
                    root.push(index, Digest::of(&block));
                }
                out.write_all(&block).map_err(fail)?;
                counters.done.fetch_add(block.len() as u64, Relaxed);
            }
            Work::Zeros { blocks } => {
                block.clear();
                block.resize(geometry.block_bytes() as usize, 0);
                for index in blocks {
                    let length = geometry.len_of(index);
                    out.write_all(&block[..length as usize]).map_err(fail)?;
                    counters.zero.fetch_add(length, Relaxed);
                    counters.done.fetch_add(length, Relaxed);
                }
            }
            Work::Kept { .. } | Work::Probe { .. } => unreachable!("the planner asks nobody"),
        }
    }
    source.check_unchanged().await?;
    out.flush().map_err(fail)?;
    Ok(root.finish())
}
