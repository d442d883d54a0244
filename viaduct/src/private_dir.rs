//! A directory nobody else can enter, for sockets. Removed when dropped.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(crate) struct PrivateDir(PathBuf);

impl PrivateDir {
    pub fn new() -> std::io::Result<PrivateDir> {
        PrivateDir::within(&std::env::temp_dir())
    }

    pub fn within(parent: &Path) -> std::io::Result<PrivateDir> {
        let mut name = [0; 8];
        aws_lc_rs::rand::fill(&mut name).map_err(|_| std::io::ErrorKind::Other)?;
        let path = parent.join(format!("viaduct-{}", data_encoding::HEXLOWER.encode(&name)));
        // Fails if it exists: nobody can have put it there for us.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(PrivateDir(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for PrivateDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
