//! Lets the guest boot on the target's hardware. One appliance: read what the guest is, decide ([`Plan`]; pure, in the
//! modules below), change only what does not fit, and read again whether the initramfs now holds what it must.

mod boot;
mod drivers;
mod edits;
mod files;
mod mounts;
mod nics;
mod plan;
mod room;

use std::sync::Arc;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::Epoch;
use fluidcloud_proto::task::{AdaptGuest, Output};
use fluidcloud_providers::Site;

use crate::guest::{self, Drive, Guest, Work};
use files::Files;

pub(crate) use drivers::Drivers;
pub(crate) use plan::Plan;

/// Told where a guest's disks are used raw.
pub(crate) const NOTHING: &str = "nothing: there is no file system on its disks";

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
    #[error(
        "{system} has {free} bytes free at {at}, and building its initramfs for the target's hardware takes up to {needed}"
    )]
    NoRoom { system: String, at: &'static str, needed: u64, free: u64 },
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
            Self::NoRoom { at, .. } => format!("free space at {at} in the guest, such as by removing old kernels"),
            Self::UnknownHardware(_) => {
                "use ide, sata, scsi, virtio or nvme disks and e1000, e1000e or virtio NICs in the provider's `shape`".into()
            }
        };
        let code = match self {
            Self::NoRoom { .. } => Code::NoRoom,
            _ => Code::GuestUnsupported,
        };
        Failure::never(code, self.to_string(), remedy)
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
            let changes = vec![NOTHING.to_owned()];
            work.seal(session, &changes).await?;
            return Ok(Output::Adapted { changes });
        }
        Err(error) => return Err(error.into()),
    };
    let plan = Plan::make(&mut session, &guest, &order.nics, drivers).await?;
    plan.edit(&mut session).await?;
    let changes = plan.rebuild(&mut session).await?;
    work.seal(session, &changes).await?;
    Ok(Output::Adapted { changes })
}
