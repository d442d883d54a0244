//! One attempt: opens the streams, learns what the receiver has, sends the rest, waits for the verdict. Owns the
//! streams; what goes over them comes from the `line`.

use super::Outgoing;
use super::line::{Agreed, Line};
use crate::blocks::{PLACES_BYTES, place_of_disk};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::{HAVE_ENTRIES_MAX, KEEPALIVE, LEAVING_BYTES, SHELF_DISKS_MAX};
use crate::table::DigestTable;
use crate::transport::{Connector, Stream};
use crate::wire::{
    Grains, Header, Hello, Kind, Reader, Totals, Welcome, Writer, decode_have, decode_indexes,
};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::task::JoinSet;

type In = Reader<ReadHalf<Stream>>;
type Out = Writer<WriteHalf<Stream>>;

/// How long the receiver's own explanation of a broken stream is waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs one attempt to its end and returns what both ends agree on.
pub async fn run(outgoing: &Arc<Outgoing>, connector: &dyn Connector) -> Result<Agreed> {
    let mut session = [0; 16];
    aws_lc_rs::rand::fill(&mut session)
        .map_err(|_| Error::io("get", "randomness", std::io::ErrorKind::Other.into()))?;
    let hello = Hello {
        session: data_encoding::HEXLOWER.encode(&session),
        stream: 0,
        size: outgoing.geometry.size(),
        block_bytes: outgoing.geometry.block_bytes(),
        data_bytes: outgoing.data_bytes,
        label: outgoing.source.name(),
    };
    let (mut control, writer) = open(outgoing, connector, &hello, None).await?;
    let (learnt, round_trip) = learn(&mut control, outgoing).await?;
    let streams = outgoing.streams.unwrap_or_else(|| streams_for(round_trip));
    let streams = streams.min((LEAVING_BYTES / outgoing.geometry.block_bytes()).max(1) as u16);
    let mut writers = vec![writer];
    // Kept open until the verdict: closing earlier would reset what the receiver has not read yet.
    let mut silent = Vec::new();
    let more = (1..streams).map(|stream| {
        let hello = Hello { stream, ..hello.clone() };
        let join = learnt.join.clone();
        async move { open(outgoing, connector, &hello, join.as_deref()).await }
    });
    for opened in futures::future::join_all(more).await {
        let (reader, writer) = opened?;
        writers.push(writer);
        silent.push(reader);
    }
    outgoing.counters.restart();
    let ping =
        KEEPALIVE.min(Duration::from_millis(learnt.idle_secs * 1000 / 3).max(Duration::from_millis(100)));
    carry(outgoing, learnt, control, writers, ping).await
}

/// How many streams fill a line with this round trip: one is bound by its window, and over ssh by a smaller one.
fn streams_for(round_trip: Duration) -> u16 {
    match round_trip.as_millis() {
        0..3 => 2,
        3..12 => 4,
        12..50 => 8,
        _ => 12,
    }
}

/// What the receiver tells before anything is sent.
pub struct Learnt {
    pub have: DigestTable,
    /// Whether other blocks may hold something.
    pub old: bool,
    /// Places and sizes of the disks it can copy from.
    pub shelf: Vec<(u64, u64)>,
    pub base: Option<Digest>,
    join: Option<String>,
    idle_secs: u64,
}

/// Opens one stream and says hello.
async fn open(
    outgoing: &Outgoing,
    connector: &dyn Connector,
    hello: &Hello,
    join: Option<&str>,
) -> Result<(In, Out)> {
    let whom = connector.whom();
    let (reader, writer) = tokio::io::split(connector.connect(join).await?);
    let mut writer = Writer::new(writer, &whom, outgoing.idle)
        .paced(outgoing.pacer.clone(), outgoing.counters.on_wire.clone());
    let mut reader = Reader::new(reader, &whom, outgoing.idle);
    if let Err(error) = writer.message(Kind::Hello, hello).await {
        return Err(better(&mut reader, error).await);
    }
    Ok((reader, writer))
}

/// Reads what the receiver has, and how long its first word took.
async fn learn(control: &mut In, outgoing: &Outgoing) -> Result<(Learnt, Duration)> {
    let mut have = DigestTable::new(outgoing.geometry.blocks());
    let mut welcome = None;
    let mut payload = Vec::new();
    let (asked, mut round_trip) = (Instant::now(), None);
    loop {
        let header = control.expect().await?;
        let round_trip = *round_trip.get_or_insert_with(|| asked.elapsed());
        match (header.kind, welcome.take()) {
            (Kind::Status, before) => welcome = before,
            (Kind::Welcome, None) => welcome = Some(control.message::<Welcome>(&header).await?),
            (Kind::Have, Some(before)) => {
                control.payload(&header, &mut payload).await?;
                if Digest::of(&payload) != header.digest || payload.len() > HAVE_ENTRIES_MAX * 40 {
                    return Err(Error::protocol(control.whom(), "a list of blocks arrived damaged"));
                }
                decode_have(&payload).for_each(|(index, digest)| have.set(index, Some(digest)));
                welcome = Some(before);
            }
            (Kind::Ready, Some(welcome)) if have.len() == welcome.have => {
                return Ok((take_in(control, welcome, have)?, round_trip));
            }
            (kind, _) => {
                return Err(Error::protocol(control.whom(), format!("a {kind:?} frame out of turn")));
            }
        }
    }
}

fn take_in(control: &In, welcome: Welcome, have: DigestTable) -> Result<Learnt> {
    let Welcome { join, have: _, old, shelf, base, idle_secs } = welcome;
    if shelf.len() > SHELF_DISKS_MAX || shelf.iter().any(|size| *size > PLACES_BYTES) {
        return Err(Error::protocol(control.whom(), "other disks beyond the bounds"));
    }
    let shelf = shelf.into_iter().enumerate().map(|(number, size)| (place_of_disk(number), size)).collect();
    Ok(Learnt { have, old, shelf, base, join, idle_secs })
}

/// Sends the disk over open streams.
async fn carry(
    outgoing: &Arc<Outgoing>,
    learnt: Learnt,
    mut control: In,
    writers: Vec<Out>,
    ping: Duration,
) -> Result<Agreed> {
    let line = Line::start(outgoing.clone(), learnt, writers.len() as u16)?;
    let mut running = Running { jobs: JoinSet::new(), line: line.clone() };
    line.start_workers(&mut running.jobs);
    for (stream, writer) in writers.into_iter().enumerate() {
        running.jobs.spawn(write_frames(writer, line.clone(), stream == 0, ping));
    }
    let judged = judge(&mut control, &mut running, &line).await;
    running.line.close();
    running.jobs.shutdown().await;
    judged
}

/// The tasks of an attempt. Dropping it lets the threads among them run out.
struct Running {
    jobs: JoinSet<Result<()>>,
    line: Arc<Line>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.line.close();
    }
}

/// Waits for the verdict, or for what makes one impossible.
async fn judge(control: &mut In, running: &mut Running, line: &Line) -> Result<Agreed> {
    let whom = control.whom().to_owned();
    let mut verdict = std::pin::pin!(verdict(control, line));
    loop {
        let broke = tokio::select! {
            biased;
            told = &mut verdict => {
                let root = told?;
                return match line.agreed() {
                    Some(agreed) if agreed.root == root => Ok(agreed),
                    _ => Err(Error::protocol(&whom, "it verified another disk")),
                };
            }
            Some(job) = running.jobs.join_next() => match job {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(error) => Error::io("run", "a worker", error.into()),
            },
        };
        if broke.resumable() {
            // If the receiver gave up, it said why on the control stream, and that is the better answer.
            if let Ok(Err(told @ Error::Peer(_))) = tokio::time::timeout(LAST_WORDS, &mut verdict).await {
                return Err(told);
            }
        }
        return Err(broke);
    }
}

/// Hears what the receiver says until its verdict. Never waits for anything else: who does not listen is not listened to.
async fn verdict(control: &mut In, line: &Line) -> Result<Digest> {
    let mut payload = Vec::new();
    loop {
        let header = control.expect().await?;
        let damaged = |control: &In| {
            Error::protocol(control.whom(), format!("a {:?} frame arrived damaged", header.kind))
        };
        if matches!(header.kind, Kind::Settled | Kind::Want | Kind::Grains) {
            control.payload(&header, &mut payload).await?;
            if Digest::of(&payload) != header.digest {
                return Err(damaged(control));
            }
        }
        let right = match header.kind {
            Kind::Status => true,
            Kind::Verified => return Ok(header.digest),
            Kind::Settled => {
                line.settled(decode_indexes(&payload), header.length);
                true
            }
            Kind::Want => line.wanted(decode_indexes(&payload)),
            Kind::Grains => {
                let grains = Grains::decode(&payload, header.length).ok_or_else(|| damaged(control))?;
                line.answered(header.offset, grains)
            }
            _ => false,
        };
        // After the end of the attempt whatever was under way may still arrive.
        if !right && !line.ready.is_closed() {
            return Err(Error::protocol(control.whom(), format!("a {:?} frame out of turn", header.kind)));
        }
    }
}

/// Says that we live while something takes its time.
async fn pinging<T>(writer: &mut Out, every: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        match tokio::time::timeout(every, &mut work).await {
            Ok(done) => return done,
            Err(_) => {
                writer.frame(&Header::bare(Kind::Ping, 0, 0, Digest([0; 32])), &[]).await?;
                writer.flush().await?;
            }
        }
    }
}

/// The error with which the receiver explains a broken stream, if it did.
async fn better(reader: &mut In, error: Error) -> Error {
    match tokio::time::timeout(LAST_WORDS, reader.expect()).await {
        Ok(Err(told @ Error::Peer(_))) => told,
        _ => error,
    }
}

/// Owns one stream: writes the frames as they come, then the end.
async fn write_frames(mut writer: Out, line: Arc<Line>, control: bool, ping: Duration) -> Result<()> {
    loop {
        let frame = match line.ready.try_recv() {
            Ok(frame) => frame,
            Err(async_channel::TryRecvError::Closed) => break,
            Err(async_channel::TryRecvError::Empty) => {
                // Nothing is due: let what was written leave, and say that we live.
                writer.flush().await?;
                match tokio::time::timeout(ping, line.ready.recv()).await {
                    Ok(Ok(frame)) => frame,
                    Ok(Err(_)) => break,
                    Err(_) => {
                        writer.frame(&Header::bare(Kind::Ping, 0, 0, Digest([0; 32])), &[]).await?;
                        continue;
                    }
                }
            }
        };
        writer.frame(&frame.header, &frame.payload).await?;
        line.shared.buffers.give(frame.payload);
        line.outgoing.counters.done.fetch_add(frame.settles, Relaxed);
        if frame.completes {
            line.complete_one();
        }
    }
    if !control {
        return writer.end(Digest([0; 32]), &Totals::default()).await;
    }
    match pinging(&mut writer, ping, line.conclude()).await {
        Ok(agreed) => writer.end(agreed.root, &agreed.totals).await,
        Err(error) => {
            // After a bitmap that lied we come again, for which the receiver is to wait.
            if !matches!(error, Error::Bitmap { .. }) {
                let _ = writer.message(Kind::Failed, &error.failure()).await;
            }
            Err(error)
        }
    }
}
