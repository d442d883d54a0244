//! Commands on a host where nothing of ours runs: scripts of the POSIX shell, each on a session that is logged in. Keeps a few
//! sessions, and makes new ones where they break: whatever is run here may be run twice. Blocking.

use super::login::{Login, login};
use super::{SshDestination, SshLogin, remote};
use crate::error::{Error, Result};
use crate::limits::{FAR_SESSIONS, FAR_SILENT, RETRY_PAUSE};
use ssh2::Channel;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is kept of a script's complaints.
const COMPLAINT_MAX: u64 = 4096;

/// What a script did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub code: i32,
    pub output: Vec<u8>,
    pub complaint: String,
}

pub(crate) struct Shell {
    to: SshDestination,
    proof: SshLogin,
    /// How long to go on where the connection breaks.
    patience: Duration,
    sessions: Mutex<Sessions>,
    freed: Condvar,
    /// Bytes of input and output.
    carried: Arc<AtomicU64>,
}

#[derive(Default)]
struct Sessions {
    idle: Vec<Login>,
    busy: usize,
}

impl std::fmt::Debug for Shell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Shell {
    pub fn new(to: SshDestination, proof: SshLogin, patience: Duration, carried: Arc<AtomicU64>) -> Shell {
        Shell { to, proof, patience, sessions: Mutex::default(), freed: Condvar::new(), carried }
    }

    pub fn host(&self) -> &str {
        &self.to.host
    }

    /// Runs a script with `words` as its $1, $2 and so on, and `input` on its stdin. At most `most` bytes of output are taken:
    /// more is an error. The script is run again where the connection breaks.
    pub fn run(&self, script: &str, words: &[&str], input: &[u8], most: usize) -> Result<Ran> {
        let command: Vec<String> =
            ["sh", "-c", script, "sh"].iter().chain(words).map(|word| (*word).to_owned()).collect();
        let deadline = Instant::now() + self.patience;
        loop {
            match self.run_once(&command, input, most) {
                Err(error) if error.resumable() && Instant::now() + RETRY_PAUSE < deadline => {
                    std::thread::sleep(RETRY_PAUSE);
                }
                outcome => return outcome,
            }
        }
    }

    fn run_once(&self, command: &[String], input: &[u8], most: usize) -> Result<Ran> {
        let mut slot = Slot::take(self);
        let login = match slot.idle.take() {
            Some(login) => login,
            None => login(&self.to, &self.proof)?,
        };
        login.session.set_timeout(FAR_SILENT.as_millis() as u32);
        let ran = self.talk(&login, command, input, most)?;
        self.sessions().idle.push(login);
        Ok(ran)
    }

    fn talk(&self, login: &Login, command: &[String], input: &[u8], most: usize) -> Result<Ran> {
        let broken =
            |error: std::io::Error| Error::Broken { whom: login.host.clone(), why: error.to_string() };
        let mut channel = remote::exec(login, command)?;
        // A script that ends early does not read the rest of it; its exit code tells why.
        let sent = channel.write_all(input);
        let _ = channel.send_eof();
        let mut output = Vec::new();
        Read::by_ref(&mut channel).take(most as u64 + 1).read_to_end(&mut output).map_err(broken)?;
        if output.len() > most {
            return Err(Error::Remote {
                host: login.host.clone(),
                why: "a command says more than it was asked for; does the login shell print?".into(),
            });
        }
        let mut complaint = Vec::new();
        channel.stderr().take(COMPLAINT_MAX).read_to_end(&mut complaint).map_err(broken)?;
        channel.wait_close().map_err(|error| broken(error.into()))?;
        let code = exit_code(&channel).map_err(|error| broken(error.into()))?;
        if code == 0 {
            sent.map_err(broken)?;
        }
        self.carried.fetch_add((input.len() + output.len()) as u64, Relaxed);
        Ok(Ran { code, output, complaint: String::from_utf8_lossy(&complaint).trim().replace('\n', "; ") })
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A killed command has no exit code, which the library tells as 0.
fn exit_code(channel: &Channel) -> std::result::Result<i32, ssh2::Error> {
    match channel.exit_signal()?.exit_signal {
        Some(_) => Ok(128),
        None => channel.exit_status(),
    }
}

/// One of the sessions that may be in use at a time, with a session that is logged in if there is one.
struct Slot<'a> {
    shell: &'a Shell,
    idle: Option<Login>,
}

impl Slot<'_> {
    fn take(shell: &Shell) -> Slot<'_> {
        let free = |sessions: &mut Sessions| sessions.busy >= FAR_SESSIONS;
        let waited = shell.freed.wait_while(shell.sessions(), free);
        let mut sessions = waited.unwrap_or_else(PoisonError::into_inner);
        sessions.busy += 1;
        Slot { shell, idle: sessions.idle.pop() }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.shell.sessions().busy -= 1;
        self.shell.freed.notify_one();
    }
}
