//! The static `viaduct` binary: where it is found here, and how it comes to a site.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_providers::{Command, Site};
use tokio::sync::OnceCell;

/// Names the binary where it is not beside the program.
pub const VARIABLE: &str = "FLUIDCLOUD_VIADUCT";
/// Of the digest that names a pushed binary.
const DIGEST_CHARS: usize = 12;
/// Larger is surely not a viaduct.
const BINARY_BYTES_MAX: u64 = 256 << 20;
/// Looking at a site whether the binary is there.
const LOOK_SECS: u64 = 30;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no viaduct binary at {0}")]
    Missing(PathBuf),
    #[error("cannot read the viaduct binary {path}")]
    Unreadable {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("the viaduct binary {path} has {bytes} bytes, more than the {BINARY_BYTES_MAX} that are pushed")]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("the pushed viaduct {path} does not run at {host}")]
    DoesNotRun {
        host: String,
        path: PathBuf,
        #[source]
        cause: Box<fluidcloud_providers::Error>,
    },
}

impl Error {
    pub fn to_failure(&self) -> Failure {
        let remedy = match self {
            Self::Missing(_) | Self::Unreadable { .. } | Self::TooLarge { .. } => {
                format!("put the static binary beside `fluidcloud`, or name it in {VARIABLE}")
            }
            Self::DoesNotRun { .. } => {
                "build it statically for x86-64 Linux, and let the site's dir be on a file system without noexec"
                    .to_owned()
            }
        };
        Failure::never(Code::Internal, crate::error::chain(self), remedy)
    }
}

/// A viaduct binary on this host. Cheap to clone; its digest is taken once.
#[derive(Clone, Debug)]
pub struct ViaductBinary {
    path: PathBuf,
    digest: Arc<OnceCell<String>>,
}

impl ViaductBinary {
    /// By the environment, else beside the running program.
    pub fn locate() -> Result<Self, Error> {
        match std::env::var_os(VARIABLE) {
            Some(path) => Self::at(PathBuf::from(path)),
            None => {
                let beside = std::env::current_exe().unwrap_or_default().with_file_name("viaduct");
                Self::at(beside)
            }
        }
    }

    pub fn at(path: PathBuf) -> Result<Self, Error> {
        if !path.is_file() {
            return Err(Error::Missing(path));
        }
        Ok(Self { path, digest: Arc::default() })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sees that the site has this very binary, and answers where.
    pub async fn push(&self, site: &dyn Site) -> Result<PathBuf, crate::Error> {
        let digest = self.digest.get_or_try_init(|| read_digest(self.path.clone())).await?;
        let remote = site.dir().join("bin").join(format!("viaduct-{digest}"));
        // A put is whole or not at all, so what is there under the digest's name is complete.
        let there = Command::new("test").arg("-x").arg(text(&remote)).timeout_secs(LOOK_SECS);
        match site.run(&there).await {
            Ok(_) => return Ok(remote),
            Err(fluidcloud_providers::Error::CommandFailed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        site.put(&self.path, &remote, 0o755).await?;
        let runs = Command::new(&remote).arg("--version").timeout_secs(LOOK_SECS);
        site.run(&runs).await.map_err(|cause| Error::DoesNotRun {
            host: site.host().to_owned(),
            path: remote.clone(),
            cause: Box::new(cause),
        })?;
        Ok(remote)
    }
}

async fn read_digest(path: PathBuf) -> Result<String, Error> {
    let unreadable = |cause| Error::Unreadable { path: path.clone(), cause };
    let bytes = tokio::fs::metadata(&path).await.map_err(unreadable)?.len();
    if bytes > BINARY_BYTES_MAX {
        return Err(Error::TooLarge { path, bytes });
    }
    let content = tokio::fs::read(&path).await.map_err(unreadable)?;
    let mut digest = blake3::hash(&content).to_hex().to_string();
    digest.truncate(DIGEST_CHARS);
    Ok(digest)
}

/// A path as an argument; paths here are made of checked names and the configured directory.
pub(crate) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
