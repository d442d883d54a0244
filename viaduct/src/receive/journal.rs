//! The receiver's memory on disk: which blocks are durable at the target. Append-only; a record is written only after the
//! data it speaks of was made durable. A torn tail is cut off, a header that cannot be read is an error.
//!
//! ```text
//! header   "viaduct journal\n"  length:u32  json  check[8]
//! record   kind:u8  index:u64  count:u64  digest[32]  check[8]       57 bytes, little endian
//! ```
//! `check` is the start of the BLAKE3 digest of what stands before it, chained to the header's check, so that records of
//! another journal do not fit.

use crate::blocks::Geometry;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::limits::JOURNAL_HEADER_MAX;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"viaduct journal\n";
const VERSION: u32 = 1;
const CHECK_BYTES: usize = 8;
const RECORD_BYTES: usize = 57;

/// Which transfer a journal belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub version: u32,
    pub size: u64,
    pub block_bytes: u32,
    /// For people. The content is compared by digest, so another path to the same disk may go on.
    pub label: String,
}

/// What is known of blocks, in the order in which it became true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The block is durable with this digest.
    Data { index: u64, digest: Digest },
    /// The blocks are durable as zeros.
    Zeros { blocks: Range<u64> },
    /// Nothing is known of the blocks any more: they are about to be written over.
    Forgotten { blocks: Range<u64> },
    /// The roots agreed. `stamp` is the target's at that time, 0 where it has none.
    Finished { root: Digest, stamp: u64 },
    /// Which target this is, as far as that can be told: another number is another file under the same name.
    Opened { identity: u64 },
}

#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    seed: [u8; CHECK_BYTES],
}

impl Journal {
    /// Opens the journal of this transfer, feeding what it holds to `replay`, or begins one. One of a disk with another size
    /// or cut into other blocks is refused.
    pub fn open(
        path: &Path,
        geometry: Geometry,
        label: &str,
        mut replay: impl FnMut(Record),
    ) -> Result<Journal> {
        let key = Key {
            version: VERSION,
            size: geometry.size(),
            block_bytes: geometry.block_bytes(),
            label: label.to_owned(),
        };
        let (mut file, seed) = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(mut file) => {
                let seed = check_header(&mut file, path, &key)?;
                (file, seed)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => begin(path, &key)?,
            Err(error) => return Err(Error::io("open", path.display(), error)),
        };
        let start = file.stream_position().map_err(|error| Error::io("read", path.display(), error))?;
        let mut journal = Journal { path: path.to_owned(), file, seed };
        let whole = journal.replay(start, geometry, &mut replay)?;
        let cut = journal.file.set_len(whole).and_then(|()| journal.file.seek(SeekFrom::Start(whole)));
        cut.map_err(|error| Error::io("truncate", path.display(), error))?;
        Ok(journal)
    }

    /// Appends and makes durable.
    pub fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut bytes = Vec::with_capacity(records.len() * RECORD_BYTES);
        for record in records {
            bytes.extend_from_slice(&encode(record, &self.seed));
        }
        let written = self.file.write_all(&bytes).and_then(|()| self.file.sync_data());
        written.map_err(|error| Error::io("write", self.path.display(), error))
    }

    /// Reads records until the end or the first that is torn; returns where that is.
    fn replay(&mut self, start: u64, geometry: Geometry, replay: &mut impl FnMut(Record)) -> Result<u64> {
        let mut reader = BufReader::with_capacity(256 << 10, &self.file);
        let (mut bytes, mut whole) = ([0; RECORD_BYTES], start);
        loop {
            match reader.read_exact(&mut bytes) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(whole),
                Err(error) => return Err(Error::io("read", self.path.display(), error)),
            }
            match decode(&bytes, &self.seed, geometry.blocks()) {
                Some(record) => replay(record),
                None => return Ok(whole),
            }
            whole += RECORD_BYTES as u64;
        }
    }
}

/// The file appears under its name with its header whole, so that a header is never torn, only damaged.
fn begin(path: &Path, key: &Key) -> Result<(File, [u8; CHECK_BYTES])> {
    let json = serde_json::to_vec(key)
        .map_err(|error| Error::Journal { path: path.into(), why: error.to_string() })?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&json);
    let check = check_of(&[&bytes]);
    bytes.extend_from_slice(&check);
    let new = path.with_extension("new");
    let write = || {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&new)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        Ok(file)
    };
    let file = write().map_err(|error| Error::io("begin journal", path.display(), error))?;
    Ok((file, check))
}

fn check_header(file: &mut File, path: &Path, key: &Key) -> Result<[u8; CHECK_BYTES]> {
    let wrong = |why: &str| Error::Journal { path: path.into(), why: why.to_owned() };
    let damaged = |_| wrong("its header is damaged");
    let mut bytes = vec![0; MAGIC.len() + 4];
    file.read_exact(&mut bytes).map_err(damaged)?;
    let length = u32::from_le_bytes([bytes[16], bytes[17], bytes[18], bytes[19]]);
    if &bytes[..MAGIC.len()] != MAGIC || length > JOURNAL_HEADER_MAX {
        return Err(wrong("it is not a journal of the viaduct"));
    }
    let mut json = vec![0; length as usize];
    let mut check = [0; CHECK_BYTES];
    file.read_exact(&mut json).and_then(|()| file.read_exact(&mut check)).map_err(damaged)?;
    if check != check_of(&[&bytes, &json]) {
        return Err(wrong("its header is damaged"));
    }
    let found: Key = serde_json::from_slice(&json).map_err(|_| wrong("its header is not understood"))?;
    if (found.version, found.size, found.block_bytes) != (key.version, key.size, key.block_bytes) {
        return Err(Error::Journal {
            path: path.into(),
            why: format!(
                "it belongs to a transfer of {} ({} bytes in blocks of {}), not of {} ({} bytes in blocks of {})",
                found.label, found.size, found.block_bytes, key.label, key.size, key.block_bytes
            ),
        });
    }
    Ok(check)
}

fn encode(record: &Record, seed: &[u8]) -> [u8; RECORD_BYTES] {
    let none = Digest([0; 32]);
    let (kind, index, count, digest) = match record {
        Record::Data { index, digest } => (1, *index, 1, *digest),
        Record::Zeros { blocks } => (2, blocks.start, blocks.end - blocks.start, none),
        Record::Forgotten { blocks } => (3, blocks.start, blocks.end - blocks.start, none),
        Record::Finished { root, stamp } => (4, *stamp, 0, *root),
        Record::Opened { identity } => (5, *identity, 0, none),
    };
    let mut bytes = [0; RECORD_BYTES];
    bytes[0] = kind;
    bytes[1..9].copy_from_slice(&index.to_le_bytes());
    bytes[9..17].copy_from_slice(&u64::to_le_bytes(count));
    bytes[17..49].copy_from_slice(&digest.0);
    let check = check_of(&[seed, &bytes[..49]]);
    bytes[49..].copy_from_slice(&check);
    bytes
}

fn decode(bytes: &[u8; RECORD_BYTES], seed: &[u8], blocks: u64) -> Option<Record> {
    if bytes[49..] != check_of(&[seed, &bytes[..49]]) {
        return None;
    }
    let word = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let (index, count) = (word(1), word(9));
    let mut digest = Digest([0; 32]);
    digest.0.copy_from_slice(&bytes[17..49]);
    let run = index.checked_add(count).filter(|end| *end <= blocks).map(|end| index..end);
    match bytes[0] {
        1 => run.map(|_| Record::Data { index, digest }),
        2 => run.map(|blocks| Record::Zeros { blocks }),
        3 => run.map(|blocks| Record::Forgotten { blocks }),
        4 => Some(Record::Finished { root: digest, stamp: index }),
        5 => Some(Record::Opened { identity: index }),
        _ => None,
    }
}

fn check_of(parts: &[&[u8]]) -> [u8; CHECK_BYTES] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut check = [0; CHECK_BYTES];
    hasher.finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn geometry() -> Geometry {
        Geometry::new(1000 << 20, 1 << 20).unwrap()
    }

    fn records() -> impl Strategy<Value = Vec<Record>> {
        let run = || (0u64..900, 0u64..100).prop_map(|(start, count)| start..start + count);
        let record = prop_oneof![
            (0u64..1000, any::<[u8; 32]>())
                .prop_map(|(index, digest)| Record::Data { index, digest: Digest(digest) }),
            run().prop_map(|blocks| Record::Zeros { blocks }),
            run().prop_map(|blocks| Record::Forgotten { blocks }),
            (any::<[u8; 32]>(), any::<u64>())
                .prop_map(|(root, stamp)| Record::Finished { root: Digest(root), stamp }),
        ];
        proptest::collection::vec(record, 0..20)
    }

    fn read(path: &Path) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        Journal::open(path, geometry(), "disk", |record| found.push(record))?;
        Ok(found)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn a_journal_cut_anywhere_keeps_every_whole_record(records in records(), cut: u16) {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("journal");
            let mut journal = Journal::open(&path, geometry(), "disk", |_| ()).unwrap();
            let start = path.metadata().unwrap().len();
            journal.append(&records).unwrap();
            let length = path.metadata().unwrap().len();
            let keep = start + u64::from(cut) % (length - start + 1);
            File::options().write(true).open(&path).unwrap().set_len(keep).unwrap();
            let whole = ((keep - start) / RECORD_BYTES as u64) as usize;
            prop_assert_eq!(&read(&path).unwrap(), &records[..whole]);
            // The torn tail is gone, and what is appended now is found again.
            Journal::open(&path, geometry(), "disk", |_| ()).unwrap().append(&records).unwrap();
            let both = [&records[..whole], &records].concat();
            prop_assert_eq!(read(&path).unwrap(), both);
        }
    }

    #[test]
    fn a_damaged_header_is_an_error_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::open(&path, geometry(), "disk", |_| ()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, damaged).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.remedy().contains("viaduct forget"), "byte {at}");
        }
    }

    #[test]
    fn the_journal_of_another_disk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        Journal::open(&path, Geometry::new(5 << 20, 1 << 20).unwrap(), "other", |_| ()).unwrap();
        let error = read(&path).unwrap_err();
        assert!(error.to_string().contains("other (5242880 bytes"), "{error}");
    }
}
