//! How one logs in at a site, for a program of the system that does it itself: OpenSSH, where something has to stay
//! connected to a pipe for long.

use std::path::{Path, PathBuf};

/// Bounds how long a connection that is dead looks alive.
const ALIVE: [&str; 2] = ["ServerAliveInterval=15", "ServerAliveCountMax=4"];

#[derive(Clone, Debug)]
pub struct Login {
    pub host: String,
    pub port: u16,
    pub user: String,
    /// The private key, a file on this host.
    pub key: PathBuf,
    /// Lines as of a known-hosts file.
    pub host_keys: String,
}

impl Login {
    pub fn whom(&self) -> String {
        format!("{}@{}", self.user, self.host)
    }

    /// The words of a command that runs `far` in a shell there; `known_hosts` is a file with the host's keys.
    pub fn ssh(&self, known_hosts: &Path, far: &str) -> Vec<String> {
        let mut words: Vec<String> = ["ssh", "-F", "none", "-T"].map(str::to_owned).to_vec();
        let known = format!("UserKnownHostsFile={}", known_hosts.display());
        let fixed = [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=yes",
            "GlobalKnownHostsFile=/dev/null",
            &known,
        ];
        for option in fixed.into_iter().chain(ALIVE) {
            words.extend(["-o".to_owned(), option.to_owned()]);
        }
        words.extend(["-i".to_owned(), self.key.display().to_string()]);
        words.extend(["-p".to_owned(), self.port.to_string(), self.whom(), "--".to_owned(), far.to_owned()]);
        words
    }
}
