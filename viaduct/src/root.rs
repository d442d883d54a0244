//! The root digest of a disk that lies still: what `viaduct digest` prints, and what a target is compared with when it is
//! read again.

use crate::apart::apart;
use crate::blocks::{Geometry, is_zero};
use crate::digest::{Digest, Root};
use crate::ends::Source;
use crate::error::Result;
use crate::plan::{Planner, Work};
use std::sync::Arc;

/// Reads the disk in `geometry`, which must not be larger than the source.
pub async fn root_of(source: Arc<dyn Source>, geometry: Geometry) -> Result<Digest> {
    apart(async move { fold(&*source, geometry).await }).await
}

async fn fold(source: &dyn Source, geometry: Geometry) -> Result<Digest> {
    let mut root = Root::new(geometry);
    let mut planner = Planner::new(source, geometry);
    let mut block = Vec::new();
    while let Some(work) = planner.next().await? {
        let Work::Read { index, parts } = work else { continue };
        let start = geometry.offset(index);
        block.clear();
        block.resize(geometry.len_of(index) as usize, 0);
        for part in parts {
            source
                .read(part.start, &mut block[(part.start - start) as usize..(part.end - start) as usize])
                .await?;
        }
        if !is_zero(&block) {
            root.push(index, Digest::of(&block));
        }
    }
    Ok(root.finish())
}
