//! Entries of a tar stream, with everything that extended headers say about them folded in.

use super::header::{BLOCK, Header};
use super::pax::{decimal, records, seconds};
use super::sparse::{self, Map};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};

/// An extended header may hold large attributes, but not memory without end.
const EXTENDED_MAX: u64 = 16 << 20;

/// Why a stream cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(pub String);

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Broken {
        Broken(match error.kind() {
            ErrorKind::UnexpectedEof => "it ends in the middle".into(),
            _ => error.to_string(),
        })
    }
}

/// One file, directory, link or device.
#[derive(Clone, Debug)]
pub struct Entry {
    pub header: Header,
    /// Extended attributes and ACLs by their PAX key.
    pub attributes: BTreeMap<String, Vec<u8>>,
    /// For a sparse file: where its stored bytes belong, and its real size.
    pub sparse: Option<Map>,
    /// How many bytes are stored in the stream.
    pub stored: u64,
}

#[derive(Debug)]
pub struct Entries<R> {
    stream: R,
    global: Vec<(String, Vec<u8>)>,
}

impl<R: Read> Entries<R> {
    pub fn new(stream: R) -> Entries<R> {
        Entries { stream, global: Vec::new() }
    }

    /// The next entry; its content must be read or skipped before the one after.
    pub fn next(&mut self) -> Result<Option<Entry>, Broken> {
        let (mut long_path, mut long_link, mut extended) = (None, None, Vec::new());
        loop {
            let mut raw = [0; BLOCK];
            self.stream.read_exact(&mut raw)?;
            let Some(header) = Header::parse(&raw)? else {
                // The rest is padding, which whoever writes to us wants to get rid of.
                std::io::copy(&mut self.stream, &mut std::io::sink())?;
                return Ok(None);
            };
            match header.kind {
                b'x' => extended.extend(records(&self.small(header.size)?)?),
                b'g' => self.global = records(&self.small(header.size)?)?,
                b'L' => long_path = Some(without_nul(self.small(header.size)?)),
                b'K' => long_link = Some(without_nul(self.small(header.size)?)),
                _ => {
                    let mut header = header;
                    header.path = long_path.unwrap_or(header.path);
                    header.link = long_link.unwrap_or(header.link);
                    let all: Vec<_> = self.global.iter().cloned().chain(extended).collect();
                    return self.finish(header, all).map(Some);
                }
            }
        }
    }

    fn finish(&mut self, mut header: Header, extended: Vec<(String, Vec<u8>)>) -> Result<Entry, Broken> {
        let mut attributes = BTreeMap::new();
        let mut pieces = sparse::Pieces::default();
        let wrong = |key: &str| Broken(format!("the extended header `{key}` is not understood"));
        for (key, value) in extended {
            let number = || decimal(&value).ok_or_else(|| wrong(&key));
            match key.as_str() {
                "path" => header.path = value,
                "linkpath" => header.link = value,
                "size" => header.size = number()?,
                "uid" => header.uid = number()?,
                "gid" => header.gid = number()?,
                "mtime" => header.mtime = seconds(&value).ok_or_else(|| wrong(&key))?,
                key if key.starts_with("GNU.sparse.") => pieces.add(key, &value)?,
                key if key.starts_with("SCHILY.xattr.")
                    || key.starts_with("SCHILY.acl.")
                    || key.starts_with("LIBARCHIVE.xattr.")
                    || key.starts_with("RHT.security.") =>
                {
                    attributes.insert(key.to_owned(), value);
                }
                _ => {}
            }
        }
        // Only files have content; what other kinds carry in the size field is not there.
        let mut stored = if matches!(header.kind, b'0' | 0 | b'7' | b'S') { header.size } else { 0 };
        let mut map = None;
        if header.kind == b'S' {
            map = Some(sparse::old_gnu(&header, &mut self.stream)?);
        } else if let Some(found) = pieces.finish(&mut header, &mut self.stream, &mut stored)? {
            map = Some(found);
        }
        Ok(Entry { header, attributes, sparse: map, stored })
    }

    /// Feeds the stored content to `sink`, then skips the padding.
    pub fn content(&mut self, entry: &Entry, mut sink: impl FnMut(&[u8])) -> Result<(), Broken> {
        let mut buffer = vec![0; 256 << 10];
        let mut left = entry.stored;
        while left > 0 {
            let step = left.min(buffer.len() as u64) as usize;
            self.stream.read_exact(&mut buffer[..step])?;
            sink(&buffer[..step]);
            left -= step as u64;
        }
        self.skip_padding(entry.stored)
    }

    fn small(&mut self, size: u64) -> Result<Vec<u8>, Broken> {
        if size > EXTENDED_MAX {
            return Err(Broken(format!("an extended header of {size} bytes is beyond the bound")));
        }
        let mut data = vec![0; size as usize];
        self.stream.read_exact(&mut data)?;
        self.skip_padding(size)?;
        Ok(data)
    }

    fn skip_padding(&mut self, size: u64) -> Result<(), Broken> {
        let mut padding = [0; BLOCK];
        let length = (size.next_multiple_of(BLOCK as u64) - size) as usize;
        self.stream.read_exact(&mut padding[..length])?;
        Ok(())
    }
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    while name.last() == Some(&0) {
        name.pop();
    }
    name
}
