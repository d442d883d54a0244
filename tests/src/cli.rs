//! Where the binaries under test are, and running the command line as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// `fluidcloud`: named by FLUIDCLOUD_BIN, else the newest of the workspace's builds.
pub fn fluidcloud() -> PathBuf {
    binary("FLUIDCLOUD_BIN", "fluidcloud")
}

/// The static `viaduct`: named by FLUIDCLOUD_VIADUCT, else the workspace's release build.
pub fn viaduct() -> PathBuf {
    binary("FLUIDCLOUD_VIADUCT", "viaduct")
}

fn binary(variable: &str, name: &str) -> PathBuf {
    if let Some(given) = std::env::var_os(variable) {
        return given.into();
    }
    let built = workspace().join("target/release").join(name);
    assert!(built.exists(), "{} is missing: run deploy/build first, or set {variable}", built.display());
    built
}

pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_owned()
}

/// What a finished command said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } =
            command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Its standard output, or a panic with all it said.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }
}
