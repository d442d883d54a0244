//! What every site does the same way, above the one thing that differs: how a script is launched there.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;

use super::output::{Raw, tail};
use super::{Command, Finished, Running, Site, script};
use crate::error::Error;

/// Largest file that is put at a site; it is held in memory.
pub const PUT_BYTES_MAX: u64 = 256 << 20;
/// Most input of one command; it is held in memory.
pub const INPUT_BYTES_MAX: usize = 64 << 20;
/// How long a file may take to be put.
const PUT_SECS: u64 = 600;

/// A script to run and what to feed it; its standard input is then held open.
#[derive(Debug)]
pub(super) struct Task {
    pub script: &'static str,
    pub feed: Vec<u8>,
}

#[async_trait]
pub(super) trait Launch: Site {
    /// How long the far side may miss our sign of life; 0 is for ever.
    fn lost_secs(&self) -> u64;

    async fn launch(&self, task: Task) -> Result<Raw, Error>;
}

pub(super) async fn start(site: &impl Launch, command: &Command) -> Result<Running, Error> {
    Ok(site.launch(watched(site, command, true)?).await?.into_lines())
}

pub(super) async fn run(site: &impl Launch, command: &Command) -> Result<Finished, Error> {
    let task = watched(site, command, false)?;
    let done = async { Ok(site.launch(task).await?.collect().await) };
    let (finished, status) = match command.timeout_secs {
        None => done.await?,
        // The future is dropped, and the command with it.
        Some(secs) => tokio::time::timeout(Duration::from_secs(secs), done).await.map_err(|_| {
            Error::TimedOut { what: format!("`{}` at {}", script::shown(command), site.host()), secs }
        })??,
    };
    if status == Some(0) {
        return Ok(finished);
    }
    Err(failed(site, script::shown(command), status, &finished.stderr))
}

pub(super) async fn put(site: &impl Launch, local: &Path, remote: &Path, mode: u32) -> Result<(), Error> {
    let unreadable =
        |cause: std::io::Error| refused(site, format!("cannot read {}: {cause}", local.display()));
    let size = tokio::fs::metadata(local).await.map_err(unreadable)?.len();
    if size > PUT_BYTES_MAX {
        return Err(refused(site, format!("{} has more than {PUT_BYTES_MAX} bytes", local.display())));
    }
    let bytes = tokio::fs::read(local).await.map_err(unreadable)?;
    put_bytes(site, &bytes, remote, mode).await
}

pub(super) async fn put_bytes(
    site: &impl Launch,
    bytes: &[u8],
    remote: &Path,
    mode: u32,
) -> Result<(), Error> {
    if !script::is_plain_absolute(remote) {
        return Err(refused(site, format!("{} is not an absolute path of a file", remote.display())));
    }
    let feed = script::put_feed(bytes, site.dir(), remote, mode)
        .map_err(|_| refused(site, format!("{} has a NUL byte in it", remote.display())))?;
    let done = async { Ok(site.launch(Task { script: script::PUT, feed }).await?.collect().await) };
    let what = || format!("putting {} at {}", remote.display(), site.host());
    let (finished, status) = tokio::time::timeout(Duration::from_secs(PUT_SECS), done)
        .await
        .map_err(|_| Error::TimedOut { what: what(), secs: PUT_SECS })??;
    if status == Some(0) {
        return Ok(());
    }
    Err(failed(site, format!("put {}", remote.display()), status, &finished.stderr))
}

fn watched(site: &impl Launch, command: &Command, held: bool) -> Result<Task, Error> {
    if command.stdin.len() > INPUT_BYTES_MAX {
        return Err(refused(
            site,
            format!("input of `{}` has more than {INPUT_BYTES_MAX} bytes", script::shown(command)),
        ));
    }
    let feed = script::watch_feed(command, site.dir(), held, site.lost_secs()).map_err(|_| {
        refused(
            site,
            format!("`{}` has a NUL byte in it, or a bad name of a variable", script::shown(command)),
        )
    })?;
    Ok(Task { script: script::WATCH, feed })
}

fn failed(site: &impl Launch, command: String, status: Option<i32>, stderr: &str) -> Error {
    let status = match status {
        Some(status @ script::REFUSED) => format!("status {status}: the host could not start it"),
        Some(status) => format!("status {status}"),
        None => "a signal, or with its connection".to_owned(),
    };
    Error::CommandFailed { host: site.host().to_owned(), command, status, stderr: tail(stderr) }
}

fn refused(site: &impl Launch, what: String) -> Error {
    Error::Unsupported {
        provider: site.id().to_string(),
        what: format!("run what was asked for at {}: {what}", site.host()),
        remedy: "this is a mistake of the caller, please report it".to_owned(),
    }
}
