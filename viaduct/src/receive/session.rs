//! One session: the streams of one attempt of the sender, from its hello to the verdict. It answers with what is here, has
//! frames applied by workers, and compares the roots. Whatever ends it, no write is left running behind it.

use super::ReceiveOptions;
use super::apply::{Answer, Site, Worker};
use crate::apart::apart;
use crate::blocks::Geometry;
use crate::buffers::Buffers;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{
    ANSWERS_QUEUE, APPLIERS, HAVE_ENTRIES_MAX, IN_FLIGHT_BYTES, IN_FLIGHT_PER_STREAM, INDEXES_MAX, LINGER,
    STREAMS_MAX,
};
use crate::progress::Counters;
use crate::transport::Stream;
use crate::wire::{Header, Hello, Kind, Reader, Totals, Welcome, Writer, encode_have};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{ReadHalf, WriteHalf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A stream whose hello was read.
#[derive(Debug)]
pub struct Opened {
    pub hello: Hello,
    pub reader: Reader<ReadHalf<Stream>>,
    pub writer: Writer<WriteHalf<Stream>>,
}

/// Both ends agree.
#[derive(Clone, Copy, Debug)]
pub struct Agreed {
    pub root: Digest,
    pub totals: Totals,
}

/// What happens in a session.
enum Event {
    Ended(Option<Agreed>),
    Failed(Error),
}

struct Job {
    header: Header,
    payload: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

/// What every stream of a session works with.
#[derive(Clone)]
struct Shared {
    geometry: Geometry,
    jobs: async_channel::Sender<Job>,
    events: mpsc::Sender<Event>,
    room: Arc<Semaphore>,
    buffers: Buffers,
    site: Site,
    over: CancellationToken,
    idle: Duration,
}

/// Tells the sender what is here. Afterwards data may come.
pub async fn welcome(
    writer: &mut Writer<WriteHalf<Stream>>,
    site: &Site,
    join: Option<String>,
    idle: Duration,
) -> Result<()> {
    // What an earlier session wrote must be known before this one asks.
    site.keeper.settle().await?;
    site.ledger.begin_session();
    let said = Welcome {
        join,
        have: site.ledger.have_count(),
        old: !site.target.began_as_zeros(),
        shelf: site.shelf.sizes(),
        base: site.ledger.base(),
        idle_secs: idle.as_secs(),
    };
    writer.message(Kind::Welcome, &said).await?;
    let mut from = 0;
    loop {
        let entries = site.ledger.have(from, HAVE_ENTRIES_MAX);
        let Some((last, _)) = entries.last() else { break };
        from = last + 1;
        let payload = encode_have(&entries);
        let header = Header {
            wire_length: payload.len() as u32,
            ..Header::bare(Kind::Have, 0, entries.len() as u64, Digest::of(&payload))
        };
        writer.frame(&header, &payload).await?;
    }
    writer.frame(&Header::bare(Kind::Ready, 0, 0, Digest([0; 32])), &[]).await?;
    writer.flush().await
}

/// Runs the session to its end. On success everything is durable and the sender was told so.
pub async fn run(
    control: Opened,
    mut joiners: mpsc::Receiver<Opened>,
    site: Site,
    options: &ReceiveOptions,
    over: CancellationToken,
) -> Result<Agreed> {
    let geometry = site.ledger.geometry();
    let (events, mut happened) = mpsc::channel(64);
    let (jobs, queue) = async_channel::bounded(IN_FLIGHT_PER_STREAM * usize::from(STREAMS_MAX));
    let (answers, mut answered) = mpsc::channel(ANSWERS_QUEUE);
    let shared = Shared {
        geometry,
        jobs,
        events: events.clone(),
        room: Arc::new(Semaphore::new((IN_FLIGHT_BYTES >> 10) as usize)),
        buffers: Buffers::new((IN_FLIGHT_BYTES / geometry.block_bytes()) as usize),
        site: site.clone(),
        over: over.child_token(),
        idle: options.idle,
    };
    let mut workers = JoinSet::new();
    // Each worker has a block of its own to unpack into: few where blocks are large.
    for _ in 0..(IN_FLIGHT_BYTES / geometry.block_bytes()).clamp(1, APPLIERS) {
        let worker = Worker::new(site.clone(), control.reader.whom())?;
        let (queue, buffers, events) = (queue.clone(), shared.buffers.clone(), events.clone());
        let answers = answers.clone();
        workers.spawn_blocking(move || work(worker, &queue, &buffers, &events, &answers));
    }
    drop((queue, events, answers));

    let mut streams = JoinSet::new();
    let Opened { reader, mut writer, .. } = control;
    streams.spawn(pump(reader, shared.clone(), true));
    let listening =
        listen(&mut happened, &mut joiners, &mut answered, &mut streams, &mut workers, &shared, &mut writer);
    let told = tokio::select! {
        told = listening => told,
        // Even in the middle of a word: the sender that it was said to is not there any more.
        () = over.cancelled() => Err(begun_again()),
    };
    // A sender that has ended waits for no answer any more, and no worker may wait for us.
    drop(answered);

    let finished = match told {
        Ok(agreed) => {
            shared.jobs.close();
            let settled = beating(
                &mut writer,
                &site.counters,
                finish(&mut workers, &mut happened, &site, agreed, options.verify_target),
            )
            .await;
            settled.map(|()| agreed)
        }
        Err(error) => Err(error),
    };
    if let Err(error) = &finished {
        if !error.resumable() && !matches!(error, Error::Peer(_)) {
            let _ = writer.message(Kind::Failed, &error.failure()).await;
        }
    } else {
        let verdict = Header::bare(
            Kind::Verified,
            geometry.size(),
            0,
            finished.as_ref().map_or(Digest([0; 32]), |agreed| agreed.root),
        );
        // If it is lost, the sender comes again and finds everything here.
        let _ = writer.frame(&verdict, &[]).await;
        let _ = writer.flush().await;
    }
    shared.over.cancel();
    shared.jobs.close();
    if !finished.as_ref().is_err_and(Error::resumable) {
        // The sender reads our last words and closes; closing first could lose them.
        let _ = tokio::time::timeout(LINGER, async { while streams.join_next().await.is_some() {} }).await;
    }
    streams.shutdown().await;
    while workers.join_next().await.is_some() {}
    writer.close().await;
    finished
}

/// What ends a session that another one of the same sender takes the place of.
pub fn begun_again() -> Error {
    Error::Broken { whom: "the sender".into(), why: "it began again".into() }
}

/// Waits until every stream has ended.
async fn listen(
    happened: &mut mpsc::Receiver<Event>,
    joiners: &mut mpsc::Receiver<Opened>,
    answered: &mut mpsc::Receiver<Answer>,
    streams: &mut JoinSet<()>,
    workers: &mut JoinSet<()>,
    shared: &Shared,
    writer: &mut Writer<WriteHalf<Stream>>,
) -> Result<Agreed> {
    let mut heartbeat = tokio::time::interval(Duration::from_secs(1));
    let (mut joined, mut ended, mut agreed) = (BTreeSet::from([0]), 0, None);
    // The writing halves of the data streams have nothing to say, but dropping them would not be polite to TLS.
    let mut silent = Vec::new();
    let mut answers = Vec::new();
    // A stream that was announced and never came has nobody who would notice its silence.
    let mut late = None;
    loop {
        tokio::select! {
            event = happened.recv() => match event {
                Some(Event::Ended(root)) => {
                    ended += 1;
                    agreed = agreed.or(root);
                }
                Some(Event::Failed(error)) => return Err(error),
                None => return Err(Error::CallerGone),
            },
            Some(Opened { hello: more, reader, writer }) = joiners.recv() => {
                if !joined.insert(more.stream) {
                    return Err(Error::protocol(reader.whom(), format!("stream {} came unexpectedly", more.stream)));
                }
                streams.spawn(pump(reader, shared.clone(), false));
                silent.push(writer);
            }
            1.. = answered.recv_many(&mut answers, INDEXES_MAX) => {
                let backlog = shared.jobs.len() as u64;
                for (header, payload) in Answer::frames(std::mem::take(&mut answers), backlog) {
                    writer.frame(&header, &payload).await?;
                }
                writer.flush().await?;
            }
            _ = heartbeat.tick() => beat(writer, &shared.site.counters).await?,
            () = tokio::time::sleep_until(late.unwrap_or_else(Instant::now)), if late.is_some() => {
                return Err(Error::Silent { whom: "the sender".into(), secs: shared.idle.as_secs() });
            }
            // Workers end when we close their queue; one that ends before has been torn out of a block.
            Some(Err(error)) = workers.join_next() => {
                return Err(Error::io("run", "a worker", error.into()));
            }
        }
        match agreed {
            Some(Agreed { totals, .. }) if totals.streams < ended => {
                return Err(Error::protocol("the sender", "it had more streams than it says"));
            }
            Some(agreed) if ended == agreed.totals.streams => return Ok(agreed),
            Some(Agreed { totals, .. }) if usize::from(totals.streams) > joined.len() => {
                late.get_or_insert_with(|| Instant::now() + shared.idle);
            }
            _ => late = None,
        }
    }
}

/// Lets the workers finish, makes everything durable, compares the roots.
async fn finish(
    workers: &mut JoinSet<()>,
    happened: &mut mpsc::Receiver<Event>,
    site: &Site,
    agreed: Agreed,
    verify: bool,
) -> Result<()> {
    while workers.join_next().await.is_some() {}
    while let Ok(event) = happened.try_recv() {
        if let Event::Failed(error) = event {
            return Err(error);
        }
    }
    site.keeper.settle().await?;
    let unsettled = site.ledger.unsettled();
    if unsettled > 0 {
        return Err(Error::protocol("the sender", format!("it left {unsettled} blocks out")));
    }
    match site.ledger.root() {
        Some(root) if root == agreed.root => {
            let site = site.clone();
            apart(async move { site.seal(root, verify).await }).await
        }
        Some(root) => Err(Error::Differs {
            what: site.target.name(),
            why: format!("its root digest is {root}, the source's is {}", agreed.root),
        }),
        None => Err(Error::Differs { what: site.target.name(), why: "not every block is durable".into() }),
    }
}

/// Keeps telling the sender that we live while something takes its time.
pub async fn beating<T>(
    writer: &mut Writer<WriteHalf<Stream>>,
    counters: &Counters,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut heartbeat = tokio::time::interval(Duration::from_secs(1));
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            // A sender that is gone shows when the verdict is told; the work is worth finishing anyway.
            _ = heartbeat.tick() => { let _ = beat(writer, counters).await; }
        }
    }
}

async fn beat(writer: &mut Writer<WriteHalf<Stream>>, counters: &Counters) -> Result<()> {
    let done = counters.done.load(Relaxed);
    writer.frame(&Header::bare(Kind::Status, done, 0, Digest([0; 32])), &[]).await?;
    writer.flush().await
}

/// Owns one stream: reads frames, takes room for them, hands them to the workers. Afterwards it reads on without looking, so
/// that the sender can always write and so read what we say.
async fn pump(mut reader: Reader<ReadHalf<Stream>>, shared: Shared, control: bool) {
    let over = shared.over.clone();
    let event = tokio::select! {
        ended = read_frames(&mut reader, &shared, control) => ended.map_or_else(Event::Failed, Event::Ended),
        () = over.cancelled() => Event::Ended(None),
    };
    let _ = shared.events.send(event).await;
    drop(shared);
    reader.drain().await;
}

async fn read_frames(
    reader: &mut Reader<ReadHalf<Stream>>,
    shared: &Shared,
    control: bool,
) -> Result<Option<Agreed>> {
    loop {
        let header = reader.expect().await?;
        let counted = (crate::wire::HEADER_BYTES + header.wire_length as usize) as u64;
        shared.site.counters.on_wire.fetch_add(counted, Relaxed);
        match header.kind {
            Kind::Raw | Kind::Zstd | Kind::Mixed | Kind::Zero | Kind::Same | Kind::Ask => {
                let block_bytes = shared.geometry.block_bytes();
                if header.wire_length > block_bytes
                    || (!matches!(header.kind, Kind::Zero | Kind::Ask) && header.length > block_bytes.into())
                {
                    return Err(Error::protocol(reader.whom(), "a frame that is larger than a block"));
                }
                let room = (header.wire_length >> 10).max(1);
                // Memory is taken only when there is room for it; until then the line waits.
                let Ok(room) = shared.room.clone().acquire_many_owned(room).await else { return Ok(None) };
                let mut payload = shared.buffers.take(header.wire_length as usize);
                reader.payload(&header, &mut payload).await?;
                if shared.jobs.send(Job { header, payload, _room: room }).await.is_err() {
                    // The workers ended; what ended them is told by them.
                    return Ok(None);
                }
            }
            Kind::Ping => {}
            Kind::End => {
                let totals = reader.message::<Totals>(&header).await?;
                return Ok(control.then_some(Agreed { root: header.digest, totals }));
            }
            kind => return Err(Error::protocol(reader.whom(), format!("a {kind:?} frame out of turn"))),
        }
    }
}

fn work(
    mut worker: Worker,
    queue: &async_channel::Receiver<Job>,
    buffers: &Buffers,
    events: &mpsc::Sender<Event>,
    answers: &mpsc::Sender<Answer>,
) {
    let runtime = tokio::runtime::Handle::current();
    while let Ok(job) = queue.recv_blocking() {
        let applied = runtime.block_on(worker.apply(&job.header, &job.payload));
        buffers.give(job.payload);
        match applied {
            Ok(None) => {}
            Ok(Some(answer)) => {
                let _ = answers.blocking_send(answer);
            }
            Err(error) => {
                // Nothing after a failure matters; the others find the queue closed.
                queue.close();
                let _ = events.blocking_send(Event::Failed(error));
                return;
            }
        }
    }
}
