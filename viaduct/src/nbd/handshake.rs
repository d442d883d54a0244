//! The start of a connection: agree on structured replies and block status, enter the export.

use crate::error::{Error, Result};
use crate::limits::NBD_OPTION_MAX;
use crate::transport::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) const GREETING: u64 = 0x4e42_444d_4147_4943;
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
pub(super) const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
pub(super) const FIXED_NEWSTYLE: u16 = 1;
pub(super) const NO_ZEROES: u16 = 2;
pub(super) const OPT_GO: u32 = 7;
const OPT_STRUCTURED_REPLY: u32 = 8;
const OPT_SET_META_CONTEXT: u32 = 10;
pub(super) const REP_ACK: u32 = 1;
pub(super) const REP_INFO: u32 = 3;
const REP_META_CONTEXT: u32 = 4;
pub(super) const REP_ERROR: u32 = 1 << 31;
pub(super) const INFO_EXPORT: u16 = 0;
const ALLOCATION: &str = "base:allocation";
/// What QEMU calls its bitmaps.
const BITMAP: &str = "qemu:dirty-bitmap:";

pub(super) const FLAG_READ_ONLY: u16 = 1 << 1;
pub(super) const FLAG_FLUSH: u16 = 1 << 2;
pub(super) const FLAG_WRITE_ZEROES: u16 = 1 << 6;

/// What the server says about the export.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Export {
    pub size: u64,
    flags: u16,
    /// Whether reads come in chunks that may be holes.
    pub structured: bool,
    /// The number under which the server tells allocation, if it does.
    pub allocation: Option<u32>,
    /// The number under which it tells changes, if it was asked for that.
    pub changes: Option<u32>,
}

impl Export {
    pub fn read_only(&self) -> bool {
        self.flags & FLAG_READ_ONLY != 0
    }

    pub fn can_flush(&self) -> bool {
        self.flags & FLAG_FLUSH != 0
    }

    pub fn can_write_zeroes(&self) -> bool {
        self.flags & FLAG_WRITE_ZEROES != 0
    }
}

/// Enters the export `name`. `whom` is the server, for messages.
pub(super) async fn enter(
    stream: &mut Stream,
    whom: &str,
    name: &str,
    bitmap: Option<&str>,
) -> Result<Export> {
    let mut talk = Talk { stream, whom };
    talk.greet().await?;
    let mut export =
        Export { structured: talk.option(OPT_STRUCTURED_REPLY, &[]).await?.is_some(), ..Export::default() };
    if export.structured {
        let bitmap = bitmap.map(|bitmap| format!("{BITMAP}{bitmap}"));
        (export.allocation, export.changes) = talk.ask_contexts(name, bitmap.as_deref()).await?;
    }
    if let Some(bitmap) = bitmap.filter(|_| export.changes.is_none()) {
        return Err(talk.error(format!("its export `{name}` has no bitmap `{bitmap}`")));
    }
    let mut ask = sized(name.as_bytes());
    ask.extend_from_slice(&0u16.to_be_bytes());
    let infos = talk.option(OPT_GO, &ask).await?;
    let infos = infos.ok_or_else(|| talk.error(format!("it has no export `{name}`")))?;
    for (kind, data) in infos {
        if kind == REP_INFO && data.len() >= 12 && data[..2] == INFO_EXPORT.to_be_bytes() {
            export.size = data[2..10].iter().fold(0, |size, byte| size << 8 | u64::from(*byte));
            export.flags = u16::from_be_bytes([data[10], data[11]]);
            return Ok(export);
        }
    }
    Err(talk.error("it did not tell the size of its export"))
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let mut sized = (bytes.len() as u32).to_be_bytes().to_vec();
    sized.extend_from_slice(bytes);
    sized
}

struct Talk<'a> {
    stream: &'a mut Stream,
    whom: &'a str,
}

impl Talk<'_> {
    async fn greet(&mut self) -> Result<()> {
        let (greeting, magic) = (self.u64().await?, self.u64().await?);
        if (greeting, magic) != (GREETING, OPTION_MAGIC) {
            return Err(self.error("it does not speak newstyle NBD"));
        }
        let flags = self.stream.read_u16().await.map_err(|error| self.broke(error))?;
        if flags & FIXED_NEWSTYLE == 0 {
            return Err(self.error("it does not speak fixed newstyle NBD"));
        }
        let answer = u32::from(flags & (FIXED_NEWSTYLE | NO_ZEROES));
        self.write(&answer.to_be_bytes()).await
    }

    /// The numbers of the contexts for allocation and for `bitmap`.
    async fn ask_contexts(&mut self, name: &str, bitmap: Option<&str>) -> Result<(Option<u32>, Option<u32>)> {
        let wanted: Vec<&str> = std::iter::once(ALLOCATION).chain(bitmap).collect();
        let mut ask = sized(name.as_bytes());
        ask.extend_from_slice(&(wanted.len() as u32).to_be_bytes());
        wanted.iter().for_each(|context| ask.extend_from_slice(&sized(context.as_bytes())));
        let contexts = self.option(OPT_SET_META_CONTEXT, &ask).await?.unwrap_or_default();
        let number = |context: &str| {
            contexts.iter().find_map(|(kind, data)| {
                let id = data.first_chunk::<4>().map(|id| u32::from_be_bytes(*id));
                id.filter(|_| *kind == REP_META_CONTEXT && &data[4..] == context.as_bytes())
            })
        };
        Ok((number(ALLOCATION), bitmap.and_then(number)))
    }

    /// Sends an option; its replies up to the acknowledgement, or `None` if the server declines.
    async fn option(&mut self, option: u32, data: &[u8]) -> Result<Option<Vec<(u32, Vec<u8>)>>> {
        let mut ask = OPTION_MAGIC.to_be_bytes().to_vec();
        ask.extend_from_slice(&option.to_be_bytes());
        ask.extend_from_slice(&sized(data));
        self.write(&ask).await?;
        let mut replies = Vec::new();
        // A server says a handful of things to an option; one that goes on for ever is broken.
        for _ in 0..64 {
            let magic = self.u64().await?;
            let (to, kind, length) = (self.u32().await?, self.u32().await?, self.u32().await?);
            if magic != REPLY_MAGIC || to != option || length > NBD_OPTION_MAX {
                return Err(self.error("it answers an option with nonsense"));
            }
            let mut data = vec![0; length as usize];
            self.stream.read_exact(&mut data).await.map_err(|error| self.broke(error))?;
            match kind {
                REP_ACK => return Ok(Some(replies)),
                kind if kind & REP_ERROR != 0 => return Ok(None),
                kind => replies.push((kind, data)),
            }
        }
        Err(self.error("it does not stop answering an option"))
    }

    async fn u64(&mut self) -> Result<u64> {
        self.stream.read_u64().await.map_err(|error| self.broke(error))
    }

    async fn u32(&mut self) -> Result<u32> {
        self.stream.read_u32().await.map_err(|error| self.broke(error))
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(|error| self.broke(error))
    }

    fn error(&self, why: impl Into<String>) -> Error {
        Error::Nbd { whom: self.whom.to_owned(), why: why.into() }
    }

    fn broke(&self, error: std::io::Error) -> Error {
        self.error(format!("the handshake broke: {error}"))
    }
}
