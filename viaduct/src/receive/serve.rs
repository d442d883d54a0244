//! Serves one session of the sender: opens the target the first time, welcomes, runs. Tells the sender why if it cannot.

use super::ReceiveOptions;
use super::apply::Site;
use super::session::{self, Agreed, Opened, beating};
use super::site::{OpenTarget, open_site};
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
        let site = beating(&mut control.writer, &host.counters, prepare(&host, &control.hello)).await?;
        session::welcome(&mut control.writer, &site, join, host.options.idle).await?;
        Ok::<_, Error>(site)
    };
    match prepared.await {
        Ok(site) => session::run(control, joiners, site, host.options.verify_target, over).await,
        Err(error) => {
            if !error.resumable() {
                let _ = control.writer.message(Kind::Failed, &error.failure()).await;
                let _ = tokio::time::timeout(LINGER, control.reader.drain()).await;
            }
            Err(error)
        }
    }
}

async fn prepare(host: &Host, hello: &Hello) -> Result<Site> {
    let geometry = Geometry::new(hello.size, hello.block_bytes)?;
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
            open_site(
                &host.open,
                announced,
                geometry,
                &hello.label,
                &host.journal,
                &host.options.have,
                counters,
            )
            .await?
        }
    };
    host.counters.restart();
    host.counters.data.store(hello.data_bytes, Relaxed);
    host.counters.total.store(hello.size, Relaxed);
    Ok(slot.insert(site).clone())
}
