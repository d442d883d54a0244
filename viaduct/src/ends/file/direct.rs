//! Reads and writes past the page cache. What crosses is read once and written once: caching it costs the host more CPU than
//! all else that is done with the bytes, and drives out what its guests have there. Where the file system or the place
//! does not allow it, the caller goes through the cache; the kernel keeps the two ways coherent.

use crate::limits::{DIRECT_ALIGN, DIRECT_BOUNCE_BYTES, DIRECT_BOUNCES, DIRECT_MIN_BYTES};
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

#[derive(Debug)]
pub struct Direct {
    file: File,
    /// The file system takes the flag but not the places or memory that we have.
    refused: AtomicBool,
    /// For callers whose memory does not begin where a device can write to.
    bounces: Mutex<Vec<Aligned>>,
}

impl Direct {
    /// `None` where the file system has no such way.
    pub fn open(path: &Path, write: bool) -> Option<Direct> {
        let flags = OFlags::DIRECT.bits() as i32;
        let file = OpenOptions::new().read(true).write(write).custom_flags(flags).open(path).ok()?;
        Some(Direct { file, refused: AtomicBool::new(false), bounces: Mutex::default() })
    }

    /// Fills as much of the start of `buffer` as can be read this way; how much that is.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        let whole = self.whole(offset, buffer.len());
        self.in_pieces(whole, buffer.as_ptr(), |piece, bounce| {
            let (at, into) = (offset + piece.start as u64, &mut buffer[piece]);
            match bounce {
                None => self.file.read_exact_at(into, at),
                Some(bounce) => {
                    self.file.read_exact_at(&mut bounce[..into.len()], at)?;
                    into.copy_from_slice(&bounce[..into.len()]);
                    Ok(())
                }
            }
        })
    }

    /// Writes as much of the start of `bytes` as can be written this way; how much that is.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> std::io::Result<usize> {
        let whole = self.whole(offset, bytes.len());
        self.in_pieces(whole, bytes.as_ptr(), |piece, bounce| {
            let (at, from) = (offset + piece.start as u64, &bytes[piece]);
            match bounce {
                None => self.file.write_all_at(from, at),
                Some(bounce) => {
                    bounce[..from.len()].copy_from_slice(from);
                    self.file.write_all_at(&bounce[..from.len()], at)
                }
            }
        })
    }

    fn whole(&self, offset: u64, length: usize) -> usize {
        let whole = length - length % DIRECT_ALIGN;
        let fits = offset.is_multiple_of(DIRECT_ALIGN as u64) && whole >= DIRECT_MIN_BYTES;
        if fits && !self.refused.load(Ordering::Relaxed) { whole } else { 0 }
    }

    /// Does `step` for pieces of `whole`, through memory of ours unless the caller's is `aligned`.
    fn in_pieces(
        &self,
        whole: usize,
        memory: *const u8,
        mut step: impl FnMut(std::ops::Range<usize>, Option<&mut [u8]>) -> std::io::Result<()>,
    ) -> std::io::Result<usize> {
        if whole == 0 {
            return Ok(0);
        }
        let aligned = memory.align_offset(DIRECT_ALIGN) == 0;
        let done = if aligned {
            step(0..whole, None)
        } else {
            let mut bounce = self.take();
            let mut starts = (0..whole).step_by(DIRECT_BOUNCE_BYTES);
            let done = starts.try_for_each(|start| {
                step(start..(start + DIRECT_BOUNCE_BYTES).min(whole), Some(bounce.bytes_mut()))
            });
            self.give(bounce);
            done
        };
        match done {
            Ok(()) => Ok(whole),
            // Not for this file after all. Whatever was done is done again the other way.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    fn take(&self) -> Aligned {
        let spare = self.bounces.lock().unwrap_or_else(PoisonError::into_inner).pop();
        spare.unwrap_or_else(|| Aligned::new(DIRECT_BOUNCE_BYTES))
    }

    fn give(&self, bounce: Aligned) {
        let mut bounces = self.bounces.lock().unwrap_or_else(PoisonError::into_inner);
        if bounces.len() < DIRECT_BOUNCES {
            bounces.push(bounce);
        }
    }
}

/// Memory that begins where a device can read and write.
#[derive(Debug)]
struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    fn new(length: usize) -> Aligned {
        let bytes = vec![0; length + DIRECT_ALIGN];
        let start = bytes.as_ptr().align_offset(DIRECT_ALIGN);
        Aligned { bytes, start }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let end = self.start + self.bytes.len() - DIRECT_ALIGN;
        &mut self.bytes[self.start..end]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn both_ways_see_the_same_bytes(
            offset in 0u64..3, odd in 0u64..2, length in 0usize..(400 << 10), shift in 0usize..5000,
        ) {
            let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
            let path = dir.path().join("disk");
            let mut expected = vec![7; 1 << 20];
            std::fs::write(&path, &expected).unwrap();
            let Some(direct) = Direct::open(&path, true) else { return Ok(()) };
            let offset = offset * DIRECT_ALIGN as u64 + odd;
            let mut memory = vec![0; shift + length];
            blake3::Hasher::new().finalize_xof().fill(&mut memory);
            let bytes = &memory[shift..];
            let written = direct.write(offset, bytes).unwrap();
            prop_assert!(written <= length && (odd == 0 || written == 0));
            expected[offset as usize..][..written].copy_from_slice(&bytes[..written]);
            prop_assert!(std::fs::read(&path).unwrap() == expected);
            let mut seen = vec![0; shift + length];
            let read = direct.read(offset, &mut seen[shift..]).unwrap();
            prop_assert_eq!(read, written);
            prop_assert!(seen[shift..][..read] == expected[offset as usize..][..read]);
        }
    }
}
