//! What was written to a far host is compared with what was read at the source: by SHA-256 where that host can tell it, by
//! reading all of it back where it cannot. Blocks that differ are forgotten, so that the next attempt writes them again.

use super::pass::Task;
use crate::blocks::is_zero;
use crate::digest::Digest;
use crate::ends::{FarTarget, Target, ZeroSums};
use crate::error::{Error, Result};
use crate::limits::{COPIERS, FAR_SUMS};
use crate::progress::Event;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::task::JoinSet;

pub async fn check(task: &Arc<Task>, far: &FarTarget) -> Result<Event> {
    let zeros = ZeroSums::new(task.geometry);
    let (next, read, left) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), AtomicU64::new(0));
    let left = Arc::new(left);
    let mut running = JoinSet::new();
    for _ in 0..COPIERS {
        let (task, far, next) = (task.clone(), far.clone(), next.clone());
        let (read, left) = (read.clone(), left.clone());
        running.spawn_blocking(move || {
            let runtime = tokio::runtime::Handle::current();
            let mut wrong = Vec::new();
            loop {
                let first = next.fetch_add(FAR_SUMS, Relaxed);
                if first >= task.geometry.blocks() {
                    return Ok::<_, Error>(wrong);
                }
                let blocks = first..task.geometry.blocks().min(first + FAR_SUMS);
                let bytes = task.geometry.bytes_of_run(&blocks);
                let length = bytes.end - bytes.start;
                // Of a file that was made by us, what nobody wrote to are holes.
                if far.began_as_zeros() && blocks.clone().all(|index| task.known(index).is_none()) {
                    left.fetch_add(length, Relaxed);
                    continue;
                }
                read.fetch_add(length, Relaxed);
                wrong.extend(runtime.block_on(differing(&task, &far, &zeros, blocks))?);
            }
        });
    }
    let mut wrong = Vec::new();
    while let Some(ended) = running.join_next().await {
        wrong.extend(ended.map_err(|error| Error::io("run", "a worker", error.into()))??);
    }
    wrong.sort_unstable();
    for index in &wrong {
        task.site.keeper.forget(*index..index + 1).await?;
    }
    if let Some(first) = wrong.first() {
        let at = task.geometry.offset(*first);
        let why = format!("{} blocks, the first at byte {at}, are not what was written there", wrong.len());
        return Err(Error::Differs { what: far.name(), why });
    }
    let how = match far.sum_command() {
        Some(command) => format!("`{command}` over there, block by block"),
        None => "read back, block by block".to_owned(),
    };
    Ok(Event::Checked { how, bytes_checked: read.load(Relaxed), bytes_holes: left.load(Relaxed) })
}

/// Which of these blocks are not what they should be.
async fn differing(task: &Task, far: &FarTarget, zeros: &ZeroSums, blocks: Range<u64>) -> Result<Vec<u64>> {
    if let Some(sums) = far.sums(task.geometry, blocks.clone()) {
        let (sums, expected) = (sums?, task.sums());
        let right = |index| expected.get(index).map_or_else(|| zeros.of(index), |sum| sum.0);
        return Ok(blocks
            .zip(sums)
            .filter(|(index, sum)| *sum != right(*index))
            .map(|(index, _)| index)
            .collect());
    }
    let (mut wrong, mut block) = (Vec::new(), Vec::new());
    for index in blocks {
        let known = task.known(index);
        if known.is_none() && far.began_as_zeros() {
            continue;
        }
        block.clear();
        block.resize(task.geometry.len_of(index) as usize, 0);
        far.read(task.geometry.offset(index), &mut block).await?;
        let right = match known {
            Some(digest) => Digest::of(&block) == digest,
            None => is_zero(&block),
        };
        if !right {
            wrong.push(index);
        }
    }
    Ok(wrong)
}
