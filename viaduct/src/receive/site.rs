//! Opens the target with its journal, and judges how far the journal can be believed.

use super::apply::Site;
use super::journal::{Journal, Record};
use super::keeper::Keeper;
use super::ledger::Ledger;
use super::lock::Lock;
use super::shelf::Shelf;
use crate::blocks::Geometry;
use crate::ends::{Announced, Disk, Target};
use crate::error::Result;
use crate::progress::Counters;
use futures::future::BoxFuture;
use std::path::Path;
use std::sync::Arc;

/// Opens the target once the sender has announced the disk.
pub type OpenTarget = Box<dyn Fn(Announced) -> BoxFuture<'static, Result<Box<dyn Target>>> + Send + Sync>;

/// What a site is opened for.
pub(crate) struct Opening {
    pub announced: Announced,
    pub geometry: Geometry,
    pub counters: Arc<Counters>,
    pub lock: Arc<Lock>,
}

pub(crate) async fn open_site(
    open: &OpenTarget,
    opening: Opening,
    label: &str,
    journal_dir: &Path,
    have: &[Disk],
) -> Result<Site> {
    let geometry = opening.geometry;
    let shelf = Shelf::open(have).await?;
    // The journal first: one of another disk is refused before the target is touched.
    let ledger = Arc::new(Ledger::new(geometry, false));
    let mut journal = Journal::open(&journal_dir.join("journal"), geometry, label, |record| {
        ledger.apply(&record);
    })?;
    let target: Arc<dyn Target> = open(opening.announced).await?.into();
    if target.began_as_zeros() {
        // A fresh target beside an old journal: whatever that one spoke of is gone.
        if ledger.have_count() > 0 {
            let forgotten = Record::Forgotten { blocks: 0..geometry.blocks() };
            journal.append(std::slice::from_ref(&forgotten))?;
        }
        let fresh = Arc::new(Ledger::new(geometry, true));
        return begin(journal, fresh, target, shelf, opening);
    }
    if !believable(&ledger, &*target).await? {
        // What lies there is still of use: the sender asks, and it is read and hashed then.
        let forgotten = Record::Forgotten { blocks: 0..geometry.blocks() };
        journal.append(std::slice::from_ref(&forgotten))?;
        ledger.apply(&forgotten);
    }
    begin(journal, ledger, target, shelf, opening)
}

fn begin(
    mut journal: Journal,
    ledger: Arc<Ledger>,
    target: Arc<dyn Target>,
    shelf: Shelf,
    Opening { counters, lock, .. }: Opening,
) -> Result<Site> {
    if let Some(identity) = target.identity().filter(|identity| ledger.identity() != Some(*identity)) {
        let opened = Record::Opened { identity };
        journal.append(std::slice::from_ref(&opened))?;
        ledger.apply(&opened);
    }
    let keeper = Keeper::start(journal, ledger.clone(), target.clone(), lock.clone());
    Ok(Site { target, shelf, ledger, keeper, counters, _lock: lock })
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
