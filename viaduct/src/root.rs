//! The root digest of a disk that lies still: what `viaduct digest` prints, and what a target is compared with when it is
//! read again. Several blocks are read and digested at a time.

use crate::apart::apart;
use crate::blocks::{Geometry, is_zero};
use crate::digest::{Digest, OrderedRoot};
use crate::ends::{Source, read_parts};
use crate::error::{Error, Result};
use crate::limits::DIGESTERS;
use crate::plan::{Planner, Work};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// A block to read, by its number among those that are.
type Job = (u64, u64, Vec<Range<u64>>);

/// Reads the disk in `geometry`, which must not be larger than the source.
pub async fn root_of(source: Arc<dyn Source>, geometry: Geometry) -> Result<Digest> {
    let (jobs, todo) = async_channel::bounded(2 * DIGESTERS);
    let root = Arc::new(Mutex::new(OrderedRoot::new(geometry)));
    let reader = |_| {
        let (source, todo, root) = (source.clone(), todo.clone(), root.clone());
        apart(async move { read(&*source, geometry, &todo, &root).await })
    };
    let readers: Vec<_> = (0..DIGESTERS).map(reader).collect();
    let planner = {
        let source = source.clone();
        apart(async move { plan(&*source, geometry, jobs).await })
    };
    drop(todo);
    let (planned, read) = futures::future::join(planner, futures::future::join_all(readers)).await;
    for outcome in read {
        outcome?;
    }
    let finished = root.lock().unwrap_or_else(PoisonError::into_inner).finish(planned?);
    finished.ok_or_else(|| Error::io("read", source.name(), std::io::ErrorKind::Interrupted.into()))
}

async fn plan(source: &dyn Source, geometry: Geometry, jobs: async_channel::Sender<Job>) -> Result<u64> {
    let (mut planner, mut number) = (Planner::new(source, geometry), 0);
    while let Some(work) = planner.next().await? {
        let Work::Read { index, parts } = work else { continue };
        // Closed when no reader is left; why, they tell.
        if jobs.send((number, index, parts)).await.is_err() {
            break;
        }
        number += 1;
    }
    Ok(number)
}

async fn read(
    source: &dyn Source,
    geometry: Geometry,
    todo: &async_channel::Receiver<Job>,
    root: &Mutex<OrderedRoot>,
) -> Result<()> {
    let mut block = Vec::new();
    while let Ok((number, index, parts)) = todo.recv().await {
        let read = read_parts(source, geometry.bytes_of(index), &parts, &mut block).await;
        // The others need not go on.
        read.inspect_err(|_| _ = todo.close())?;
        let digest = (!is_zero(&block)).then(|| (index, Digest::of(&block)));
        root.lock().unwrap_or_else(PoisonError::into_inner).push(number, digest);
    }
    Ok(())
}
