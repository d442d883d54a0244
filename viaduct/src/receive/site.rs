//! Opens the target with its journal, and judges how far the journal can be believed.

use super::apply::Site;
use super::journal::{Journal, Record};
use super::keeper::Keeper;
use super::ledger::Ledger;
use crate::blocks::{Geometry, is_zero};
use crate::digest::Digest;
use crate::ends::{Announced, Source, Target};
use crate::error::Result;
use crate::progress::Counters;
use futures::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;

/// Opens the target once the sender has announced the disk.
pub type OpenTarget = Box<dyn Fn(Announced) -> BoxFuture<'static, Result<Box<dyn Target>>> + Send + Sync>;

pub(super) async fn open_site(
    open: &OpenTarget,
    announced: Announced,
    geometry: Geometry,
    label: &str,
    journal_dir: &Path,
    counters: Arc<Counters>,
) -> Result<Site> {
    // The journal first: one of another disk is refused before the target is touched.
    let ledger = Arc::new(Ledger::new(geometry, false));
    let mut journal = Journal::open(&journal_dir.join("journal"), geometry, label, |record| {
        ledger.apply(&record);
    })?;
    let target: Arc<dyn Target> = open(announced).await?.into();
    if target.began_as_zeros() {
        // A fresh target beside an old journal: whatever that one spoke of is gone.
        if ledger.have_count() > 0 {
            let forgotten = Record::Forgotten { blocks: 0..geometry.blocks() };
            journal.append(std::slice::from_ref(&forgotten))?;
        }
        let fresh = Arc::new(Ledger::new(geometry, true));
        return begin(journal, fresh, target, counters);
    }
    if !believable(&ledger, &*target).await? {
        recheck(&mut journal, &ledger, &*target).await?;
    }
    begin(journal, ledger, target, counters)
}

fn begin(
    mut journal: Journal,
    ledger: Arc<Ledger>,
    target: Arc<dyn Target>,
    counters: Arc<Counters>,
) -> Result<Site> {
    if let Some(identity) = target.identity().filter(|identity| ledger.identity() != Some(*identity)) {
        let opened = Record::Opened { identity };
        journal.append(std::slice::from_ref(&opened))?;
        ledger.apply(&opened);
    }
    let keeper = Keeper::start(journal, ledger.clone(), target.clone());
    Ok(Site { target, ledger, keeper, counters })
}

/// An unfinished transfer owns its target, so its journal is true. Once finished, the target belongs to others: the journal
/// holds only if the target's stamp says that nobody wrote to it.
async fn believable(ledger: &Ledger, target: &dyn Target) -> Result<bool> {
    let same = match (ledger.identity(), target.identity()) {
        (Some(journaled), Some(found)) => journaled == found,
        _ => true,
    };
    let untouched = match ledger.finished() {
        Some((_, stamp)) => target.stamp().await? == Some(stamp),
        None => true,
    };
    Ok(same && untouched)
}

/// Reads the blocks the journal speaks of, and forgets those that are something else now.
async fn recheck(journal: &mut Journal, ledger: &Arc<Ledger>, target: &dyn Target) -> Result<()> {
    let source = target.reread().await?;
    let checking = ledger.clone();
    let runtime = tokio::runtime::Handle::current();
    let found = tokio::task::spawn_blocking(move || runtime.block_on(stale(&checking, &*source))).await;
    let records = found.map_err(|error| crate::error::Error::io("recheck", "the target", error.into()))??;
    journal.append(&records)?;
    records.iter().for_each(|record| ledger.apply(record));
    Ok(())
}

async fn stale(ledger: &Ledger, source: &dyn Source) -> Result<Vec<Record>> {
    let geometry = ledger.geometry();
    let mut stale = Vec::new();
    let mut buffer = Vec::new();
    let (mut from, mut page) = (0, ledger.have(0, 1024));
    while let Some((last, _)) = page.last().copied() {
        for (index, digest) in page {
            buffer.resize(geometry.len_of(index) as usize, 0);
            source.read(geometry.offset(index), &mut buffer).await?;
            if is_zero(&buffer) || Digest::of(&buffer) != digest {
                stale.push(Record::Forgotten { blocks: index..index + 1 });
            }
        }
        from = last.max(from) + 1;
        page = ledger.have(from, 1024);
    }
    // Zeros are written again rather than read: that is cheap where holes are.
    stale.extend(ledger.durable_zeros().into_iter().map(|blocks| Record::Forgotten { blocks }));
    Ok(stale)
}
