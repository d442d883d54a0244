//! The source's end: one attempt after the other until the receiver says that the disk is verified, or trying again cannot
//! help. Owns the patience; one attempt is in `session`.

mod changes;
mod compose;
mod effort;
mod encode;
mod index;
mod known;
mod line;
mod order;
mod pack;
mod session;

use crate::apart::apart;
use crate::blocks::Geometry;
use crate::digest::Digest;
use crate::ends::{Disk, Source, open_changes, open_source};
use crate::error::{Error, Failure, Result};
use crate::limits::{ENCODERS, IDLE, IN_FLIGHT_BYTES, RECONNECT_PAUSE, RETRY, RETRY_PAUSE, STREAMS_MAX};
use crate::live::LiveSource;
use crate::plan::data_bytes;
use crate::progress::{Counters, Event, Summary, reporting};
use crate::transport::Connector;
use crate::wire::Pacer;
use line::Agreed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts of one call, however much patience there is.
const ATTEMPTS_MAX: u32 = 1000;

/// How to send.
#[derive(Clone, Debug)]
pub struct SendOptions {
    pub from: Disk,
    /// Chosen from the line if not given.
    pub streams: Option<u16>,
    /// Bytes per second on the wire, all streams together.
    pub rate: Option<u64>,
    /// A power of two; the one that suits the disk's size if not given.
    pub block_bytes: Option<u32>,
    /// Read the free space of file systems too. Otherwise it is not read, and zeros at the target.
    pub whole: bool,
    /// The bitmap that an NBD server keeps of changes.
    pub bitmap: Option<String>,
    /// With a source that counts changes: the root of the state from which it counts. What did not change is not read if
    /// the receiver has that state; without a root, if it has any that came to its end.
    pub since: Option<Digest>,
    /// How long to go on trying to reach a receiver that cannot be reached (any more).
    pub retry: Duration,
    /// How long a receiver may say nothing.
    pub idle: Duration,
}

impl SendOptions {
    pub fn new(from: Disk) -> SendOptions {
        SendOptions {
            from,
            streams: None,
            bitmap: None,
            since: None,
            rate: None,
            block_bytes: None,
            whole: false,
            retry: RETRY,
            idle: IDLE,
        }
    }
}

/// Sends one disk. Returns when the receiver has it verified and durable.
pub async fn send(
    options: &SendOptions,
    connector: &dyn Connector,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Summary> {
    let (from, bitmap) = (options.from.clone(), options.bitmap.clone());
    let open = apart(async move {
        match &bitmap {
            Some(bitmap) => open_changes(&from, bitmap).await,
            None => open_source(&from).await,
        }
    });
    let counters = Arc::new(Counters::default());
    let carried = async { carry(open.await?.into(), options, connector, report, &counters).await };
    telling(&counters, report, Box::pin(carried)).await
}

/// [`send`] from a source that the caller opened.
pub async fn send_from(
    source: Arc<dyn Source>,
    options: &SendOptions,
    connector: &dyn Connector,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Summary> {
    let counters = Arc::new(Counters::default());
    telling(&counters, report, Box::pin(carry(source, options, connector, report, &counters))).await
}

/// A sender has something to tell from its first moment on.
async fn telling<T>(
    counters: &Arc<Counters>,
    report: &(dyn Fn(Event) + Send + Sync),
    work: impl Future<Output = T>,
) -> T {
    counters.begun.store(true, Relaxed);
    reporting(counters, report, work).await
}

async fn carry(
    source: Arc<dyn Source>,
    options: &SendOptions,
    connector: &dyn Connector,
    report: &(dyn Fn(Event) + Send + Sync),
    counters: &Arc<Counters>,
) -> Result<Summary> {
    if let Some(streams) = options.streams.filter(|streams| !(1..=STREAMS_MAX).contains(streams)) {
        let remedy = format!("use 1 to {STREAMS_MAX}");
        return Err(Error::usage(format!("{streams} streams"), "it is out of bounds", remedy));
    }
    let started = Instant::now();
    let geometry = match options.block_bytes {
        Some(block_bytes) => Geometry::new(source.size(), block_bytes)?,
        None => Geometry::for_size(source.size())?,
    };
    counters.total.store(geometry.size(), Relaxed);
    let (source, data_bytes, bytes_free) = if options.whole || source.reads_once() {
        (source.clone(), count_data(source).await?, 0)
    } else {
        let live = live(source.clone(), report).await?;
        // Disks are asked for their data as seldom as can be: some have to look for it.
        let data_bytes = count_data(live.clone()).await?;
        let before = if live.is_whole() { data_bytes } else { count_data(source).await? };
        // Also where nothing is left out it is of use, for what it looks at again in the end.
        (live as Arc<dyn Source>, data_bytes, before.saturating_sub(data_bytes))
    };
    let second = second_place(source.clone(), geometry, data_bytes).await?;
    let outgoing = Arc::new(Outgoing {
        data_bytes,
        second,
        source,
        geometry,
        streams: options.streams,
        since: options.since,
        bitmap_lied: AtomicBool::new(false),
        // Each holds a block: few where blocks are large.
        encoders: ((IN_FLIGHT_BYTES / geometry.block_bytes()) as usize).clamp(2, ENCODERS),
        pacer: options.rate.map(|rate| Arc::new(Pacer::new(rate))),
        idle: options.idle,
        counters: counters.clone(),
    });
    counters.data.store(outgoing.data_bytes, Relaxed);
    let Agreed { root, totals } = attempts(&outgoing, options, connector, report).await?;
    Ok(Summary {
        bytes_total: geometry.size(),
        bytes_read: totals.read,
        bytes_zero: totals.zero,
        bytes_reused: totals.reused,
        bytes_on_wire: totals.on_wire,
        bytes_free: Some(bytes_free),
        seconds: started.elapsed().as_secs_f64(),
        digest: root,
        verified: true,
    })
}

/// The same disk without its free space.
pub(crate) async fn live(
    source: Arc<dyn Source>,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Arc<LiveSource>> {
    let live = Arc::new(LiveSource::open(source).await?);
    live.areas().iter().for_each(|area| report(Event::Found(area.clone())));
    Ok(live)
}

/// The block from which on the disk is a second place of work, if it is worth one.
type Second = Option<u64>;

/// What every attempt sends.
#[derive(Debug)]
struct Outgoing {
    source: Arc<dyn Source>,
    geometry: Geometry,
    data_bytes: u64,
    second: Second,
    streams: Option<u16>,
    since: Option<Digest>,
    /// A sample of what the source says has not changed was found to have changed.
    bitmap_lied: AtomicBool,
    encoders: usize,
    pacer: Option<Arc<Pacer>>,
    idle: Duration,
    counters: Arc<Counters>,
}

/// Where the second half of the work begins. Not where a disk comes in order, or hardly anything of it is read.
async fn second_place(source: Arc<dyn Source>, geometry: Geometry, data_bytes: u64) -> Result<Second> {
    if source.reads_once() || source.tells_changes() {
        return Ok(None);
    }
    apart(async move { order::second_place(&*source, geometry, data_bytes).await }).await
}

pub(crate) async fn count_data(source: Arc<dyn Source>) -> Result<u64> {
    apart(async move { data_bytes(&*source).await }).await
}

async fn attempts(
    outgoing: &Arc<Outgoing>,
    options: &SendOptions,
    connector: &dyn Connector,
    report: &(dyn Fn(Event) + Send + Sync),
) -> Result<Agreed> {
    let mut deadline = Instant::now() + options.retry;
    for _ in 0..ATTEMPTS_MAX {
        let before = outgoing.counters.done.load(Relaxed);
        let error = match session::run(outgoing, connector).await {
            // What was read from a pipe is gone: only before that can another attempt help.
            Err(error)
                if error.resumable()
                    && outgoing.source.reads_once()
                    && outgoing.counters.read.load(Relaxed) > 0 =>
            {
                return Err(error);
            }
            Err(error) if error.resumable() => error,
            // Blocks were passed over on the bitmap's word, so this attempt is lost; the next one looks at every block.
            Err(error @ Error::Bitmap { .. }) if !outgoing.bitmap_lied.swap(true, Relaxed) => {
                let Failure { code, message, .. } = error.failure();
                report(Event::Interrupted {
                    code,
                    message: format!("{message}; all of it is compared instead"),
                });
                deadline = Instant::now() + options.retry;
                continue;
            }
            outcome => return outcome,
        };
        let mut pause = RETRY_PAUSE;
        let done = outgoing.counters.done.load(Relaxed);
        if done != before {
            // It was reached and took something: patience begins anew, and whoever is there need not be waited for.
            deadline = Instant::now() + options.retry;
            pause = if done > 0 { RECONNECT_PAUSE } else { RETRY_PAUSE };
            let failure = error.failure();
            report(Event::Interrupted { code: failure.code, message: failure.message });
        }
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
    }
    Err(Error::Broken { whom: connector.whom(), why: format!("it broke {ATTEMPTS_MAX} times") })
}
