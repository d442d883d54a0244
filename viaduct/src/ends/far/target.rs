//! A far disk that is written.

use super::script::{self, Facts, Kind};
use super::source::{FarSource, stamp};
use super::{Far, FarLogin, sha256};
use crate::apart::apart;
use crate::blocks::Geometry;
use crate::ends::{Announced, Source, Target};
use crate::error::{Error, Result};
use crate::limits::ZERO_STEP;
use crate::transport::SshDestination;
use async_trait::async_trait;
use std::ops::Range;
use std::sync::Arc;

/// Clones are the same disk.
#[derive(Clone, Debug)]
pub struct FarTarget {
    far: Arc<Far>,
    size: u64,
    end: u64,
    began_as_zeros: bool,
    kind: Kind,
    id: Option<u64>,
    sum: Option<String>,
    /// Otherwise all of the host's disks are flushed.
    can_fsync: bool,
}

impl FarTarget {
    /// Logs in, judges what is there, and creates what is not. Blocks.
    pub fn open(at: &SshDestination, login: &FarLogin, announced: Announced) -> Result<FarTarget> {
        let far = Far::new(at, login)?;
        let mut facts = far.facts()?;
        judge(&far, &facts, announced)?;
        let mut began_as_zeros = facts.kind == Kind::File && facts.used == Some(0);
        let empty = facts.kind == Kind::File && facts.size == Some(0);
        if facts.kind == Kind::Missing || empty && announced.size > 0 {
            let size = announced.size.to_string();
            far.act("create", script::CREATE, &[&size], &[])?;
            began_as_zeros = true;
            facts = far.facts()?;
            if facts.size != Some(announced.size) {
                return Err(far.odd(format!("dd there does not make {} as large as it should", far.path)));
            }
        }
        let can_fsync = far.act("open", script::CAN_FSYNC, &[], &[]).is_ok();
        if !can_fsync {
            far.act("open", script::CAN_WRITE, &[], &[])?;
        }
        Ok(FarTarget {
            size: announced.size,
            end: facts.size.unwrap_or(announced.size),
            began_as_zeros,
            kind: facts.kind,
            id: facts.id,
            sum: facts.sum,
            can_fsync,
            far: Arc::new(far),
        })
    }

    /// SHA-256 of blocks, where the far host can tell. Blocks.
    pub fn sums(&self, geometry: Geometry, blocks: Range<u64>) -> Option<Result<Vec<[u8; 32]>>> {
        let command = self.sum.as_ref()?;
        let unit = geometry.block_bytes().into();
        // Where the target goes on behind the disk's end, dd would too.
        let cut = blocks.end == geometry.blocks()
            && self.end > geometry.size()
            && !geometry.size().is_multiple_of(unit);
        let whole = blocks.start..if cut { blocks.end - 1 } else { blocks.end };
        Some(self.far.sums(command, unit, whole.clone()).and_then(|mut sums| {
            if cut {
                let mut last = vec![0; geometry.len_of(whole.end) as usize];
                self.far.read(geometry.offset(whole.end), &mut last, self.end)?;
                sums.push(sha256(&last));
            }
            Ok(sums)
        }))
    }

    /// What tells SHA-256 there, if anything does.
    pub fn sum_command(&self) -> Option<&str> {
        self.sum.as_deref()
    }
}

/// Refuses what cannot become the disk, before anything is written.
fn judge(far: &Far, facts: &Facts, announced: Announced) -> Result<()> {
    let what = || far.name.clone();
    match (facts.kind, facts.size) {
        (Kind::Other, _) => {
            return Err(Error::usage(
                what(),
                "it is neither a file nor a device",
                "name the disk itself, and a user who may write it",
            ));
        }
        // A name that does not exist in /dev is a mistake: a file there would fill memory.
        (Kind::Missing, _) if far.path.starts_with("/dev/") && !far.path.starts_with("/dev/shm/") => {
            return Err(far.failed("open", 1, "No such file or directory"));
        }
        (Kind::File, Some(0)) | (Kind::Missing, _) => {}
        (_, None) => return Err(far.odd(format!("it does not tell the size of {}", far.path))),
        (_, Some(have)) if have < announced.size => {
            return Err(Error::TargetTooSmall { what: what(), have, need: announced.size });
        }
        _ => {}
    }
    let need = announced.data_bytes.saturating_sub(facts.used.unwrap_or(0));
    match facts.free {
        Some(free) if facts.kind != Kind::Device && need > free && !announced.overcommit => {
            Err(Error::NoRoom { what: what(), need, free })
        }
        _ => Ok(()),
    }
}

#[async_trait]
impl Target for FarTarget {
    fn name(&self) -> String {
        self.far.name.clone()
    }

    fn began_as_zeros(&self) -> bool {
        self.began_as_zeros
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.far.read(offset, buffer, self.end)
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        // Any unit would do that divides the offset; dd puts what comes together before it writes.
        let unit = 1 << (offset | 1 << 20).trailing_zeros();
        let [unit, seek] = [unit, offset / unit].map(|number: u64| number.to_string());
        self.far.act("write", script::WRITE, &[&unit, &seek], bytes)
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        // In steps, so that the host still answers in between.
        let steps = (range.start..range.end).step_by(ZERO_STEP as usize);
        let steps = steps.map(|start| start..range.end.min(start + ZERO_STEP));
        for (piece, unit) in steps.flat_map(script::pieces) {
            let length = piece.end - piece.start;
            let words = [unit, piece.start / unit, length / unit, piece.start, length];
            let words = words.map(|number| number.to_string());
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.far.act("zero", script::ZERO, &words, &[])?;
        }
        Ok(())
    }

    async fn flush(&self) -> Result<()> {
        let script = if self.can_fsync { script::CAN_FSYNC } else { script::SYNC_ALL };
        let far = self.far.clone();
        apart(async move { far.act("flush", script, &[], &[]) }).await
    }

    fn identity(&self) -> Option<u64> {
        self.id
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        if self.kind != Kind::File {
            return Ok(None);
        }
        let mut number = [0; 8];
        blake3::Hasher::new().update(stamp(&self.far)?.as_bytes()).finalize_xof().fill(&mut number);
        Ok(Some(u64::from_le_bytes(number)))
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(FarSource::of_target(self.far.clone(), self.size, self.end)))
    }

    async fn close(&self) -> Result<()> {
        self.flush().await
    }
}
