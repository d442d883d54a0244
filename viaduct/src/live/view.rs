//! How the parsers see a disk: a window that cannot be left, numbers that cannot be read beyond their end, and doubt as the
//! only kind of error. Whatever is read through a window is remembered as evidence, in one digest.

use crate::digest::Digest;
use crate::ends::Source;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The most that a parser reads at once; the largest block of any file system is smaller.
const READ_MAX: usize = 1 << 20;

/// Why a part of the disk is read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt(pub Cow<'static, str>);

pub fn doubt<T>(why: impl Into<Cow<'static, str>>) -> Result<T, Doubt> {
    Err(Doubt(why.into()))
}

/// Doubts `why` unless `sure`.
pub fn require(sure: bool, why: &'static str) -> Result<(), Doubt> {
    if sure { Ok(()) } else { doubt(why) }
}

/// What the parsers based their word on.
#[derive(Debug, Default)]
pub struct Evidence(Mutex<blake3::Hasher>);

impl Evidence {
    fn add(&self, offset: u64, bytes: &[u8]) {
        let mut hasher = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hasher.update(&offset.to_le_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }

    pub fn digest(&self) -> Digest {
        Digest(*self.0.lock().unwrap_or_else(PoisonError::into_inner).finalize().as_bytes())
    }
}

/// A window on a disk. Offsets are the window's.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    source: &'a dyn Source,
    start: u64,
    length: u64,
    evidence: &'a Evidence,
}

impl<'a> View<'a> {
    pub fn new(source: &'a dyn Source, evidence: &'a Evidence) -> View<'a> {
        View { source, start: 0, length: source.size(), evidence }
    }

    /// A smaller window; `range` lies within this one.
    pub fn part(&self, range: &Range<u64>) -> View<'a> {
        View { start: self.start + range.start, length: range.end - range.start, ..*self }
    }

    /// Where it begins on the disk.
    pub fn start(&self) -> u64 {
        self.start
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    pub async fn read(&self, offset: u64, length: u64) -> Result<Fields, Doubt> {
        let end = offset.checked_add(length).filter(|end| *end <= self.length);
        if end.is_none() || length > READ_MAX as u64 {
            return doubt("it points outside of its own space");
        }
        let mut bytes = vec![0; length as usize];
        if self.source.read(self.start + offset, &mut bytes).await.is_err() {
            // The copy will meet the same error, and tell it.
            return doubt("its metadata cannot be read");
        }
        self.evidence.add(self.start + offset, &bytes);
        Ok(Fields(bytes))
    }
}

/// Bytes with numbers in them.
#[derive(Clone, Debug)]
pub struct Fields(Vec<u8>);

impl Fields {
    pub fn new(bytes: Vec<u8>) -> Fields {
        Fields(bytes)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn slice(&self, at: usize, length: usize) -> Result<&[u8], Doubt> {
        match at.checked_add(length).and_then(|end| self.0.get(at..end)) {
            Some(bytes) => Ok(bytes),
            None => doubt("its metadata is cut short"),
        }
    }

    /// A copy with zeros where a checksum stands.
    pub fn without(&self, at: usize, length: usize) -> Result<Vec<u8>, Doubt> {
        self.slice(at, length)?;
        let mut bytes = self.0.clone();
        bytes[at..at + length].fill(0);
        Ok(bytes)
    }

    fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Doubt> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(at, N)?);
        Ok(array)
    }

    pub fn byte(&self, at: usize) -> Result<u8, Doubt> {
        Ok(self.array::<1>(at)?[0])
    }

    pub fn le16(&self, at: usize) -> Result<u16, Doubt> {
        Ok(u16::from_le_bytes(self.array(at)?))
    }

    pub fn le32(&self, at: usize) -> Result<u32, Doubt> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    pub fn le64(&self, at: usize) -> Result<u64, Doubt> {
        Ok(u64::from_le_bytes(self.array(at)?))
    }

    pub fn be16(&self, at: usize) -> Result<u16, Doubt> {
        Ok(u16::from_be_bytes(self.array(at)?))
    }

    pub fn be32(&self, at: usize) -> Result<u32, Doubt> {
        Ok(u32::from_be_bytes(self.array(at)?))
    }

    pub fn be64(&self, at: usize) -> Result<u64, Doubt> {
        Ok(u64::from_be_bytes(self.array(at)?))
    }
}
