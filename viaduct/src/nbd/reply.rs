//! The reading half of a connection: one task owns it and hands each reply to the request that waits for it. Bounded: a
//! server cannot make us take more than was asked for.

use crate::limits::{NBD_CHUNK_MAX, NBD_EXTENTS_MAX};
use std::collections::HashMap;
use std::io::{Error, ErrorKind, Result};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::oneshot;

const SIMPLE: u32 = 0x6744_6698;
const STRUCTURED: u32 = 0x668e_33ef;
const DONE: u16 = 1;
const CHUNK_NONE: u16 = 0;
const CHUNK_DATA: u16 = 1;
const CHUNK_HOLE: u16 = 2;
const CHUNK_STATUS: u16 = 5;
const CHUNK_ERROR: u16 = 1 << 15;
const STATUS_ZERO: u32 = 2;
const STATUS_DIRTY: u32 = 1;

/// A request that waits for its reply.
#[derive(Debug)]
pub(super) struct Pending {
    pub expects: Expects,
    pub errno: u32,
    pub done: oneshot::Sender<Done>,
}

#[derive(Debug)]
pub(super) enum Expects {
    Nothing,
    /// The bytes of a read from `offset`.
    Data {
        offset: u64,
        buffer: Vec<u8>,
    },
    /// Extents from `offset` on; those of interest are kept.
    Status {
        context: u32,
        interest: Interest,
        offset: u64,
        data: Vec<Range<u64>>,
        upto: u64,
    },
}

/// Which extents are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Those that may hold something else than zeros, in the context of allocation.
    Data,
    /// Those that may have changed, in the context of a bitmap.
    Changes,
}

impl Interest {
    fn covers(self, flags: u32) -> bool {
        match self {
            Interest::Data => flags & STATUS_ZERO == 0,
            Interest::Changes => flags & STATUS_DIRTY != 0,
        }
    }
}

/// The errno of the server, 0 for success, and what came.
#[derive(Debug)]
pub(super) struct Done {
    pub errno: u32,
    pub got: Expects,
}

/// Requests by cookie; `None` once the connection is dead.
pub(super) type Waiting = Arc<Mutex<Option<HashMap<u64, Pending>>>>;

/// Reads until the connection ends, then lets everybody who waits know.
pub(super) async fn read_replies(mut reader: impl AsyncRead + Unpin, waiting: Waiting) {
    while let Ok((cookie, pending, done)) = read_one(&mut reader, &waiting).await {
        if done {
            let Pending { expects: got, errno, done } = pending;
            let _ = done.send(Done { errno, got });
        } else if let Some(map) = &mut *lock(&waiting) {
            map.insert(cookie, pending);
        }
    }
    // Dropping the requests tells those who wait.
    lock(&waiting).take();
}

pub(super) fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, Option<HashMap<u64, Pending>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_one(reader: &mut (impl AsyncRead + Unpin), waiting: &Waiting) -> Result<(u64, Pending, bool)> {
    match reader.read_u32().await? {
        SIMPLE => {
            let errno = reader.read_u32().await?;
            let cookie = reader.read_u64().await?;
            let mut pending = take(waiting, cookie)?;
            pending.errno = errno;
            if let (0, Expects::Data { buffer, .. }) = (errno, &mut pending.expects) {
                reader.read_exact(buffer).await?;
            }
            Ok((cookie, pending, true))
        }
        STRUCTURED => {
            let (flags, kind) = (reader.read_u16().await?, reader.read_u16().await?);
            let (cookie, length) = (reader.read_u64().await?, reader.read_u32().await?);
            let mut pending = take(waiting, cookie)?;
            read_chunk(reader, kind, length, &mut pending).await?;
            Ok((cookie, pending, flags & DONE != 0))
        }
        _ => Err(nonsense()),
    }
}

fn take(waiting: &Waiting, cookie: u64) -> Result<Pending> {
    lock(waiting).as_mut().and_then(|map| map.remove(&cookie)).ok_or_else(nonsense)
}

async fn read_chunk(
    reader: &mut (impl AsyncRead + Unpin),
    kind: u16,
    length: u32,
    pending: &mut Pending,
) -> Result<()> {
    if length > NBD_CHUNK_MAX {
        return Err(nonsense());
    }
    match (kind, &mut pending.expects) {
        (CHUNK_NONE, _) if length == 0 => Ok(()),
        (CHUNK_DATA, Expects::Data { offset, buffer }) if length >= 8 => {
            let at = reader.read_u64().await?;
            let place = place(*offset, buffer.len(), at, u64::from(length - 8))?;
            reader.read_exact(&mut buffer[place]).await?;
            Ok(())
        }
        (CHUNK_HOLE, Expects::Data { offset, buffer }) if length == 12 => {
            let (at, hole) = (reader.read_u64().await?, reader.read_u32().await?);
            let place = place(*offset, buffer.len(), at, u64::from(hole))?;
            buffer[place].fill(0);
            Ok(())
        }
        (CHUNK_STATUS, Expects::Status { context, interest, data, upto, .. })
            if length >= 12 && length % 8 == 4 =>
        {
            if reader.read_u32().await? != *context {
                // The server tells all contexts that were agreed on.
                let mut rest = reader.take(u64::from(length - 4));
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
                return Ok(());
            }
            for number in 0..(length - 4) / 8 {
                let (bytes, flags) = (reader.read_u32().await?, reader.read_u32().await?);
                if number as usize >= NBD_EXTENTS_MAX {
                    // What is not remembered is asked for again.
                    continue;
                }
                let extent = *upto..*upto + u64::from(bytes);
                *upto = extent.end;
                match data.last_mut() {
                    _ if !interest.covers(flags) => {}
                    Some(last) if last.end == extent.start => last.end = extent.end,
                    _ => data.push(extent),
                }
            }
            Ok(())
        }
        (kind, _) if kind & CHUNK_ERROR != 0 && length >= 4 => {
            pending.errno = reader.read_u32().await?.max(1);
            let mut rest = reader.take(u64::from(length - 4));
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            Ok(())
        }
        _ => Err(nonsense()),
    }
}

/// Where a piece belongs in the buffer of a read, if it does.
fn place(start: u64, have: usize, at: u64, length: u64) -> Result<Range<usize>> {
    let from = at.checked_sub(start).ok_or_else(nonsense)?;
    let end = from.checked_add(length).filter(|end| *end <= have as u64).ok_or_else(nonsense)?;
    Ok(from as usize..end as usize)
}

fn nonsense() -> Error {
    Error::new(ErrorKind::InvalidData, "a reply that was not asked for")
}
