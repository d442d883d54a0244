//! Private halves of the key pairs that the conduit creates. They are kept beside the log, never in it, and never said; each is
//! handed out once. What a keeper promises is written on [`Keys`].

#[cfg(test)]
mod conformance;
mod directory;
mod memory;
mod openssh;

use std::fmt;
use std::path::PathBuf;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::KeyReport;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

pub use directory::DirectoryKeys;
pub use memory::MemoryKeys;

/// A pair per relocation and component. Calls are short and touch local files at most.
///
/// - **First kept, then used.** When `public_key` answers, the private half survives the loss of power.
/// - **Once.** Of any number of `hand_out` at once, in whatever process, one gets the key. It is gone when it answers; a crash
///   in between loses it rather than hand it out twice.
/// - `remove` leaves nothing of a relocation; what is not there is no error.
pub trait Keys: Send + Sync + fmt::Debug {
    /// In one line, without comment. Made at the first call, the same ever after.
    fn public_key(
        &self,
        relocation: RelocationId,
        component: &ComponentName,
        name: &str,
    ) -> Result<String, Error>;

    /// By its name or its component; without a name, the only one of the relocation.
    fn hand_out(&self, relocation: RelocationId, name: Option<&str>) -> Result<Handed, Error>;

    fn standing(&self, relocation: RelocationId) -> Result<Vec<KeyReport>, Error>;

    fn remove(&self, relocation: RelocationId) -> Result<(), Error>;
}

#[derive(Debug)]
pub struct Handed {
    pub name: String,
    pub private: PrivateKey,
}

/// In OpenSSH's format. Shown to nobody who does not ask for it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("relocation {relocation} has created no key pair{}", named(.name))]
    Unknown { relocation: RelocationId, name: Option<String> },
    #[error("relocation {relocation} has created several key pairs: {}", .names.join(", "))]
    Several { relocation: RelocationId, names: Vec<String> },
    #[error("the private half of key pair `{name}` was handed out{}", moment(.at))]
    Taken { name: String, at: Option<OffsetDateTime> },
    #[error("cannot make a key pair")]
    Make,
    #[error("cannot {what} {}", .path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

fn named(name: &Option<String>) -> String {
    name.as_ref().map_or(String::new(), |name| format!(" `{name}`"))
}

fn moment(at: &Option<OffsetDateTime>) -> String {
    let told = at.and_then(|at| at.truncate_to_second().format(&Rfc3339).ok());
    told.map_or(String::new(), |at| format!(" at {at}"))
}

impl Error {
    /// Disks fill and are freed.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Io { .. } | Self::Make)
    }

    pub fn to_failure(&self) -> Failure {
        let mut message = self.to_string();
        let (code, remedy) = match self {
            Self::Unknown { .. } => (
                Code::UnknownKey,
                "see its report for `keys`; one is made by `launch: {keypair: {create: NAME}}`, is gone when the relocation \
                 is undone, and is only where its conduit keeps its state",
            ),
            Self::Several { .. } => (Code::UnknownKey, "name the one that is meant"),
            Self::Taken { .. } => (
                Code::KeyTaken,
                "ask whoever took it; if it is lost, put another public key into the guest's authorized_keys, by its \
                 console or its rescue mode, as a cloud cannot tell a private key again",
            ),
            Self::Make => (Code::Internal, "report this with the conduit's log"),
            Self::Io { cause, .. } => {
                message.push_str(&format!(": {cause}"));
                (Code::Internal, "see that the state directory is writable and has room")
            }
        };
        if self.retryable() {
            Failure::later(code, message, remedy)
        } else {
            Failure::never(code, message, remedy)
        }
    }
}

/// The one that is meant.
fn choose<'a>(
    relocation: RelocationId,
    all: &'a [KeyReport],
    name: Option<&str>,
) -> Result<&'a KeyReport, Error> {
    let unknown = || Error::Unknown { relocation, name: name.map(str::to_owned) };
    match (name, all) {
        (Some(name), all) => {
            let is = |key: &&KeyReport| key.name == name || key.component.as_str() == name;
            all.iter().find(is).ok_or_else(unknown)
        }
        (None, [only]) => Ok(only),
        (None, []) => Err(unknown()),
        (None, several) => {
            let names = several.iter().map(|key| key.name.clone()).collect();
            Err(Error::Several { relocation, names })
        }
    }
}
