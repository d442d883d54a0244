//! A connection to one export. Requests may be made in parallel; they are pipelined on the one connection.

use super::handshake::{self, Export};
use super::prompt::Prompt;
use super::reply::{Done, Expects, Interest, Pending, Waiting, lock, read_replies};
use crate::ends::NbdAddress;
use crate::error::{Error, Result};
use crate::limits::{HANDSHAKE, NBD_PIPELINE, NBD_REQUEST};
use crate::transport::Stream;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncWriteExt, BufReader, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

const REQUEST_MAGIC: u32 = 0x2560_9513;
const DISCONNECT: u16 = 2;

/// What is asked of the server. Lengths fit 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    Write,
    Flush,
    WriteZeroes,
}

#[derive(Debug)]
pub(crate) struct Client {
    whom: String,
    export: Export,
    writer: tokio::sync::Mutex<WriteHalf<Stream>>,
    waiting: Waiting,
    cookies: AtomicU64,
    pipeline: Semaphore,
    _reader: JoinSet<()>,
}

impl Client {
    /// With `bitmap`, one that cannot tell of it is an error.
    pub async fn connect(address: &NbdAddress, bitmap: Option<&str>) -> Result<Client> {
        let whom = address.to_string();
        let unreachable = |source| Error::Unreachable { whom: whom.clone(), source };
        let (mut stream, export): (Stream, &str) = match address {
            NbdAddress::Unix { socket, export } => {
                (Box::new(UnixStream::connect(socket).await.map_err(unreachable)?), export)
            }
            NbdAddress::Tcp { host, port, export } => {
                let socket = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                (Box::new(Prompt::new(socket)), export)
            }
        };
        let entered =
            tokio::time::timeout(HANDSHAKE, handshake::enter(&mut stream, &whom, export, bitmap)).await;
        let export =
            entered.map_err(|_| Error::Silent { whom: whom.clone(), secs: HANDSHAKE.as_secs() })??;
        let (reader, writer) = tokio::io::split(stream);
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let mut task = JoinSet::new();
        // Small, so that headers come together and data does not pass through it.
        let reader = BufReader::with_capacity(4096, reader);
        task.spawn(read_replies(reader, waiting.clone()));
        Ok(Client {
            whom,
            export,
            writer: tokio::sync::Mutex::new(writer),
            waiting,
            cookies: AtomicU64::new(1),
            pipeline: Semaphore::new(NBD_PIPELINE),
            _reader: task,
        })
    }

    pub fn whom(&self) -> &str {
        &self.whom
    }

    pub fn export(&self) -> Export {
        self.export
    }

    pub async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let expects = Expects::Data { offset, buffer: vec![0; buffer.len()] };
        match self.call(0, offset, buffer.len() as u32, &[], expects, "read").await? {
            Expects::Data { buffer: got, .. } => buffer.copy_from_slice(&got),
            _ => unreachable!("a read is answered with data"),
        }
        Ok(())
    }

    /// The ranges of interest within `range`, and up to where that is known: at least one byte further. `None` if the
    /// server does not tell.
    pub async fn status(
        &self,
        range: Range<u64>,
        interest: Interest,
    ) -> Result<Option<(Vec<Range<u64>>, u64)>> {
        let context = match interest {
            Interest::Data => self.export.allocation,
            Interest::Changes => self.export.changes,
        };
        let Some(context) = context else { return Ok(None) };
        let length = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
        let (offset, data) = (range.start, Vec::new());
        let expects = Expects::Status { context, interest, offset, data, upto: offset };
        match self.call(7, offset, length, &[], expects, "tell the extents of").await? {
            Expects::Status { data, upto, offset, .. } if upto > offset => Ok(Some((data, upto))),
            _ => Err(self.error("it told no extents")),
        }
    }

    pub async fn ask(&self, request: Request, offset: u64, length: u32, payload: &[u8]) -> Result<()> {
        let (code, verb) = match request {
            Request::Write => (1, "write to"),
            Request::Flush => (3, "flush"),
            Request::WriteZeroes => (6, "zero"),
        };
        self.call(code, offset, length, payload, Expects::Nothing, verb).await.map(|_| ())
    }

    /// Says goodbye, so that the server need not guess.
    pub async fn disconnect(&self) {
        let mut writer = self.writer.lock().await;
        let _ = writer.write_all(&encode(DISCONNECT, 0, 0, 0)).await;
        let _ = writer.shutdown().await;
    }

    async fn call(
        &self,
        code: u16,
        offset: u64,
        length: u32,
        payload: &[u8],
        expects: Expects,
        verb: &'static str,
    ) -> Result<Expects> {
        let _slot = self.pipeline.acquire().await.map_err(|_| self.error("it is closed"))?;
        let cookie = self.cookies.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        match &mut *lock(&self.waiting) {
            Some(map) => map.insert(cookie, Pending { expects, errno: 0, done }),
            None => return Err(self.gone()),
        };
        {
            let mut writer = self.writer.lock().await;
            let mut sent = writer.write_all(&encode(code, cookie, offset, length)).await;
            if sent.is_ok() {
                sent = writer.write_all(payload).await;
            }
            if sent.is_ok() {
                sent = writer.flush().await;
            }
            sent.map_err(|_| self.gone())?;
        }
        let answered = tokio::time::timeout(NBD_REQUEST, answer).await;
        let Done { errno, got } = answered
            .map_err(|_| Error::Silent { whom: self.whom.clone(), secs: NBD_REQUEST.as_secs() })?
            .map_err(|_| self.gone())?;
        match errno {
            0 => Ok(got),
            // The protocol's numbers are those of Linux.
            errno => Err(Error::io(verb, &self.whom, std::io::Error::from_raw_os_error(errno as i32))),
        }
    }

    fn error(&self, why: &str) -> Error {
        Error::Nbd { whom: self.whom.clone(), why: why.to_owned() }
    }

    fn gone(&self) -> Error {
        self.error("it closed the connection")
    }
}

fn encode(code: u16, cookie: u64, offset: u64, length: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    bytes[6..8].copy_from_slice(&code.to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..].copy_from_slice(&length.to_be_bytes());
    bytes
}
