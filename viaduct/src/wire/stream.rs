//! Frames on a byte stream: a reader that gives up on silence, a writer that keeps to the rate and counts.

use super::frame::{HEADER_BYTES, Header, Kind};
use crate::digest::Digest;
use crate::error::{Error, Failure, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// What is written in one go: small enough that a slow rate stays smooth.
const CHUNK_BYTES: usize = 64 << 10;
/// Saying goodbye is a courtesy; a peer that does not take it is not waited for.
const CLOSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Reader<R> {
    io: R,
    whom: String,
    idle: Duration,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub fn new(io: R, whom: &str, idle: Duration) -> Reader<R> {
        Reader { io, whom: whom.to_owned(), idle }
    }

    pub fn whom(&self) -> &str {
        &self.whom
    }

    pub fn set_idle(&mut self, idle: Duration) {
        self.idle = idle;
    }

    /// The next header; `None` where the stream ends between frames.
    pub async fn header(&mut self) -> Result<Option<Header>> {
        let mut bytes = [0; HEADER_BYTES];
        match self.fill(&mut bytes).await? {
            0 => Ok(None),
            HEADER_BYTES => Header::decode(&bytes)
                .map(Some)
                .map_err(|damage| Error::protocol(&self.whom, damage.to_string())),
            _ => Err(self.torn()),
        }
    }

    /// The payload of the header just read.
    pub async fn payload(&mut self, header: &Header, buffer: &mut Vec<u8>) -> Result<()> {
        // The length was checked against the bound of its kind when the header was decoded.
        buffer.resize(header.wire_length as usize, 0);
        if self.fill(buffer).await? < buffer.len() {
            return Err(self.torn());
        }
        Ok(())
    }

    pub async fn message<T: DeserializeOwned>(&mut self, header: &Header) -> Result<T> {
        let mut payload = Vec::new();
        self.payload(header, &mut payload).await?;
        // The digest of an end is the root.
        let whole = match header.kind {
            Kind::End => header.length == check_of(&payload),
            _ => header.digest == Digest::of(&payload),
        };
        if !whole {
            return Err(Error::protocol(&self.whom, format!("a {:?} message arrived damaged", header.kind)));
        }
        serde_json::from_slice(&payload).map_err(|error| {
            Error::protocol(&self.whom, format!("a {:?} message is not understood: {error}", header.kind))
        })
    }

    /// Reads a header that must come, turning the peer's failure into our error.
    pub async fn expect(&mut self) -> Result<Header> {
        match self.header().await? {
            None => Err(self.torn()),
            Some(header) if header.kind == Kind::Failed => {
                Err(Error::Peer(self.message::<Failure>(&header).await?))
            }
            Some(header) => Ok(header),
        }
    }

    /// Reads and drops whatever still comes, so that our last words are not lost in a reset.
    pub async fn drain(&mut self) {
        let mut sink = vec![0; 16 << 10];
        while matches!(self.io.read(&mut sink).await, Ok(1..)) {}
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let read = tokio::time::timeout(self.idle, self.io.read(&mut buffer[filled..])).await;
            match read {
                Err(_) => return Err(Error::Silent { whom: self.whom.clone(), secs: self.idle.as_secs() }),
                Ok(Err(error)) => {
                    return Err(Error::Broken { whom: self.whom.clone(), why: error.to_string() });
                }
                Ok(Ok(0)) => break,
                Ok(Ok(more)) => filled += more,
            }
        }
        Ok(filled)
    }

    fn torn(&self) -> Error {
        Error::Broken { whom: self.whom.clone(), why: "it closed the stream before the end".into() }
    }
}

/// What stands as the length of an end, whose digest is taken: the start of that of its payload.
fn check_of(payload: &[u8]) -> u64 {
    let mut check = [0; 8];
    check.copy_from_slice(&Digest::of(payload).0[..8]);
    u64::from_le_bytes(check)
}

#[derive(Debug)]
pub(crate) struct Writer<W> {
    io: W,
    whom: String,
    idle: Duration,
    pacer: Option<Arc<Pacer>>,
    on_wire: Arc<AtomicU64>,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub fn new(io: W, whom: &str, idle: Duration) -> Writer<W> {
        Writer { io, whom: whom.to_owned(), idle, pacer: None, on_wire: Arc::default() }
    }

    pub fn paced(mut self, pacer: Option<Arc<Pacer>>, on_wire: Arc<AtomicU64>) -> Writer<W> {
        (self.pacer, self.on_wire) = (pacer, on_wire);
        self
    }

    pub async fn frame(&mut self, header: &Header, payload: &[u8]) -> Result<()> {
        debug_assert_eq!(header.wire_length as usize, payload.len());
        // Header and the start of the payload leave together: one write, one TLS record, for the many small frames.
        let head = payload.len().min(CHUNK_BYTES - HEADER_BYTES);
        let mut first = Vec::with_capacity(HEADER_BYTES + head);
        first.extend_from_slice(&header.encode());
        first.extend_from_slice(&payload[..head]);
        self.chunk(&first).await?;
        for chunk in payload[head..].chunks(CHUNK_BYTES) {
            self.chunk(chunk).await?;
        }
        Ok(())
    }

    pub async fn message<T: Serialize>(&mut self, kind: Kind, message: &T) -> Result<()> {
        let payload =
            serde_json::to_vec(message).map_err(|error| Error::protocol(&self.whom, error.to_string()))?;
        let header = Header {
            kind,
            offset: 0,
            length: 0,
            wire_length: payload.len() as u32,
            digest: Digest::of(&payload),
        };
        self.frame(&header, &payload).await?;
        self.flush().await
    }

    /// Ends the stream, with the root where it is the control stream.
    pub async fn end(&mut self, root: Digest, totals: &super::Totals) -> Result<()> {
        let payload =
            serde_json::to_vec(totals).map_err(|error| Error::protocol(&self.whom, error.to_string()))?;
        let header = Header::bare(Kind::End, 0, check_of(&payload), root);
        let header = Header { wire_length: payload.len() as u32, ..header };
        self.frame(&header, &payload).await?;
        self.flush().await
    }

    pub async fn flush(&mut self) -> Result<()> {
        let flushed = tokio::time::timeout(self.idle, self.io.flush()).await;
        self.judge(flushed)
    }

    /// Says that nothing more comes, without waiting for the peer.
    pub async fn close(&mut self) {
        let _ = tokio::time::timeout(CLOSE, self.io.shutdown()).await;
    }

    async fn chunk(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(self.pacer.as_ref().map_or(CHUNK_BYTES, |pacer| pacer.piece)) {
            if let Some(pacer) = &self.pacer {
                pacer.wait_for(piece.len()).await;
            }
            let written = tokio::time::timeout(self.idle, self.io.write_all(piece)).await;
            self.judge(written)?;
            self.on_wire.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    fn judge(&self, outcome: Result<std::io::Result<()>, tokio::time::error::Elapsed>) -> Result<()> {
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Error::Broken { whom: self.whom.clone(), why: error.to_string() }),
            Err(_) => Err(Error::Silent { whom: self.whom.clone(), secs: self.idle.as_secs() }),
        }
    }
}

/// Holds all streams of a transfer together to one rate. Time is handed out in order; nothing is saved up while idle,
/// but for a short slack that makes up for a late timer on a busy machine.
#[derive(Debug)]
pub(crate) struct Pacer {
    bytes_per_sec: f64,
    piece: usize,
    /// When the next piece may leave. Time begins to count with the first.
    next: tokio::sync::Mutex<Option<Instant>>,
}

impl Pacer {
    const SLACK: Duration = Duration::from_millis(100);

    pub fn new(bytes_per_sec: u64) -> Pacer {
        let bytes_per_sec = bytes_per_sec.max(1);
        // Ten pieces a second at a crawl, so that the other end never takes slowness for silence.
        let piece = (bytes_per_sec / 10).clamp(1, CHUNK_BYTES as u64) as usize;
        Pacer { bytes_per_sec: bytes_per_sec as f64, piece, next: tokio::sync::Mutex::new(None) }
    }

    async fn wait_for(&self, bytes: usize) {
        let due = {
            let mut next = self.next.lock().await;
            let now = Instant::now();
            let due = next.unwrap_or(now).max(now.checked_sub(Self::SLACK).unwrap_or(now));
            *next = Some(due + Duration::from_secs_f64(bytes as f64 / self.bytes_per_sec));
            due
        };
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long so many seconds' worth of bytes take on so many streams.
    async fn paced(pacer: &Arc<Pacer>, streams: u64, seconds: f64) -> f64 {
        let started = Instant::now();
        let pieces = (pacer.bytes_per_sec * seconds / streams as f64 / pacer.piece as f64).round() as u64;
        let tasks = (0..streams).map(|_| {
            let pacer = pacer.clone();
            tokio::spawn(async move {
                for _ in 0..pieces {
                    pacer.wait_for(pacer.piece).await;
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        started.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn every_rate_holds_across_streams_within_five_percent() {
        for rate in [1000, 100_000, 1_000_000, 50_000_000] {
            for streams in 1..=8 {
                let pacer = Arc::new(Pacer::new(rate));
                // Opening takes its time, which nobody may make up for.
                tokio::time::sleep(Duration::from_secs(3)).await;
                let seconds = paced(&pacer, streams, 10.0).await;
                assert!((9.5..10.5).contains(&seconds), "{rate} on {streams} streams took {seconds} of 10 s");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_transfer_keeps_to_the_rate_too_and_a_gap_is_not_made_up_for() {
        let pacer = Arc::new(Pacer::new(10_000_000));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let short = paced(&pacer, 2, 1.0).await;
        assert!((0.95..1.05).contains(&short), "{short}");
        tokio::time::sleep(Duration::from_secs(60)).await;
        let after = paced(&pacer, 2, 5.0).await;
        assert!((4.75..5.25).contains(&after), "{after}");
    }

    #[tokio::test]
    async fn a_truncated_frame_is_an_error_wherever_it_is_cut() {
        let payload = vec![7; 100];
        let header = Header {
            kind: Kind::Raw,
            offset: 0,
            length: 100,
            wire_length: 100,
            digest: Digest::of(&payload),
        };
        let mut whole = Vec::new();
        Writer::new(&mut whole, "test", Duration::from_secs(1)).frame(&header, &payload).await.unwrap();
        for cut in 0..=whole.len() {
            let mut reader = Reader::new(&whole[..cut], "test", Duration::from_secs(1));
            let mut buffer = Vec::new();
            let outcome = match reader.header().await {
                Ok(Some(header)) => reader.payload(&header, &mut buffer).await.map(|()| Some(())),
                other => other.map(|_| None),
            };
            match cut {
                0 => assert!(matches!(outcome, Ok(None))),
                160 => assert!(matches!(outcome, Ok(Some(()))) && buffer == payload),
                _ => assert!(matches!(outcome, Err(Error::Broken { .. })), "cut at {cut}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_stream() {
        let (_kept, ours) = tokio::io::duplex(64);
        let mut reader = Reader::new(ours, "test", Duration::from_secs(60));
        assert!(matches!(reader.header().await, Err(Error::Silent { secs: 60, .. })));
    }
}
