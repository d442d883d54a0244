//! One 512-byte header of a tar stream: ustar and GNU. Pure parsing.

use super::reader::Broken;

pub const BLOCK: usize = 512;

/// The fields that matter. Names are as they stand in the header, without what extensions say.
#[derive(Clone, Debug)]
pub struct Header {
    pub path: Vec<u8>,
    pub link: Vec<u8>,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub size: u64,
    pub mtime: i64,
    pub kind: u8,
    pub device: (u64, u64),
    pub raw: [u8; BLOCK],
}

impl Header {
    /// `None` for a block of zeros, which ends a stream.
    pub fn parse(raw: &[u8; BLOCK]) -> Result<Option<Header>, Broken> {
        if raw.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u64 = raw
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) })
            .sum();
        if number(&raw[148..156])? != sum as i64 {
            return Err(Broken("a header's checksum is wrong".into()));
        }
        let ustar = &raw[257..263] == b"ustar\0";
        let mut path = text(&raw[..100]).to_vec();
        let prefix = text(&raw[345..500]);
        if ustar && !prefix.is_empty() {
            path = [prefix, b"/", &path].concat();
        }
        let unsigned = |field: &[u8]| {
            number(field).and_then(|number| {
                u64::try_from(number).map_err(|_| Broken("a negative number in a header".into()))
            })
        };
        Ok(Some(Header {
            path,
            link: text(&raw[157..257]).to_vec(),
            mode: unsigned(&raw[100..108])? as u32 & 0o7777,
            uid: unsigned(&raw[108..116])?,
            gid: unsigned(&raw[116..124])?,
            size: unsigned(&raw[124..136])?,
            mtime: number(&raw[136..148])?,
            kind: raw[156],
            device: (unsigned(&raw[329..337]).unwrap_or(0), unsigned(&raw[337..345]).unwrap_or(0)),
            raw: *raw,
        }))
    }
}

/// A field up to its first NUL.
pub fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// Octal digits, or (where the first bit is set) a big-endian number.
pub fn number(field: &[u8]) -> Result<i64, Broken> {
    if field[0] & 0x80 != 0 {
        let start = if field[0] & 0x40 != 0 { -1 } else { i64::from(field[0] & 0x3f) };
        return field[1..]
            .iter()
            .try_fold(start, |number: i64, byte| number.checked_mul(256)?.checked_add(i64::from(*byte)))
            .ok_or_else(|| Broken("a number beyond 64 bits in a header".into()));
    }
    let digits = field.iter().filter(|byte| !matches!(byte, b' ' | 0));
    digits
        .copied()
        .try_fold(0i64, |number, digit| {
            matches!(digit, b'0'..=b'7')
                .then(|| number.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
                .flatten()
        })
        .ok_or_else(|| Broken("a number in a header is not octal".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b"     17 ").unwrap(), 15);
        assert_eq!(number(b"\x80\0\0\0\0\0\0\x02\0\0\0\0").unwrap(), 2 << 32);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        assert!(number(b"12x45678").is_err());
    }
}
