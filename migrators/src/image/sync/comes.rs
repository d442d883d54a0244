//! A disk into a target that takes disks only as images: one stream from the source's site through this process, measured as it
//! passes. What the cloud says of the image, and of the volume made of it, must be what passed. A stream cannot be taken up
//! in the middle, so what breaks begins anew.

use fluidcloud_proto::progress::TransferReport;
use fluidcloud_proto::task::{SyncDisk, TaskKey};
use fluidcloud_providers::{Arrival, Inlet, Moment, Provider};
use tokio::time::{Instant, sleep};

use super::measured::{Measured, Told};
use super::pipe::Pipe;
use super::{ATTEMPTS_IN_VAIN_MAX, Error, PAUSE_MAX, PAUSE_MIN};
use crate::binary::ViaductBinary;
use crate::migrator::{Progress, open_source};

#[derive(Debug)]
pub struct Comes<'a> {
    viaduct: &'a ViaductBinary,
    source: &'a dyn Provider,
    target: &'a dyn Provider,
    inlet: &'a dyn Inlet,
    order: &'a SyncDisk,
    arrival: Arrival,
}

impl<'a> Comes<'a> {
    pub fn new(
        viaduct: &'a ViaductBinary,
        source: &'a dyn Provider,
        (target, inlet): (&'a dyn Provider, &'a dyn Inlet),
        order: &'a SyncDisk,
        key: &TaskKey,
    ) -> Self {
        let (relocation, epoch, disk) = (key.relocation, key.epoch, order.disk.clone());
        let arrival = Arrival { relocation, disk, epoch, size_bytes: order.size_bytes };
        Self { viaduct, source, target, inlet, order, arrival }
    }

    /// Answers when the disk is sealed with the digest of what was read.
    pub async fn by_image(&self, progress: &Progress) -> Result<TransferReport, crate::Error> {
        let began = Instant::now();
        let relocation = self.arrival.relocation;
        if let Some(digest) = self.inlet.sealed(relocation, &self.arrival.disk).await? {
            // An earlier attempt was ended before it had cleaned up, or before it could tell.
            self.inlet.seal(&self.arrival, &digest).await?;
            return Ok(self.there(digest, began));
        }
        let site = open_source(self.source, relocation, [&self.order.from], Moment::Stopped).await?;
        let pipe = Pipe::new(self.viaduct, site, self.order, progress).await?;
        let mut pause = PAUSE_MIN;
        let mut renewed = false;
        for number in 1.. {
            let error = match self.once(&pipe).await {
                Ok(passed) => return Ok(self.report(passed, began)),
                Err(error) => error,
            };
            // The login ended in the middle, and is taken anew, once: of a stream nothing can be said again by itself.
            let expired = matches!(
                &error,
                crate::Error::Provider(fluidcloud_providers::Error::Refused { status: 401, .. })
            );
            let renews = expired && !std::mem::replace(&mut renewed, true);
            if !(error.retryable() || renews) || number >= ATTEMPTS_IN_VAIN_MAX {
                return Err(error);
            }
            tracing::warn!(disk = %self.arrival.disk, number, %error, "a disk is sent again from its first byte");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        unreachable!("the loop ends by its bound")
    }

    async fn once(&self, pipe: &Pipe<'_>) -> Result<Measured, crate::Error> {
        let stored = match self.inlet.upload(&self.arrival, pipe).await {
            Ok(stored) => stored,
            // Of a source that broke the upload knows only that it did.
            Err(error) => return Err(pipe.broke().map_or_else(|| error.into(), Into::into)),
        };
        let passed = pipe.passed().ok_or_else(|| self.corrupted("its image", "size", "all", "nothing"))?;
        self.compare("its image", &passed.told, &Told::of(&stored)).await?;
        let back = Told::of(&self.inlet.land(&self.arrival, &stored.id).await?);
        let unit = self.target.disk_unit_bytes();
        let whole = passed.told.bytes.div_ceil(unit).max(1) * unit;
        let padded = passed.padded_to(whole).await;
        self.compare("its volume, read back", &padded, &back).await?;
        self.inlet.seal(&self.arrival, &passed.digest).await?;
        Ok(passed)
    }

    /// What is there instead of what should be there goes.
    async fn compare(&self, what: &str, ours: &Told, theirs: &Told) -> Result<(), crate::Error> {
        let differs = ours
            .differs(theirs)
            .map(|(algorithm, ours, theirs)| self.corrupted(what, &algorithm, &ours, &theirs));
        let error = match differs {
            Some(error) => error,
            None if theirs.digests.is_empty() => {
                Error::Untold { disk: self.arrival.disk.to_string(), what: what.to_owned() }
            }
            None => return Ok(()),
        };
        self.inlet.discard(&self.arrival).await?;
        Err(error.into())
    }

    fn corrupted(&self, what: &str, algorithm: &str, sent: &str, stored: &str) -> Error {
        Error::Stored {
            disk: self.arrival.disk.to_string(),
            what: what.to_owned(),
            algorithm: algorithm.to_owned(),
            sent: sent.to_owned(),
            stored: stored.to_owned(),
        }
    }

    fn there(&self, digest: String, began: Instant) -> TransferReport {
        let bytes_total = self.arrival.size_bytes;
        TransferReport {
            disk: self.arrival.disk.clone(),
            bytes_total,
            bytes_read: 0,
            bytes_zero: 0,
            bytes_reused: bytes_total,
            bytes_on_wire: 0,
            bytes_free: 0,
            areas: Vec::new(),
            seconds: began.elapsed().as_secs_f64(),
            digest,
            verified: true,
        }
    }

    fn report(&self, passed: Measured, began: Instant) -> TransferReport {
        TransferReport {
            bytes_read: passed.bytes_read,
            bytes_zero: passed.bytes_zero,
            bytes_reused: 0,
            bytes_on_wire: passed.told.bytes,
            bytes_free: passed.bytes_free,
            areas: passed.areas,
            ..self.there(passed.digest, began)
        }
    }
}
