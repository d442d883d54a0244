//! Tries at the source whatever the later steps change inside a guest, so that what cannot be done is known before a
//! byte is copied and while the guest still runs. The same decisions are made from the same code, in the order of the
//! steps, in one appliance that writes to throw-away overlays: texts are really changed, a volume is mounted where it
//! would be copied to, and of what takes long (the copy, a new initramfs) only the room for it is looked at.

mod folds;

use std::sync::Arc;

use fluidcloud_proto::task::{GuestDisk, RehearseGuest, Rehearsed};
use fluidcloud_providers::Site;

use crate::error::Error;
use crate::guest::{self, Drive, Guest, Session};
use crate::image::adapt::{Drivers, NOTHING, Plan};
use crate::rewrite::rewritten;
use crate::rewrite::rules::{self, Rewritten};
use crate::volume::fold::{Asked, checks};
use folds::Folds;

/// Nothing inside the guest is to be done.
pub fn is_nothing(order: &RehearseGuest) -> bool {
    order.adapt.is_none() && order.folds.is_empty() && order.rules.is_empty()
}

/// Changes nothing; the guest may run.
pub async fn rehearse(site: &Arc<dyn Site>, order: &RehearseGuest) -> Result<Rehearsed, Error> {
    // What is wrong with the order alone needs no guest to be found.
    let drivers = order.adapt.as_ref().map(|adapt| Drivers::of(&adapt.hardware)).transpose()?;
    let asked = asked(order)?;
    rules::compile(&order.rules)?;
    if is_nothing(order) {
        return Ok(Rehearsed::default());
    }
    if order.disks.is_empty() {
        return Err(guest::Error::NoDisk.into());
    }
    let mut session = Session::look(site, &drives(&order.disks)).await?;
    let rehearsed = within(&mut session, order, drivers, &asked).await;
    rehearsed.map_err(while_it_runs)
}

/// The volumes to be folded, in order, each with its place among the disks.
fn asked(order: &RehearseGuest) -> Result<Vec<Asked<'_>>, Error> {
    let mut all = Vec::new();
    for fold in &order.folds {
        let at = order.disks.iter().position(|disk| disk.disk == fold.volume);
        let at = at.ok_or_else(|| guest::Error::NotGiven { disk: fold.volume.to_string() })?;
        let asked = Asked { volume: &fold.volume, into: &fold.into, at };
        checks::plain(asked)?;
        all.push(asked);
    }
    Ok(all)
}

async fn within(
    session: &mut Session,
    order: &RehearseGuest,
    drivers: Option<Drivers>,
    asked: &[Asked<'_>],
) -> Result<Rehearsed, Error> {
    let guest = match Guest::mount(session, &order.disks).await {
        Ok(guest) => guest,
        // As when it is adapted; but nothing can be folded into such disks, nor rewritten on them.
        Err(guest::Error::NoFileSystem { .. }) if asked.is_empty() && order.rules.is_empty() => {
            return Ok(Rehearsed { changes: vec![NOTHING.to_owned()], ..Rehearsed::default() });
        }
        Err(error) => return Err(error.into()),
    };
    let mut rehearsed = Rehearsed::default();
    let mut folds = Folds::default();
    if let (Some(adapt), Some(drivers)) = (&order.adapt, drivers) {
        let plan = Plan::make(session, &guest, &adapt.nics, drivers).await?;
        let (changes, growth_bytes) = plan.announce(session, &guest).await?;
        plan.edit(session).await?;
        rehearsed.changes = changes;
        folds.promise(guest.mount_of("/boot").1, growth_bytes);
    }
    for asked in asked {
        rehearsed.folded_bytes.push(folds.try_one(session, &guest, *asked).await?);
    }
    if !order.rules.is_empty() {
        // The volumes that are folded are not among the disks any more.
        let left = (0..order.disks.len()).filter(|at| !order.disks[*at].staging).collect::<Vec<_>>();
        folds.mount(session, &guest, &left).await?;
        let files = rewritten(session, &order.rules).await?;
        rehearsed.files = files.iter().map(Rewritten::to_diff).collect();
    }
    Ok(rehearsed)
}

/// A running guest changes its disks while they are read, so what an appliance complains of once need not be so.
fn while_it_runs(error: Error) -> Error {
    match error {
        Error::Guest(guest::Error::Fish { host, command, said }) => {
            guest::Error::Unsettled { host, command, said }.into()
        }
        other => other,
    }
}

fn drives(disks: &[GuestDisk]) -> Vec<Drive> {
    disks.iter().map(|disk| Drive { place: disk.place.clone(), read_only: true }).collect()
}
