//! What every role needs: to be told to end, to end within a bound, and to be alone on its state.

use std::fs::{File, TryLockError};
use std::future::Future;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fluidcloud_providers::Registry;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::fault::{Exit, Fault};

/// How long a role may take to end after it was told to; then the process ends anyway. A relocation bears that.
pub const END_WITHIN: Duration = Duration::from_secs(45);
const LOCK_FILE: &str = "lock";

/// Cancelled by SIGTERM or SIGINT. A second signal ends the process at once.
pub fn told_to_end() -> Result<CancellationToken, Fault> {
    let token = CancellationToken::new();
    let cannot = |error| Fault::failed(format!("cannot listen for signals: {error}"), "");
    let mut term = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let told = token.clone();
    tokio::spawn(async move {
        either(&mut term, &mut interrupt).await;
        tracing::info!("told to end");
        told.cancel();
        either(&mut term, &mut interrupt).await;
        tracing::warn!("told to end again; what runs is left to recover by itself");
        std::process::exit(130);
    });
    Ok(token)
}

async fn either(term: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Runs a role to its end, and not much longer than [`END_WITHIN`] after it was told to.
pub async fn run_until_told<T>(
    told: &CancellationToken,
    role: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let too_late = async {
        told.cancelled().await;
        tokio::time::sleep(END_WITHIN).await;
    };
    tokio::select! {
        ended = role => ended,
        () = too_late => {
            let what = format!("not everything ended within {} s", END_WITHIN.as_secs());
            Err(Fault::failed(what, "start it again: relocations go on where they were"))
        }
    }
}

pub fn registry(config: &Config) -> Result<Arc<Registry>, Fault> {
    if config.providers.is_empty() {
        return Err(Fault::usage(
            format!("{} configures no provider", config.place()),
            "list at least a source and a target under `providers`",
        ));
    }
    let registry =
        Registry::from_config(&config.providers).map_err(|error| Fault::from_error(Exit::Usage, &error))?;
    Ok(Arc::new(registry))
}

/// Held as long as the state is used; the system lets go of it when the process dies, however it dies.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    pub fn take(state: &Path) -> Result<Self, Fault> {
        let cannot = |what: &str, error: &std::io::Error| {
            let what = format!("cannot {what} the state directory {}: {error}", state.display());
            Fault::usage(what, "set `state` to a directory that this user may write")
        };
        // Requests are in there, and with them whatever their rules write into guests.
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(state)
            .and_then(|()| std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o700)))
            .map_err(|error| cannot("make", &error))?;
        let path = state.join(LOCK_FILE);
        let mut file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|error| cannot("use", &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(taken(state, &mut file)),
            Err(TryLockError::Error(error)) => return Err(cannot("lock", &error)),
        }
        // Only for the message to whoever comes second.
        let noted = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        noted.map_err(|error| cannot("use", &error))?;
        Ok(Self { _file: file })
    }
}

fn taken(state: &Path, file: &mut File) -> Fault {
    let mut pid = String::new();
    let _ = file.rewind().and_then(|()| file.read_to_string(&mut pid).map(|_| ()));
    let by = if pid.is_empty() { String::new() } else { format!(" (process {pid})") };
    Fault::usage(
        format!("the state directory {} is in use by another fluidcloud{by}", state.display()),
        "end that one first, or give this one another `state` and `http.listen`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_state_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made/when/missing");
        let first = StateLock::take(&state).unwrap();
        let refused = StateLock::take(&state).unwrap_err();
        assert_eq!(refused.exit, Exit::Usage);
        assert!(refused.what.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        StateLock::take(&state).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_does_not_end_is_left_after_the_bound() {
        let told = CancellationToken::new();
        told.cancel();
        let before = tokio::time::Instant::now();
        let ended = run_until_told(&told, std::future::pending::<Result<(), Fault>>()).await;
        assert_eq!(ended.unwrap_err().exit, Exit::Failed);
        assert_eq!(before.elapsed(), END_WITHIN);
    }
}
