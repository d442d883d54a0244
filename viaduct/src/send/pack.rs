//! Packing with zstd: as many blocks at a time as there are cores, within a bound, an early end where it is not worth it.

use crate::error::{Error, Result};
use crate::limits::PACKERS_MAX;
use zstd::zstd_safe::ResetDirective;

/// Bytes are packed only if that saves at least one part in this many.
const WORTH: usize = 16;
/// What is packed first to see whether the rest is worth it.
const SAMPLE_BYTES: usize = 16 << 10;
/// The probe is quick; what it finds is what any level would find.
const PROBE_LEVEL: i32 = 1;

/// Tools that are handed round: a worker waits until one is free.
#[derive(Debug)]
pub struct Packers {
    free: async_channel::Receiver<Packer>,
    back: async_channel::Sender<Packer>,
}

impl Packers {
    pub fn new() -> Result<Packers> {
        let count = std::thread::available_parallelism().map_or(2, usize::from).clamp(1, PACKERS_MAX);
        let (back, free) = async_channel::bounded(count);
        for _ in 0..count {
            let _ = back.try_send(Packer::new()?);
        }
        Ok(Packers { free, back })
    }

    /// Appends `bytes`, packed, to `into`, if they get smaller by enough; else leaves it as it is. Blocks.
    pub fn pack(&self, bytes: &[u8], level: i32, into: &mut Vec<u8>) -> bool {
        let Ok(mut packer) = self.free.recv_blocking() else { return false };
        let packed = packer.pack(bytes, level, into);
        let _ = self.back.try_send(packer);
        packed
    }
}

struct Packer {
    tool: zstd::bulk::Compressor<'static>,
    level: i32,
    scrap: Vec<u8>,
}

impl Packer {
    fn new() -> Result<Packer> {
        let tool = zstd::bulk::Compressor::new(PROBE_LEVEL);
        let tool = tool.map_err(|error| Error::io("prepare", "zstd", error))?;
        Ok(Packer { tool, level: PROBE_LEVEL, scrap: Vec::new() })
    }

    fn pack(&mut self, bytes: &[u8], level: i32, into: &mut Vec<u8>) -> bool {
        if bytes.len() >= 8 * SAMPLE_BYTES {
            let mut scrap = std::mem::take(&mut self.scrap);
            let quarter = bytes.len() / 4;
            let worth = (0..4).any(|at| {
                scrap.clear();
                let sample = &bytes[at * quarter..][..SAMPLE_BYTES];
                self.shrinks(sample, PROBE_LEVEL.min(level), &mut scrap)
            });
            self.scrap = scrap;
            if !worth {
                return false;
            }
        }
        self.shrinks(bytes, level, into)
    }

    /// Packs into room that is smaller than the input by what makes it worth it: running out of room is the answer no.
    fn shrinks(&mut self, bytes: &[u8], level: i32, into: &mut Vec<u8>) -> bool {
        if level != self.level {
            if self.tool.set_compression_level(level).is_err() {
                return false;
            }
            self.level = level;
        }
        let (before, room) = (into.len(), (bytes.len() - bytes.len() / WORTH).saturating_sub(1).max(1));
        into.resize(before + room, 0);
        match self.tool.compress_to_buffer(bytes, &mut into[before..]) {
            Ok(length) if length < bytes.len() => {
                into.truncate(before + length);
                true
            }
            _ => {
                // What ran out of room is half done, and until it is dropped no level can be set.
                let _ = self.tool.context_mut().reset(ResetDirective::SessionOnly);
                into.truncate(before);
                false
            }
        }
    }
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").field("level", &self.level).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_shrink_does_not_spoil_the_tool_for_what_does() {
        let mut noise = vec![0; 256 << 10];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        let text = b"the same again ".repeat(20_000);
        // A start that promises much, and a rest that does not keep it.
        let traitor = [&text[..SAMPLE_BYTES], &noise].concat();
        let mut packer = Packer::new().unwrap();
        for level in [1, 7, -4, 3, 9] {
            let mut into = b"kept".to_vec();
            assert!(!packer.pack(&noise, level, &mut into));
            assert!(!packer.shrinks(&traitor, level, &mut into), "level {level}");
            assert_eq!(into, b"kept");
            assert!(packer.pack(&text, level, &mut into), "level {level}");
            assert_eq!(&into[..4], b"kept");
            assert_eq!(zstd::bulk::decompress(&into[4..], text.len()).unwrap(), text);
        }
    }
}
