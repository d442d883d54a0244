//! What a hostile sender says, made of arbitrary bytes: a right transfer first, which is then spoilt. Bytes that run out
//! are zeros, which spoil nothing.

use viaduct::blocks::Geometry;
use viaduct::{Digest, Header, Kind, Root};

pub const BLOCK: u64 = 64 << 10;
pub const BLOCKS: u64 = 8;
const STREAMS: usize = 3;
const SPOILT_MAX: usize = 12;

#[derive(Clone, Debug)]
pub enum Say {
    /// One more stream.
    Open,
    Bytes {
        stream: usize,
        bytes: Vec<u8>,
    },
    Close {
        stream: usize,
    },
    Wait,
}

#[derive(Debug)]
pub struct Script {
    pub says: Vec<Say>,
    /// What the hello announces.
    pub size: u64,
    pub block_bytes: u32,
    /// The blocks of the honest transfer that comes afterwards.
    pub honest: [u8; BLOCKS as usize],
    /// What another disk of the receiver holds.
    pub other: u8,
    pub verify: bool,
}

/// A frame before it is encoded, so that it can be changed and be right in form again.
#[derive(Clone, Debug)]
struct Frame {
    stream: usize,
    header: Header,
    payload: Vec<u8>,
    /// Flipped after the check was made.
    flip: Option<usize>,
}

impl Frame {
    fn new(stream: usize, kind: Kind, offset: u64, length: u64, digest: Digest, payload: Vec<u8>) -> Frame {
        let header =
            Header { wire_length: payload.len() as u32, ..Header::bare(kind, offset, length, digest) };
        Frame { stream, header, payload, flip: None }
    }

    fn message(stream: usize, kind: Kind, digest: Option<Digest>, text: String) -> Frame {
        let digest = digest.unwrap_or_else(|| Digest::of(text.as_bytes()));
        Frame::new(stream, kind, 0, 0, digest, text.into_bytes())
    }

    fn say(self) -> Say {
        let mut bytes = self.header.encode().to_vec();
        bytes.extend_from_slice(&self.payload);
        if let Some(bit) = self.flip {
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        Say::Bytes { stream: self.stream, bytes }
    }
}

/// The content that a number stands for: zeros, one byte over and over, noise, or noise with a hole.
pub fn block(number: u8) -> Vec<u8> {
    let mut bytes = vec![number; BLOCK as usize];
    if number % 4 >= 2 {
        // Without a library for it: a generator whose bytes do not get smaller.
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(number);
        for word in bytes.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *word = state.to_le_bytes();
        }
    }
    if number % 4 == 3 {
        bytes[8192..40_000].fill(0);
    }
    bytes
}

impl Script {
    pub fn new(input: &[u8]) -> Script {
        let mut dice = Dice(input);
        let honest = std::array::from_fn(|_| dice.byte());
        let other = dice.byte();
        let verify = dice.one_in(4);
        let (mut size, mut block_bytes) = (BLOCK * BLOCKS, BLOCK as u32);
        if dice.one_in(8) {
            size = dice.number();
        }
        if dice.one_in(16) {
            block_bytes = dice.number() as u32;
        }
        let streams = 1 + dice.below(STREAMS as u64) as usize;
        let mut frames = right(&mut dice, streams, size, block_bytes, other);
        for _ in 0..dice.below(SPOILT_MAX as u64) {
            spoil(&mut frames, &mut dice, streams);
        }
        let mut says: Vec<Say> = std::iter::repeat_n(Say::Open, streams).collect();
        // A hello opens each stream; that of the first must be there before the others come.
        for frame in frames {
            let first = matches!(frame.header.kind, Kind::Hello) && frame.stream == 0;
            says.push(frame.say());
            if first {
                says.push(Say::Wait);
            }
        }
        for _ in 0..dice.below(4) {
            let (at, stream) =
                (dice.below(says.len() as u64 + 1) as usize, dice.below(streams as u64) as usize);
            let say = match dice.below(4) {
                0 => Say::Close { stream },
                1 => Say::Wait,
                _ => Say::Bytes { stream, bytes: dice.some_bytes(100) },
            };
            says.insert(at, say);
        }
        Script { says, size, block_bytes, honest, other, verify }
    }
}

/// A transfer as it should be, of blocks in any order on any stream.
fn right(dice: &mut Dice<'_>, streams: usize, size: u64, block_bytes: u32, other: u8) -> Vec<Frame> {
    let mut frames = Vec::new();
    for stream in 0..streams {
        let hello = format!(
            r#"{{"session":"s{}","stream":{stream},"size":{size},"block_bytes":{block_bytes},"data_bytes":{},"label":"lies"}}"#,
            u8::from(dice.one_in(32)),
            if dice.one_in(8) { dice.number() } else { 0 },
        );
        frames.push(Frame::message(stream, Kind::Hello, None, hello));
    }
    let contents: Vec<u8> = (0..BLOCKS).map(|_| dice.byte()).collect();
    let mut order: Vec<usize> = (0..contents.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, dice.below(at as u64 + 1) as usize);
    }
    for index in order {
        let stream = dice.below(streams as u64) as usize;
        frames.extend(data(dice, stream, index as u64, contents[index], other));
    }
    let geometry = Geometry::new(BLOCK * BLOCKS, BLOCK as u32).expect("a geometry");
    let mut root = Root::new(geometry);
    for (index, content) in contents.iter().enumerate().filter(|(_, content)| **content != 0) {
        root.push(index as u64, Digest::of(&block(*content)));
    }
    for stream in (0..streams).rev() {
        let digest = if stream == 0 { root.finish() } else { Digest::of(b"") };
        let totals = format!(r#"{{"read":0,"zero":0,"reused":0,"on_wire":0,"streams":{streams}}}"#);
        let mut end = Frame::message(stream, Kind::End, Some(digest), totals);
        end.header.length = u64::from_le_bytes(std::array::from_fn(|at| Digest::of(&end.payload).0[at]));
        frames.push(end);
    }
    frames
}

/// A block in one of the forms it can come in.
fn data(dice: &mut Dice<'_>, stream: usize, index: u64, content: u8, other: u8) -> Vec<Frame> {
    let (offset, bytes) = (index * BLOCK, block(content));
    if content == 0 {
        return vec![Frame::new(stream, Kind::Zero, offset, BLOCK, Digest::of(b""), Vec::new())];
    }
    let digest = Digest::of(&bytes);
    let frame = |kind, payload| Frame::new(stream, kind, offset, BLOCK, digest, payload);
    let plain = frame(Kind::Raw, bytes.clone());
    match dice.below(5) {
        0 => vec![plain],
        1 => match zstd::bulk::compress(&bytes, 1) {
            Ok(packed) if packed.len() < bytes.len() => vec![frame(Kind::Zstd, packed)],
            _ => vec![plain],
        },
        // The same block on the other disk, if that holds it; else the receiver wants it plain.
        2 => vec![frame(Kind::Mixed, recipe(&[(2, BLOCK as u32, 1 << 48)], &[])), plain]
            .into_iter()
            .take(if content == other { 1 } else { 2 })
            .collect(),
        3 => {
            let zeros = [(0, 8192, 0), (1, 31_808, 0), (0, BLOCK as u32 - 40_000, 0)];
            if content % 4 != 3 {
                return vec![plain];
            }
            let literals = [&bytes[..8192], &bytes[40_000..]].concat();
            vec![frame(Kind::Mixed, recipe(&zeros, &literals))]
        }
        // It asks what is there, and claims that it is the block.
        _ => vec![
            Frame::new(stream, Kind::Ask, offset, BLOCK, Digest::of(b""), Vec::new()),
            if dice.one_in(4) { frame(Kind::Same, Vec::new()) } else { plain },
        ],
    }
}

/// A mixed block whose parts are as they are written on the wire: fill, length, place.
pub fn recipe(parts: &[(u8, u32, u64)], literals: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 0];
    payload.extend_from_slice(&(parts.len() as u16).to_le_bytes());
    for (fill, length, from) in parts {
        payload.extend_from_slice(&[*fill, 0, 0, 0]);
        payload.extend_from_slice(&length.to_le_bytes());
        payload.extend_from_slice(&from.to_le_bytes());
    }
    payload.extend_from_slice(literals);
    payload
}

fn spoil(frames: &mut Vec<Frame>, dice: &mut Dice<'_>, streams: usize) {
    if frames.is_empty() {
        return;
    }
    let (at, to) = (dice.below(frames.len() as u64) as usize, dice.below(frames.len() as u64) as usize);
    match dice.below(14) {
        0 => frames[at].header.kind = Kind::ALL[dice.below(Kind::ALL.len() as u64) as usize],
        1 => frames[at].header.offset = dice.place(),
        2 => frames[at].header.length = dice.number(),
        3 => frames[at].header.wire_length = dice.number() as u32,
        4 => frames[at].header.digest = frames[to].header.digest,
        5 => frames[at].flip = Some(dice.number() as usize),
        6 => {
            // A payload that is another one, and a digest that says so.
            frames[at].payload = dice.some_bytes(200);
            frames[at].header.wire_length = frames[at].payload.len() as u32;
            frames[at].header.digest = Digest::of(&frames[at].payload);
        }
        7 if !frames[at].payload.is_empty() => {
            let place = dice.below(frames[at].payload.len() as u64) as usize;
            frames[at].payload[place] = dice.byte();
            if dice.one_in(2) {
                frames[at].header.digest = Digest::of(&frames[at].payload);
            }
        }
        8 => frames.insert(to, frames[at].clone()),
        9 => drop(frames.remove(at)),
        10 => frames.swap(at, to),
        11 => frames[at].stream = dice.below(streams as u64) as usize,
        12 => frames.insert(at, mad(dice, streams)),
        _ => {
            let parts: Vec<_> = (0..dice.below(6))
                .map(|_| (dice.byte() % 4, dice.number() as u32 % 80_000, dice.place()))
                .collect();
            let literals = dice.some_bytes(300);
            frames[at].payload = recipe(&parts, &literals);
            frames[at].header.wire_length = frames[at].payload.len() as u32;
            frames[at].header.kind = Kind::Mixed;
        }
    }
}

/// A frame that nobody would send.
fn mad(dice: &mut Dice<'_>, streams: usize) -> Frame {
    let stream = dice.below(streams as u64) as usize;
    match dice.below(5) {
        0 => Frame::new(stream, Kind::Zero, dice.place(), dice.number(), Digest::of(b""), Vec::new()),
        1 => Frame::new(
            stream,
            Kind::Ask,
            dice.place(),
            1 + dice.number() % (8 << 20),
            Digest::of(b""),
            Vec::new(),
        ),
        2 => Frame::new(stream, Kind::Same, dice.place(), BLOCK, Digest::of(&block(dice.byte())), Vec::new()),
        3 => {
            let text = r#"{"code":"x","message":"y","remedy":"z","retryable":true}"#;
            Frame::message(stream, Kind::Failed, None, text.to_owned())
        }
        _ => {
            // Much that takes little room.
            let bomb = zstd::bulk::compress(&vec![dice.byte(); 9 << 20], 1).unwrap_or_default();
            Frame::new(stream, Kind::Zstd, dice.place(), BLOCK, Digest::of(b""), bomb)
        }
    }
}

/// Takes choices off the input.
struct Dice<'a>(&'a [u8]);

impl Dice<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        if end <= 256 { u64::from(self.byte()) % end.max(1) } else { self.word() % end }
    }

    /// Never where the input has run out.
    fn one_in(&mut self, count: u8) -> bool {
        self.byte() % count == count - 1
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Numbers at which something might go wrong.
    fn number(&mut self) -> u64 {
        let near =
            [0, 1, 512, 4096, BLOCK, BLOCK * BLOCKS, 1 << 20, 8 << 20, 1 << 32, 1 << 48, 16 << 40, u64::MAX];
        let base = near[self.below(near.len() as u64) as usize];
        match self.below(4) {
            0 => base,
            1 => base.wrapping_add(u64::from(self.byte())),
            2 => base.wrapping_sub(u64::from(self.byte())),
            _ => self.word(),
        }
    }

    fn place(&mut self) -> u64 {
        match self.below(4) {
            0 => self.below(BLOCKS + 1) * BLOCK,
            1 => (self.below(3) << 48).wrapping_add(self.below(BLOCK)),
            2 => self.number(),
            _ => self.word(),
        }
    }

    fn some_bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.below(most) as usize;
        (0..length).map(|_| self.byte()).collect()
    }
}
