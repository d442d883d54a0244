//! Changes to a guest's disks as one: all or nothing, whatever is killed when. The states live in files beside the
//! root disk and are moved on by `work.sh` under a lock; see there for the picture.

use std::sync::Arc;

use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_providers::{Command, Site};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use super::session::{self, Drive, Session};

/// Exit statuses of `work.sh`.
const FENCED: i32 = 76;
const HELD: i32 = 77;
/// Committing writes as much as was changed.
const COMMIT_SECS: u64 = 4 * 3600;
const HALT_SECS: u64 = 30;

/// One step's work on the disks of one guest.
#[derive(Clone, Debug)]
pub struct Work {
    site: Arc<dyn Site>,
    /// Names the files of this step: `adapt`, `fold-vdb`.
    step: String,
    epoch: Epoch,
    root: DiskPlace,
    /// In the order of the guest.
    drives: Vec<Drive>,
}

impl Work {
    pub fn new(site: &Arc<dyn Site>, step: &str, epoch: Epoch, drives: Vec<Drive>) -> Result<Self, Error> {
        let root = drives.first().ok_or(Error::NoDisk)?.place.clone();
        Ok(Self { site: site.clone(), step: step.to_owned(), epoch, root, drives })
    }

    /// What an earlier attempt has answered. If it was killed before its changes were real, they are made so now.
    pub async fn earlier<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let finished = self.site.run(&self.command("earlier", "-").timeout_secs(COMMIT_SECS)).await;
        let text = finished.map_err(|error| self.told(error))?.text();
        if text.trim().is_empty() {
            return Ok(None);
        }
        let record = serde_json::from_str(&text);
        record.map(Some).map_err(|cause| Error::Record { disk: self.root.path.clone(), cause })
    }

    /// Opens the disks in an appliance, on fresh overlays where they are changed.
    pub async fn open(&self) -> Result<Session, Error> {
        let session = session::new_dir(&*self.site);
        let drives = self.drives.iter().map(|drive| self.worked_on(drive)).collect::<Vec<_>>();
        let opened = Session::start(&self.site, &session, self.command("work", &session), &drives).await;
        opened.map_err(|error| self.told_by_session(error))
    }

    /// Ends the session, makes its changes real and keeps `result` for later attempts.
    pub async fn seal<T: Serialize + Sync>(&self, session: Session, result: &T) -> Result<(), Error> {
        let record = serde_json::to_vec(result);
        let record = record.map_err(|cause| Error::Record { disk: self.root.path.clone(), cause })?;
        session.commit(&record, COMMIT_SECS).await
    }

    fn worked_on(&self, drive: &Drive) -> Drive {
        if drive.read_only {
            return drive.clone();
        }
        let path = format!("{}.work-{}.qcow2", drive.place.path, self.step);
        Drive { place: DiskPlace { path, format: DiskFormat::Qcow2 }, read_only: false }
    }

    /// Returns when nothing of this step runs at the site any more, of this epoch or an older one.
    pub async fn halt(&self) -> Result<(), Error> {
        let finished = self.site.run(&self.command("halt", "-").timeout_secs(HALT_SECS)).await;
        finished.map(drop).map_err(|error| self.told(error))
    }

    fn command(&self, mode: &str, session: &str) -> Command {
        let epoch = self.epoch.to_string();
        let mut command = script(&[mode, &self.step, &epoch, &self.root.path, session]);
        for Drive { place, .. } in self.drives.iter().filter(|drive| !drive.read_only) {
            let format = match place.format {
                DiskFormat::Raw => "raw",
                DiskFormat::Qcow2 => "qcow2",
            };
            command = command.args([format, &place.path]);
        }
        command
    }

    /// The exit statuses of `work.sh` in words.
    fn told(&self, error: fluidcloud_providers::Error) -> Error {
        let fluidcloud_providers::Error::CommandFailed { status, stderr, host, .. } = &error else {
            return error.into();
        };
        let disk = self.root.path.clone();
        if status.contains(&FENCED.to_string()) {
            Error::Fenced { disk, held: stderr.trim().to_owned(), ours: self.epoch }
        } else if status.contains(&HELD.to_string()) {
            Error::Held { disk, host: host.clone() }
        } else {
            error.into()
        }
    }

    fn told_by_session(&self, error: Error) -> Error {
        let disk = self.root.path.clone();
        match error {
            Error::NoAppliance { status: Some(FENCED), said, .. } => {
                // The script says which.
                let held = said.split("; ").find(|part| part.parse::<u64>().is_ok()).unwrap_or("unknown");
                Error::Fenced { disk, held: held.to_owned(), ours: self.epoch }
            }
            Error::NoAppliance { status: Some(HELD), host, .. } => Error::Held { disk, host },
            other => other,
        }
    }
}

/// The script goes over standard input, so that what is shown of the command is only what it is about.
pub(super) fn script(args: &[&str]) -> Command {
    const SCRIPT: &str =
        concat!(include_str!("work.sh"), include_str!("session.sh"), include_str!("main.sh"));
    Command::new("sh").args(["-s", "--"]).args(args.iter().copied()).stdin(SCRIPT)
}
