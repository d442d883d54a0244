//! Work inside guests without running them: the disks are opened in libguestfs' appliance at their own site, and
//! changes become real only when all of them are made ([`work::Work`]). Knows file systems, not what is to be done.

pub mod desk;
pub mod fish;
pub mod fstab;
pub mod session;
pub mod space;
pub mod tree;
pub mod work;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::Epoch;

pub use desk::{Desk, Purpose};
pub use fish::Fish;
pub use session::{Drive, Session};
pub use space::Space;
pub use tree::{Family, Guest};
pub use work::Work;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Site(#[from] fluidcloud_providers::Error),
    #[error("`{command}` in the appliance at {host}: {said}")]
    Fish { host: String, command: String, said: String },
    #[error("the appliance at {host} does not start: {said}")]
    NoAppliance { host: String, status: Option<i32>, said: String },
    #[error("the appliance at {host} ended in the middle: {said}")]
    Died { host: String, status: Option<i32>, said: String },
    #[error("`{command}` in the appliance at {host} took longer than {secs} s")]
    TimedOut { host: String, command: String, secs: u64 },
    #[error("{path} in the guest has {bytes} bytes, more than the {max} that are read")]
    TooLarge { path: String, bytes: u64, max: u64 },
    #[error("no installed system is on disk {disk}: {found}")]
    NoSystem { disk: String, found: String },
    #[error("no file system that is known is on disk {disk}")]
    NoFileSystem { disk: String },
    #[error("the guest on disk {disk} cannot be worked on: {why}")]
    Unsupported { disk: String, why: String, remedy: String },
    #[error("disk {disk} is worked on already, under epoch {held}, and this is epoch {ours}")]
    Fenced { disk: String, held: String, ours: Epoch },
    #[error("disk {disk} is held at {host} by a process that does not end")]
    Held { disk: String, host: String },
    #[error("the disks at {host} cannot be worked on from here: {why}")]
    NoDesk { host: String, why: String },
    #[error(
        "work inside the guest on disk {disk} was begun on another host ({holder}), and has to end there"
    )]
    OtherDesk { disk: String, holder: String },
    #[error("the record of earlier work on disk {disk} cannot be read")]
    Record {
        disk: String,
        #[source]
        cause: serde_json::Error,
    },
    #[error("the task names no disk")]
    NoDisk,
    #[error("the task folds disk {disk}, which is not among its disks")]
    NotGiven { disk: String },
    #[error(
        "the disks of the running guest cannot be looked at: `{command}` in the appliance at {host}: {said}"
    )]
    Unsettled { host: String, command: String, said: String },
}

impl Error {
    pub fn retryable(&self) -> bool {
        match self {
            Self::Site(error) => error.retryable(),
            // A killed appliance may live the next time; what it says by itself is the same each time.
            Self::Died { .. } | Self::TimedOut { .. } | Self::Held { .. } | Self::NoAppliance { .. } => true,
            Self::NoDesk { .. } | Self::OtherDesk { .. } => true,
            Self::Unsettled { .. } => true,
            Self::Fish { .. }
            | Self::TooLarge { .. }
            | Self::NoSystem { .. }
            | Self::NoFileSystem { .. }
            | Self::Unsupported { .. }
            | Self::Fenced { .. }
            | Self::Record { .. }
            | Self::NoDisk
            | Self::NotGiven { .. } => false,
        }
    }

    pub fn to_failure(&self) -> Failure {
        let (code, remedy) = match self {
            Self::Site(error) => return error.to_failure(),
            Self::Fish { .. } => {
                (Code::Provider, "see what the appliance said; check the guest's file system")
            }
            Self::NoAppliance { .. } => (
                Code::Provider,
                "install guestfish (libguestfs-tools) there and see that `libguestfs-test-tool` ends well",
            ),
            Self::Died { .. } => {
                (Code::Unreachable, "see the log of that host for who ended it; it is tried again")
            }
            Self::TimedOut { .. } => (Code::TimedOut, "check the load of that host; it is tried again"),
            Self::TooLarge { .. } => (Code::GuestUnsupported, "shorten the file, or leave it out"),
            Self::NoSystem { .. } | Self::NoFileSystem { .. } => (
                Code::GuestUnsupported,
                "see that the root disk is the first one and holds Linux on a plain or LVM partition",
            ),
            Self::Unsupported { remedy, .. } => (Code::GuestUnsupported, remedy.as_str()),
            Self::Fenced { .. } => (Code::Fenced, "nothing: the newer attempt goes on"),
            Self::Held { .. } => {
                (Code::TimedOut, "end that process by hand (`fuser` names it); it is tried again")
            }
            Self::NoDesk { .. } => (
                Code::Unreachable,
                "see that ssh, nbdfuse (libnbd-bin) and fuse3 are installed on the worker's host; it is tried again",
            ),
            Self::OtherDesk { .. } => (Code::Unreachable, "let a worker run on that host; it is tried again"),
            Self::Record { .. } => {
                (Code::Internal, "remove the `.work-*` files beside the disk and try again")
            }
            Self::NoDisk => (Code::Internal, "report it: a task must name the root disk first"),
            Self::NotGiven { .. } => {
                (Code::Internal, "report it: a task must name every disk that it is about")
            }
            Self::Unsettled { .. } => (
                Code::Provider,
                "nothing at first, it is tried again, as a guest may change what is read just then; if it fails each time, check the guest's file systems",
            ),
        };
        let make = if self.retryable() { Failure::later } else { Failure::never };
        make(code, crate::error::chain(self), remedy)
    }
}
