//! An export of an NBD server as an end. What the server tells about allocation is asked in pieces and remembered one at a
//! time.

use super::{Announced, NbdAddress, Source, Target};
use crate::error::{Error, Result};
use crate::limits::{NBD_STATUS_BYTES, ZERO_STEP};
use crate::nbd::{Client, Interest, Request};
use async_trait::async_trait;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::PoisonError;

#[derive(Debug)]
pub struct NbdSource {
    client: Client,
    size: u64,
    data: Extents,
    /// Where the server keeps a bitmap.
    changes: Option<Extents>,
}

/// The last answer of the server about extents: what it covers, and those of interest within.
#[derive(Debug)]
struct Extents {
    interest: Interest,
    known: Mutex<(Range<u64>, Vec<Range<u64>>)>,
}

impl Extents {
    fn new(interest: Interest) -> Extents {
        Extents { interest, known: Mutex::new((0..0, Vec::new())) }
    }

    /// What is remembered about `from`: the extent at or after it, or up to where there is none.
    fn recall(&self, from: u64) -> Option<Result<Range<u64>, u64>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (covered, extents) = &*known;
        covered.contains(&from).then(|| {
            let next = extents.partition_point(|range| range.end <= from);
            extents.get(next).map(|range| range.start.max(from)..range.end).ok_or(covered.end)
        })
    }

    async fn next(&self, client: &Client, size: u64, mut from: u64) -> Result<Option<Range<u64>>> {
        while from < size {
            match self.recall(from) {
                Some(Ok(range)) => {
                    return Ok((range.start < size).then(|| range.start..range.end.min(size)));
                }
                Some(Err(end)) => from = end,
                None => {
                    let ask = from..size.min(from + NBD_STATUS_BYTES);
                    let Some((extents, upto)) = client.status(ask, self.interest).await? else {
                        return Ok(Some(from..size));
                    };
                    *self.known.lock().unwrap_or_else(PoisonError::into_inner) = (from..upto, extents);
                }
            }
        }
        Ok(None)
    }
}

impl NbdSource {
    pub async fn connect(address: &NbdAddress) -> Result<NbdSource> {
        let client = Client::connect(address, None).await?;
        let size = client.export().size;
        Ok(NbdSource { client, size, data: Extents::new(Interest::Data), changes: None })
    }

    /// An export with a bitmap of what has changed.
    pub async fn connect_changes(address: &NbdAddress, bitmap: &str) -> Result<NbdSource> {
        let client = Client::connect(address, Some(bitmap)).await?;
        let size = client.export().size;
        let changes = Some(Extents::new(Interest::Changes));
        Ok(NbdSource { client, size, data: Extents::new(Interest::Data), changes })
    }

    /// Only the first `size` bytes of the export.
    pub async fn connect_first(address: &NbdAddress, size: u64) -> Result<NbdSource> {
        let source = NbdSource::connect(address).await?;
        Ok(NbdSource { size: size.min(source.size), ..source })
    }
}

#[async_trait]
impl Source for NbdSource {
    fn name(&self) -> String {
        self.client.whom().to_owned()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        self.data.next(&self.client, self.size, from).await
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.client.read(offset, buffer).await
    }

    fn tells_changes(&self) -> bool {
        self.changes.is_some()
    }

    async fn next_changed(&self, from: u64) -> Result<Option<Range<u64>>> {
        match &self.changes {
            Some(changes) => changes.next(&self.client, self.size, from).await,
            None => Ok((from < self.size).then_some(from..self.size)),
        }
    }

    async fn check_unchanged(&self) -> Result<()> {
        // The protocol cannot tell. Whoever exports a disk for a copy exports one that lies still.
        Ok(())
    }
}

#[derive(Debug)]
pub struct NbdTarget {
    client: Client,
    address: NbdAddress,
    size: u64,
    began_as_zeros: bool,
}

impl NbdTarget {
    pub async fn connect(address: &NbdAddress, announced: Announced) -> Result<NbdTarget> {
        let client = Client::connect(address, None).await?;
        let export = client.export();
        if export.read_only() {
            return Err(Error::Nbd { whom: client.whom().to_owned(), why: "the export is read-only".into() });
        }
        if !export.can_flush() {
            // Without a flush nothing could ever be called durable.
            return Err(Error::Nbd {
                whom: client.whom().to_owned(),
                why: "the export cannot be flushed".into(),
            });
        }
        if export.size < announced.size {
            let what = client.whom().to_owned();
            return Err(Error::TargetTooSmall { what, have: export.size, need: announced.size });
        }
        let began_as_zeros = all_zeros(&client, announced.size).await?;
        Ok(NbdTarget { client, address: address.clone(), size: announced.size, began_as_zeros })
    }
}

/// Whether the server says that the first `size` bytes read as zeros.
async fn all_zeros(client: &Client, size: u64) -> Result<bool> {
    let mut from = 0;
    while from < size {
        match client.status(from..size.min(from + NBD_STATUS_BYTES), Interest::Data).await? {
            Some((data, upto)) if data.is_empty() => from = upto,
            _ => return Ok(false),
        }
    }
    Ok(true)
}

#[async_trait]
impl Target for NbdTarget {
    fn name(&self) -> String {
        self.client.whom().to_owned()
    }

    fn began_as_zeros(&self) -> bool {
        self.began_as_zeros
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.client.read(offset, buffer).await
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.client.ask(Request::Write, offset, bytes.len() as u32, bytes).await
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        let can = self.client.export().can_write_zeroes();
        let step = if can { ZERO_STEP } else { 1 << 20 };
        let zeros = if can { Vec::new() } else { vec![0; step as usize] };
        let mut at = range.start;
        while at < range.end {
            let length = (range.end - at).min(step) as u32;
            if can {
                // The flag "no hole" stays off: the server may give the space back.
                self.client.ask(Request::WriteZeroes, at, length, &[]).await?;
            } else {
                self.client.ask(Request::Write, at, length, &zeros[..length as usize]).await?;
            }
            at += u64::from(length);
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        self.client.ask(Request::Flush, 0, 0, &[]).await
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(NbdSource::connect_first(&self.address, self.size).await?))
    }

    async fn close(&self) -> Result<()> {
        self.flush().await?;
        self.client.disconnect().await;
        Ok(())
    }
}
