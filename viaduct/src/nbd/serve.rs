//! One disk over one pipe, as an NBD server: how guest work at another host reaches a disk that only this host has. One client,
//! whose requests are done one after the other; what it was told is done stays done when the pipe breaks.

use super::handshake::{
    FIXED_NEWSTYLE, FLAG_FLUSH, FLAG_READ_ONLY, FLAG_WRITE_ZEROES, GREETING, INFO_EXPORT, NO_ZEROES, OPT_GO,
    OPTION_MAGIC, REP_ACK, REP_ERROR, REP_INFO, REPLY_MAGIC,
};
use crate::ends::{Announced, Disk, Source, Target, open_source, open_target};
use crate::error::{Error, Result};
use crate::limits::{NBD_OPTION_MAX, NBD_SERVE_BYTES_MAX};
use crate::receive::Lock;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

const OPT_ABORT: u32 = 2;
const REP_UNSUPPORTED: u32 = REP_ERROR | 1;
const FLAG_HAS_FLAGS: u16 = 1;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const WRITE_ZEROES: u16 = 6;
const EPERM: u32 = 1;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;

/// What is served, and to whom alone.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub disk: PathBuf,
    pub read_only: bool,
    /// A file that one server at a time locks, and the epoch under which this one does: a newer one ends an older one.
    pub lock: Option<(PathBuf, u64)>,
}

/// Serves until the client leaves.
pub async fn serve(
    options: &ServeOptions,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
) -> Result<()> {
    let name = options.disk.display().to_string();
    let _lock = match &options.lock {
        Some((path, epoch)) => Some(Lock::acquire(path, &name, *epoch, Duration::ZERO)?),
        None => None,
    };
    let served = Served::open(options).await?;
    let mut talk = Talk { input, output, served };
    let done = talk.all().await;
    // Whatever became of the client: what it was told is written must be durable before somebody else reads it.
    talk.served.flush().await?;
    done.map_err(broken)
}

/// Serves a disk for reading until the client leaves.
pub async fn serve_source(
    source: Box<dyn Source>,
    input: impl AsyncRead + Unpin + Send,
    output: impl AsyncWrite + Unpin + Send,
) -> Result<()> {
    let mut talk = Talk { input, output, served: Served::Read(source) };
    talk.all().await.map_err(broken)
}

fn broken(error: io::Error) -> Error {
    Error::Nbd { whom: "the client".to_owned(), why: error.to_string() }
}

#[derive(Debug)]
enum Served {
    Read(Box<dyn Source>),
    Write(Box<dyn Target>, u64),
}

impl Served {
    async fn open(options: &ServeOptions) -> Result<Self> {
        let disk = Disk::File(options.disk.clone());
        let source = open_source(&disk).await?;
        if options.read_only {
            return Ok(Self::Read(source));
        }
        let size = source.size();
        drop(source);
        let announced = Announced { size, data_bytes: 0, overcommit: true };
        Ok(Self::Write(open_target(&disk, announced).await?, size))
    }

    fn size(&self) -> u64 {
        match self {
            Self::Read(source) => source.size(),
            Self::Write(_, size) => *size,
        }
    }

    fn flags(&self) -> u16 {
        match self {
            Self::Read(_) => FLAG_HAS_FLAGS | FLAG_READ_ONLY,
            Self::Write(..) => FLAG_HAS_FLAGS | FLAG_FLUSH | FLAG_WRITE_ZEROES,
        }
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        match self {
            Self::Read(source) => source.read(offset, buffer).await,
            Self::Write(target, _) => target.read(offset, buffer).await,
        }
    }

    async fn flush(&self) -> Result<()> {
        match self {
            Self::Read(_) => Ok(()),
            Self::Write(target, _) => target.flush().await,
        }
    }
}

struct Talk<I, O> {
    input: I,
    output: O,
    served: Served,
}

struct Request {
    kind: u16,
    cookie: u64,
    offset: u64,
    length: u32,
}

impl<I: AsyncRead + Unpin, O: AsyncWrite + Unpin> Talk<I, O> {
    async fn all(&mut self) -> io::Result<()> {
        match self.greet().await? {
            true => self.transmit().await,
            false => Ok(()),
        }
    }

    /// Whether the client entered the export; it may as well go.
    async fn greet(&mut self) -> io::Result<bool> {
        self.output.write_u64(GREETING).await?;
        self.output.write_u64(OPTION_MAGIC).await?;
        self.output.write_u16(FIXED_NEWSTYLE | NO_ZEROES).await?;
        self.output.flush().await?;
        self.input.read_u32().await?;
        loop {
            let magic = self.input.read_u64().await?;
            let (option, length) = (self.input.read_u32().await?, self.input.read_u32().await?);
            if magic != OPTION_MAGIC || length > NBD_OPTION_MAX {
                return Err(nonsense("an option"));
            }
            let mut data = vec![0; length as usize];
            self.input.read_exact(&mut data).await?;
            match option {
                // One disk is all there is: by whatever name it is asked for.
                OPT_GO => {
                    let mut info = INFO_EXPORT.to_be_bytes().to_vec();
                    info.extend_from_slice(&self.served.size().to_be_bytes());
                    info.extend_from_slice(&self.served.flags().to_be_bytes());
                    self.answer(option, REP_INFO, &info).await?;
                    self.answer(option, REP_ACK, &[]).await?;
                    return Ok(true);
                }
                OPT_ABORT => {
                    self.answer(option, REP_ACK, &[]).await?;
                    return Ok(false);
                }
                _ => self.answer(option, REP_UNSUPPORTED, &[]).await?,
            }
        }
    }

    async fn answer(&mut self, option: u32, kind: u32, data: &[u8]) -> io::Result<()> {
        self.output.write_u64(REPLY_MAGIC).await?;
        self.output.write_u32(option).await?;
        self.output.write_u32(kind).await?;
        self.output.write_u32(data.len() as u32).await?;
        self.output.write_all(data).await?;
        self.output.flush().await
    }

    /// Until the client says that it goes, or is gone between two requests.
    async fn transmit(&mut self) -> io::Result<()> {
        let mut buffer = Vec::new();
        loop {
            let request = match self.request().await {
                Ok(request) if request.kind == DISCONNECT => return Ok(()),
                Ok(request) => request,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            };
            if matches!(request.kind, READ | WRITE) && request.length > NBD_SERVE_BYTES_MAX {
                return Err(nonsense("a request longer than any client makes"));
            }
            if request.kind == WRITE {
                buffer.resize(request.length as usize, 0);
                self.input.read_exact(&mut buffer).await?;
            }
            let error = self.perform(&request, &mut buffer).await;
            self.output.write_u32(REPLY).await?;
            self.output.write_u32(error).await?;
            self.output.write_u64(request.cookie).await?;
            if request.kind == READ && error == 0 {
                self.output.write_all(&buffer).await?;
            }
            self.output.flush().await?;
        }
    }

    async fn request(&mut self) -> io::Result<Request> {
        if self.input.read_u32().await? != REQUEST {
            return Err(nonsense("a request"));
        }
        let _flags = self.input.read_u16().await?;
        Ok(Request {
            kind: self.input.read_u16().await?,
            cookie: self.input.read_u64().await?,
            offset: self.input.read_u64().await?,
            length: self.input.read_u32().await?,
        })
    }

    /// The number of the error, 0 for none.
    async fn perform(&self, request: &Request, buffer: &mut Vec<u8>) -> u32 {
        let Request { kind, offset, length, .. } = *request;
        let end = offset.checked_add(u64::from(length));
        if end.is_none_or(|end| end > self.served.size()) {
            return if kind == WRITE { ENOSPC } else { EINVAL };
        }
        let done = match (kind, &self.served) {
            (READ, served) => {
                buffer.resize(length as usize, 0);
                served.read(offset, buffer).await
            }
            (FLUSH, served) => served.flush().await,
            (WRITE | WRITE_ZEROES, Served::Read(_)) => return EPERM,
            (WRITE, Served::Write(target, _)) => target.write(offset, buffer).await,
            (WRITE_ZEROES, Served::Write(target, _)) => target.zero(offset..offset + u64::from(length)).await,
            _ => return EINVAL,
        };
        match done {
            Ok(()) => 0,
            Err(error) => {
                tracing::warn!(%error, "a request failed");
                EIO
            }
        }
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it sends {what} that is none"))
}
