//! The ways in which tar writes a sparse file, all turned into one map: GNU's old format and the PAX formats 0.0, 0.1, 1.0.
//! A sparse file has the same content as its expanded form.

use super::header::{BLOCK, Header, number};
use super::pax::decimal;
use super::reader::Broken;
use std::io::Read;

/// Pieces of one file. Fragmented files have many, hostile streams no more than these.
const PIECES_MAX: usize = 1 << 20;

/// Where stored bytes belong: offset and length, in order; and the size of the whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    pub pieces: Vec<(u64, u64)>,
    pub size: u64,
}

impl Map {
    fn push(&mut self, offset: u64, length: u64) -> Result<(), Broken> {
        if self.pieces.len() >= PIECES_MAX {
            return Err(Broken("a sparse file with too many pieces".into()));
        }
        self.pieces.push((offset, length));
        Ok(())
    }

    /// Refuses a map whose pieces overlap, exceed the file, or are not what is stored.
    fn check(self, stored: u64) -> Result<Map, Broken> {
        let (mut at, mut total) = (0, 0u64);
        for (offset, length) in &self.pieces {
            let end = offset.checked_add(*length).filter(|end| *offset >= at && *end <= self.size);
            at = end.ok_or_else(|| Broken("a sparse file's pieces do not fit".into()))?;
            total += length;
        }
        // Old tar pads what is stored to whole blocks.
        if total > stored || stored - total >= BLOCK as u64 {
            return Err(Broken("a sparse file's map does not fit its content".into()));
        }
        Ok(self)
    }
}

/// GNU's old format: four pieces in the header, more in blocks behind it.
pub fn old_gnu(header: &Header, stream: &mut impl Read) -> Result<Map, Broken> {
    let mut map = Map { pieces: Vec::new(), size: number(&header.raw[483..495])? as u64 };
    let mut more = header.raw[482] != 0;
    read_pieces(&header.raw[386..482], &mut map)?;
    while more {
        let mut block = [0; BLOCK];
        stream.read_exact(&mut block)?;
        read_pieces(&block[..504], &mut map)?;
        more = block[504] != 0;
    }
    map.check(header.size)
}

fn read_pieces(fields: &[u8], map: &mut Map) -> Result<(), Broken> {
    for piece in fields.chunks_exact(24) {
        if piece[0] == 0 {
            break;
        }
        map.push(number(&piece[..12])? as u64, number(&piece[12..])? as u64)?;
    }
    Ok(())
}

/// What extended headers say about sparseness.
#[derive(Debug, Default)]
pub struct Pieces {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    major: Option<u64>,
    offset: Option<u64>,
    map: Map,
}

impl Pieces {
    pub fn add(&mut self, key: &str, value: &[u8]) -> Result<(), Broken> {
        let wrong = || Broken(format!("the extended header `{key}` is not understood"));
        let number = || decimal(value).ok_or_else(wrong);
        match key {
            "GNU.sparse.name" => self.name = Some(value.to_vec()),
            "GNU.sparse.realsize" | "GNU.sparse.size" => self.size = Some(number()?),
            "GNU.sparse.major" => self.major = Some(number()?),
            "GNU.sparse.offset" => self.offset = Some(number()?),
            "GNU.sparse.numbytes" => {
                let offset = self.offset.take().ok_or_else(wrong)?;
                self.map.push(offset, number()?)?;
            }
            "GNU.sparse.map" => {
                let numbers: Option<Vec<u64>> = value.split(|byte| *byte == b',').map(decimal).collect();
                for pair in numbers.ok_or_else(wrong)?.chunks_exact(2) {
                    self.map.push(pair[0], pair[1])?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The map, if the entry is sparse. In format 1.0 it stands before the content, of which `stored` then counts less.
    pub fn finish(
        self,
        header: &mut Header,
        stream: &mut impl Read,
        stored: &mut u64,
    ) -> Result<Option<Map>, Broken> {
        let Some(size) = self.size else { return Ok(None) };
        header.path = self.name.unwrap_or(std::mem::take(&mut header.path));
        let mut map = Map { size, ..self.map };
        if self.major == Some(1) {
            let used = read_map(stream, &mut map)?;
            *stored =
                stored.checked_sub(used).ok_or_else(|| Broken("a sparse file's map is too long".into()))?;
        }
        map.check(*stored).map(Some)
    }
}

/// Decimal numbers on lines of their own: how many pieces, then offset and length of each; padded to whole blocks.
fn read_map(stream: &mut impl Read, map: &mut Map) -> Result<u64, Broken> {
    let mut lines = Lines { stream, block: [0; BLOCK], at: BLOCK, used: 0 };
    let count = lines.number()?;
    for _ in 0..count {
        let (offset, length) = (lines.number()?, lines.number()?);
        map.push(offset, length)?;
    }
    Ok(lines.used)
}

struct Lines<'a, R> {
    stream: &'a mut R,
    block: [u8; BLOCK],
    at: usize,
    used: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Broken> {
        let mut number = 0u64;
        loop {
            if self.at == BLOCK {
                self.stream.read_exact(&mut self.block)?;
                (self.at, self.used) = (0, self.used + BLOCK as u64);
            }
            let byte = self.block[self.at];
            self.at += 1;
            match byte {
                b'\n' => return Ok(number),
                b'0'..=b'9' => {
                    number = number
                        .checked_mul(10)
                        .and_then(|number| number.checked_add(u64::from(byte - b'0')))
                        .ok_or_else(|| Broken("a number beyond 64 bits in a sparse map".into()))?;
                }
                _ => return Err(Broken("a sparse map is not understood".into())),
            }
        }
    }
}
