//! A disk on a host where nothing of ours runs: read and written with plain `dd` over ssh. All that host needs is a POSIX
//! shell, `dd`, `ls` and `wc`; what else it has (`sha256sum`, `fallocate`, `blkdiscard`, `stat`) makes it faster.

mod script;
mod source;
mod target;

pub use source::FarSource;
pub use target::FarTarget;

use super::Disk;
use crate::blocks::Geometry;
use crate::error::{Error, Result};
use crate::limits::FAR_SUMS;
use crate::transport::{Shell, SshDestination, SshLogin};
use script::Facts;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// Answers that are not the content of a disk.
const ANSWER_MAX: usize = 16 << 10;

/// How a far host is reached.
#[derive(Clone, Debug)]
pub struct FarLogin {
    pub login: SshLogin,
    /// How long to go on where the connection breaks.
    pub patience: Duration,
    /// Counts the bytes that cross.
    pub carried: Arc<AtomicU64>,
}

/// A disk over there.
#[derive(Debug)]
struct Far {
    shell: Shell,
    path: String,
    name: String,
}

impl Far {
    fn new(at: &SshDestination, login: &FarLogin) -> Result<Far> {
        let name = Disk::Far(at.clone()).to_string();
        if at.path.len() < 2 {
            return Err(Error::usage(name, "it names no path", "write dd+ssh://USER@HOST[:PORT]/PATH"));
        }
        let shell = Shell::new(at.clone(), login.login.clone(), login.patience, login.carried.clone());
        Ok(Far { shell, path: at.path.clone(), name })
    }

    fn facts(&self) -> Result<Facts> {
        let ran = self.shell.run(script::PROBE, &[&self.path], &[], ANSWER_MAX)?;
        let facts = Facts::parse(&String::from_utf8_lossy(&ran.output));
        facts.ok_or_else(|| self.odd(format!("its shell does not answer as one should: {}", ran.complaint)))
    }

    /// Runs a script that says `done` when it is.
    fn act(&self, verb: &'static str, script: &str, words: &[&str], input: &[u8]) -> Result<()> {
        let words: Vec<&str> = [self.path.as_str()].iter().chain(words).copied().collect();
        let ran = self.shell.run(script, &words, input, ANSWER_MAX)?;
        if ran.code == 0 && ran.output.ends_with(b"done\n") {
            return Ok(());
        }
        if ran.complaint.contains("o space left") {
            return Err(Error::TargetFull { what: self.name.clone() });
        }
        Err(self.failed(verb, ran.code, &ran.complaint))
    }

    /// Fills the buffer from `offset`; `end` is where the disk over there ends.
    fn read(&self, offset: u64, buffer: &mut [u8], end: u64) -> Result<()> {
        // dd counts in its own units: whole ones around what is wanted.
        let unit = if buffer.len() < 64 << 10 { 4096 } else { 64 << 10 };
        let (first, last) = (offset / unit, (offset + buffer.len() as u64).div_ceil(unit));
        let expected = ((last * unit).min(end) - first * unit) as usize;
        let [unit_text, skip, count] = [unit, first, last - first].map(|number| number.to_string());
        let ran = self.shell.run(script::READ, &[&self.path, &unit_text, &skip, &count], &[], expected)?;
        if ran.code != 0 {
            return Err(self.failed("read", ran.code, &ran.complaint));
        }
        if ran.output.len() != expected {
            return Err(Error::SourceChanged { what: self.name.clone(), why: "it became shorter".into() });
        }
        let skip = (offset - first * unit) as usize;
        buffer.copy_from_slice(&ran.output[skip..skip + buffer.len()]);
        Ok(())
    }

    /// SHA-256 of whole units, at most [`FAR_SUMS`] of them, computed over there. The last may be the disk's shorter last one.
    fn sums(&self, command: &str, unit: u64, units: Range<u64>) -> Result<Vec<[u8; 32]>> {
        debug_assert!(units.end - units.start <= FAR_SUMS);
        let [unit, first, end] = [unit, units.start, units.end].map(|number| number.to_string());
        let ran =
            self.shell.run(script::SUMS, &[&self.path, &unit, &first, &end, command], &[], ANSWER_MAX)?;
        let text = String::from_utf8_lossy(&ran.output).into_owned();
        let sums: Vec<_> = text.lines().map_while(script::sum_of).collect();
        match sums.len() as u64 == units.end - units.start {
            true => Ok(sums),
            false => Err(self.failed("digest", ran.code, &ran.complaint)),
        }
    }

    fn failed(&self, verb: &'static str, code: i32, complaint: &str) -> Error {
        let why = match complaint {
            "" => format!("the command over there ended with {code}"),
            complaint => complaint.to_owned(),
        };
        let kind = match () {
            () if complaint.contains("o such file") => std::io::ErrorKind::NotFound,
            () if complaint.contains("ermission denied") => std::io::ErrorKind::PermissionDenied,
            () => std::io::ErrorKind::Other,
        };
        Error::Io { verb, what: self.name.clone(), source: std::io::Error::new(kind, why) }
    }

    fn odd(&self, why: String) -> Error {
        Error::Remote { host: self.shell.host().to_owned(), why }
    }
}

/// SHA-256 of what is here.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut sum = [0; 32];
    sum.copy_from_slice(digest.as_ref());
    sum
}

/// SHA-256 of blocks of zeros: of a whole one, and of the last.
#[derive(Clone, Copy, Debug)]
pub struct ZeroSums {
    whole: [u8; 32],
    last: [u8; 32],
    geometry: Geometry,
}

impl ZeroSums {
    pub fn new(geometry: Geometry) -> ZeroSums {
        let of = |length: u64| sha256(&vec![0; length as usize]);
        let last = geometry.blocks().checked_sub(1).map_or(0, |index| geometry.len_of(index));
        ZeroSums { whole: of(geometry.block_bytes().into()), last: of(last), geometry }
    }

    pub fn of(&self, index: u64) -> [u8; 32] {
        if index + 1 == self.geometry.blocks() { self.last } else { self.whole }
    }
}
