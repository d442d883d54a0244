//! Serves one session of the sender: opens the target the first time, welcomes, runs. Tells the sender why if it cannot.

use super::ReceiveOptions;
use super::apply::Site;
use super::lock::Lock;
use super::session::{self, Agreed, Opened, beating};
use super::site::{OpenTarget, Opening, open_site};
use crate::apart::apart;
use crate::blocks::Geometry;
use crate::ends::Announced;
use crate::error::{Error, Result};
use crate::limits::LINGER;
use crate::progress::Counters;
use crate::wire::{Hello, Kind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;

/// What outlives a session.
pub struct Host {
    pub open: OpenTarget,
    pub options: ReceiveOptions,
    pub journal: PathBuf,
    pub counters: Arc<Counters>,
    /// Opened by the first session, kept for the next.
    pub site: Arc<Mutex<Option<Site>>>,
    /// Held by whoever can still write to the target or its journal.
    pub lock: Arc<Lock>,
}

/// Runs a session to its end. When it returns, nothing of it is still writing.
pub async fn serve(
    host: Arc<Host>,
    mut control: Opened,
    join: Option<String>,
    joiners: mpsc::Receiver<Opened>,
    over: CancellationToken,
) -> Result<Agreed> {
    let prepared = async {
        // On a thread of its own: opening may take long, and is not left half done when we are dropped.
        let opening = apart(prepare(host.clone(), control.hello.clone()));
        let site = beating(&mut control.writer, &host.counters, opening).await?;
        session::welcome(&mut control.writer, &site, join, host.options.idle).await?;
        Ok::<_, Error>(site)
    };
    let prepared = tokio::select! {
        prepared = prepared => prepared,
        () = over.cancelled() => Err(session::begun_again()),
    };
    match prepared {
        Ok(site) => session::run(control, joiners, site, &host.options, over).await,
        Err(error) => {
            if !error.resumable() {
                let _ = control.writer.message(Kind::Failed, &error.failure()).await;
                let _ = tokio::time::timeout(LINGER, control.reader.drain()).await;
            }
            Err(error)
        }
    }
}

async fn prepare(host: Arc<Host>, hello: Hello) -> Result<Site> {
    let geometry = Geometry::new(hello.size, hello.block_bytes)?;
    host.counters.restart();
    host.counters.data.store(hello.data_bytes, Relaxed);
    host.counters.total.store(hello.size, Relaxed);
    host.counters.begun.store(true, Relaxed);
    let mut slot = host.site.lock().await;
    let site = match &*slot {
        Some(site) if site.ledger.geometry() == geometry => site.clone(),
        Some(_) => return Err(Error::protocol("the sender", "it came back with another disk")),
        None => {
            let announced = Announced {
                size: hello.size,
                data_bytes: hello.data_bytes.min(hello.size),
                overcommit: host.options.overcommit,
            };
            let counters = host.counters.clone();
            let opening = Opening { announced, geometry, counters, lock: host.lock.clone() };
            open_site(&host.open, opening, &hello.label, &host.journal, &host.options.have).await?
        }
    };
    Ok(slot.insert(site).clone())
}
