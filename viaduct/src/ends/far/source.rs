//! A far disk that is read.

use super::script::{self, Kind};
use super::{ANSWER_MAX, Far, FarLogin, ZeroSums};
use crate::blocks::Geometry;
use crate::ends::Source;
use crate::error::{Error, Result};
use crate::limits::{FAR_SUMS, FAR_WINDOW_BYTES, FAR_WINDOWS};
use crate::transport::SshDestination;
use async_trait::async_trait;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// What is asked about holes at a time.
const UNIT: u32 = 1 << 20;

#[derive(Debug)]
pub struct FarSource {
    far: Arc<Far>,
    /// What is looked at, and what there is.
    size: u64,
    end: u64,
    allocated: u64,
    stamp: Option<String>,
    map: Option<Map>,
    windows: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
}

/// Where zeros are, as the far host finds out by reading: that costs it less than the line costs us.
#[derive(Debug)]
struct Map {
    command: String,
    geometry: Geometry,
    zeros: ZeroSums,
    /// Of the units from this one on: whether they hold anything.
    last: Mutex<(u64, Vec<bool>)>,
}

impl FarSource {
    /// Logs in and looks. Blocks.
    pub fn open(at: &SshDestination, login: &FarLogin) -> Result<FarSource> {
        let far = Far::new(at, login)?;
        let facts = far.facts()?;
        let (Kind::File | Kind::Device, Some(size)) = (facts.kind, facts.size) else {
            return Err(match facts.kind {
                Kind::Missing => far.failed("open", 1, "No such file or directory"),
                Kind::Other => Error::usage(
                    far.name,
                    "it is neither a file nor a device",
                    "name the disk itself, and a user who may read it",
                ),
                _ => far.odd(format!("it does not tell the size of {}", far.path)),
            });
        };
        let map = match facts.sum {
            Some(command) => {
                let geometry = Geometry::new(size, UNIT).or_else(|_| Geometry::for_size(size))?;
                let last = Mutex::default();
                Some(Map { command, geometry, zeros: ZeroSums::new(geometry), last })
            }
            None => None,
        };
        let stamp = match facts.kind {
            Kind::File => Some(stamp(&far)?),
            _ => None,
        };
        let allocated = facts.used.unwrap_or(size).min(size);
        Ok(FarSource {
            far: Arc::new(far),
            size,
            end: size,
            allocated,
            stamp,
            map,
            windows: Mutex::default(),
        })
    }

    /// The first `size` bytes of a target.
    pub(super) fn of_target(far: Arc<Far>, size: u64, end: u64) -> FarSource {
        let windows = Mutex::default();
        FarSource { far, size, end, allocated: size, stamp: None, map: None, windows }
    }

    /// How much of it takes room over there.
    pub fn allocated(&self) -> u64 {
        self.allocated
    }

    /// A window of the disk, read now or not long ago.
    fn window(&self, number: u64) -> Result<Arc<Vec<u8>>> {
        let lock = || self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, window)) = lock().iter().find(|(kept, _)| *kept == number) {
            return Ok(window.clone());
        }
        let start = number * FAR_WINDOW_BYTES;
        let mut bytes = vec![0; FAR_WINDOW_BYTES.min(self.end - start) as usize];
        self.far.read(start, &mut bytes, self.end)?;
        let window = Arc::new(bytes);
        let mut windows = lock();
        windows.push_back((number, window.clone()));
        if windows.len() > FAR_WINDOWS {
            windows.pop_front();
        }
        Ok(window)
    }
}

impl Map {
    /// The units from `first` on, and whether they hold anything.
    fn ask(&self, far: &Far, first: u64) -> Result<Vec<bool>> {
        {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = first.checked_sub(last.0).and_then(|skip| last.1.get(skip as usize..))
                && !known.is_empty()
            {
                return Ok(known.to_vec());
            }
        }
        let end = self.geometry.blocks().min(first + FAR_SUMS);
        let sums = far.sums(&self.command, self.geometry.block_bytes().into(), first..end)?;
        let holds: Vec<bool> =
            (first..end).zip(&sums).map(|(unit, sum)| *sum != self.zeros.of(unit)).collect();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = (first, holds.clone());
        Ok(holds)
    }

    /// The first range from `from` on that holds anything; it may go on behind its end.
    fn next_data(&self, far: &Far, from: u64) -> Result<Option<Range<u64>>> {
        let mut unit = from / u64::from(self.geometry.block_bytes());
        while unit < self.geometry.blocks() {
            let holds = self.ask(far, unit)?;
            let Some(skip) = holds.iter().position(|holds| *holds) else {
                unit += holds.len() as u64;
                continue;
            };
            let many = holds[skip..].iter().take_while(|holds| **holds).count() as u64;
            let start = unit + skip as u64;
            let bytes = self.geometry.bytes_of_run(&(start..start + many));
            return Ok(Some(bytes.start.max(from)..bytes.end));
        }
        Ok(None)
    }
}

#[async_trait]
impl Source for FarSource {
    fn name(&self) -> String {
        self.far.name.clone()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        match &self.map {
            _ if from >= self.size => Ok(None),
            Some(map) => map.next_data(&self.far, from),
            None => Ok(Some(from..self.size)),
        }
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let number = offset / FAR_WINDOW_BYTES;
        let within = (offset % FAR_WINDOW_BYTES) as usize;
        // Whoever reads small pieces, as those do who look at file systems, reads their neighbours next.
        if buffer.len() < 64 << 10 && within + buffer.len() <= FAR_WINDOW_BYTES as usize {
            let window = self.window(number)?;
            buffer.copy_from_slice(&window[within..within + buffer.len()]);
            return Ok(());
        }
        self.far.read(offset, buffer, self.end)
    }

    async fn check_unchanged(&self) -> Result<()> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner).clear();
        match &self.stamp {
            Some(before) if stamp(&self.far)? != *before => Err(Error::SourceChanged {
                what: self.name(),
                why: "its size or modification time is not what it was at the start".into(),
            }),
            _ => Ok(()),
        }
    }

    fn sees_writes(&self) -> bool {
        self.stamp.is_some()
    }

    fn in_use(&self) -> bool {
        // Nobody over there keeps others from mounting a device while we read it.
        self.stamp.is_none()
    }
}

pub(super) fn stamp(far: &Far) -> Result<String> {
    let ran = far.shell.run(script::STAMP, &[&far.path], &[], ANSWER_MAX)?;
    let text = String::from_utf8_lossy(&ran.output).into_owned();
    match text.strip_suffix("done\n") {
        Some(stamp) if !stamp.trim().is_empty() => Ok(stamp.to_owned()),
        _ => Err(far.failed("examine", ran.code, &ran.complaint)),
    }
}
