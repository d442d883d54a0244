//! Lets the guest boot on the target's hardware. One appliance: read what the guest is, decide (pure, in the modules
//! below), change only what does not fit, and read again whether the initramfs now holds what it must.

mod boot;
mod drivers;
mod edits;
mod mounts;
mod nics;

use std::sync::Arc;
use std::time::Duration;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::task::{AdaptGuest, Output};
use fluidcloud_providers::Site;

use crate::guest::{self, Drive, Fish, Guest, Session, Work};
use drivers::Drivers;
use edits::Edits;

/// Building every initramfs of a guest, under emulation.
const REBUILD: Duration = Duration::from_secs(3600);
/// Unpacking them to look inside.
const LOOK: Duration = Duration::from_secs(900);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{system}: {spec} of {file} is the name of a device on the old hardware, and no disk of the guest has it"
    )]
    UnknownDevice { system: String, file: &'static str, spec: String },
    #[error(
        "{system}: {spec} of {file} has neither UUID nor PARTUUID by which it could be found on other hardware"
    )]
    Nameless { system: String, file: &'static str, spec: String },
    #[error("{system} has no kernel in /boot")]
    NoKernel { system: String },
    #[error("kernel {kernel} of {system} lacks the drivers {missing} for the target's hardware")]
    NoDrivers { system: String, kernel: String, missing: String },
    #[error("{system} builds its initramfs with a tool that is not known, and it lacks {missing}")]
    UnknownTool { system: String, missing: String },
    #[error("after it was rebuilt, the initramfs of kernel {kernel} of {system} still lacks {missing}")]
    NotBuilt { system: String, kernel: String, missing: String },
    #[error("hardware `{0}` is not known to FluidCloud")]
    UnknownHardware(String),
}

impl Error {
    pub fn to_failure(&self) -> Failure {
        let remedy = match self {
            Self::UnknownDevice { file, .. } | Self::Nameless { file, .. } => {
                format!("in the guest, write UUID=… or LABEL=… into {file} (`blkid` shows them), or add `nofail`")
            }
            Self::NoKernel { .. } => "install a kernel in the guest; one that its host provides does not move".into(),
            Self::NoDrivers { .. } => {
                "in the guest, install a kernel with them (Debian: linux-image-amd64), or choose a target with other hardware".into()
            }
            Self::UnknownTool { .. } => "in the guest, add the drivers to its initramfs, then try again".into(),
            Self::NotBuilt { .. } => "in the guest, run `update-initramfs -u -k all` or `dracut -f` and see why".into(),
            Self::UnknownHardware(_) => {
                "use ide, sata, scsi, virtio or nvme disks and e1000, e1000e or virtio NICs in the provider's `shape`".into()
            }
        };
        Failure::never(Code::GuestUnsupported, self.to_string(), remedy)
    }
}

pub(super) fn work(site: &Arc<dyn Site>, order: &AdaptGuest, epoch: Epoch) -> Result<Work, guest::Error> {
    let drive = |disk: &fluidcloud_proto::task::GuestDisk| Drive {
        place: disk.place.clone(),
        // What is staged is looked at for its UUID only.
        read_only: disk.staging,
    };
    Work::new(site, "adapt", epoch, order.disks.iter().map(drive).collect())
}

pub(super) async fn adapt(
    site: &Arc<dyn Site>,
    order: &AdaptGuest,
    epoch: Epoch,
) -> Result<Output, crate::Error> {
    let drivers = Drivers::of(&order.hardware)?;
    let work = work(site, order, epoch)?;
    if let Some(changes) = work.earlier().await? {
        return Ok(Output::Adapted { changes });
    }
    let mut session = work.open().await?;
    let guest = match Guest::mount(&mut session, &order.disks).await {
        Ok(guest) => guest,
        // Disks that are used raw: what boots from them, if anything, is beyond us. The checks will tell.
        Err(guest::Error::NoFileSystem { .. }) => {
            let changes = vec!["nothing: there is no file system on its disks".to_owned()];
            work.seal(session, &changes).await?;
            return Ok(Output::Adapted { changes });
        }
        Err(error) => return Err(error.into()),
    };
    let system = guest.name.clone();
    let files = read_files(&mut session).await?;

    let mut edits = Edits::default();
    mounts::adapt(&guest, &mut edits)?;
    boot::adapt(&guest, &files, &mut edits)?;
    let macs: Vec<_> = order.nics.iter().map(|nic| nic.mac.to_ascii_lowercase()).collect();
    nics::adapt(&macs, &files, &mut edits);

    let kernels = drivers::look(&mut session, &drivers, LOOK).await?;
    let rebuild = drivers::plan(&system, &drivers, &kernels, &files)?;
    if let Some(rebuild) = &rebuild {
        rebuild.configure(&files, &mut edits);
    }
    edits.label_if_needed(&files);
    edits.apply(&mut session).await?;

    let mut changes = edits.told();
    if let Some(rebuild) = rebuild {
        session.run_for(&[Fish::new(&["sh", rebuild.command()])], REBUILD).await?;
        let kernels = drivers::look(&mut session, &drivers, LOOK).await?;
        changes.extend(drivers::prove(&system, &drivers, &kernels, rebuild.kernels())?);
    }
    work.seal(session, &changes).await?;
    Ok(Output::Adapted { changes })
}

/// Text files of the guest by path: all that the decisions below are made from.
#[derive(Clone, Debug, Default)]
struct Files(std::collections::BTreeMap<String, String>);

impl Files {
    fn get(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    /// Those of a directory with an ending, by name.
    fn within<'a>(&'a self, dir: &'a str, ending: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .iter()
            .filter(move |(path, _)| {
                path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/') && rest.ends_with(ending))
            })
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// Files of a directory that are read at most.
const DIR_FILES_MAX: usize = 100;

async fn read_files(session: &mut Session) -> Result<Files, guest::Error> {
    let dirs: Vec<_> = [boot::DIRS, nics::DIRS, drivers::DIRS].concat();
    let is_dir: Vec<_> =
        dirs.iter().map(|dir| Fish::new(&["is-dir", dir]).option("followsymlinks:true")).collect();
    let is_dir = session.run(&is_dir).await?;
    let there: Vec<_> = dirs.iter().zip(is_dir).filter(|(_, is)| is == "true").map(|(dir, _)| *dir).collect();
    let listed: Vec<_> = there.iter().map(|dir| Fish::new(&["ls", dir])).collect();
    let listed = session.run(&listed).await?;
    let mut paths: Vec<String> = [boot::FILES, nics::FILES, drivers::FILES, edits::FILES]
        .concat()
        .iter()
        .map(|path| (*path).to_owned())
        .collect();
    for (dir, names) in there.iter().zip(&listed) {
        paths.extend(names.lines().take(DIR_FILES_MAX).map(|name| format!("{dir}/{name}")));
    }
    let contents = session.read_all(&paths).await?;
    // What is no text is none of the files that are meant.
    let text = |content: Option<Vec<u8>>| content.and_then(|bytes| String::from_utf8(bytes).ok());
    let files = paths.into_iter().zip(contents).filter_map(|(path, content)| Some((path, text(content)?)));
    Ok(Files(files.collect()))
}
