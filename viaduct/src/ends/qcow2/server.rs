//! The `qemu-nbd` beside us. It dies with us, however we die: a shell between us holds a pipe to us and ends it when the pipe
//! does; and it is started without `--persistent`, so that it also ends when the last connection does.

use crate::ends::NbdAddress;
use crate::error::{Error, Result};
use crate::limits::QEMU_NBD_START;
use crate::private_dir::PrivateDir;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;

/// The shell gives up its own stderr, so that the end of that pipe means that qemu-nbd ended.
const GUARD: &str = r#"qemu-nbd "$@" </dev/null & child=$!
exec 2>/dev/null
read -r _
kill "$child" 2>/dev/null
wait "$child"; code=$?
rm -rf -- "$VIADUCT_DIR"; exit "$code""#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    address: NbdAddress,
    guard: Child,
    /// When it closes, the shell ends qemu-nbd.
    lifeline: Option<ChildStdin>,
    _dir: PrivateDir,
}

impl Server {
    pub async fn start(path: &Path, access: Access) -> Result<Server> {
        let deadline = Instant::now() + QEMU_NBD_START;
        loop {
            match Server::try_start(path, access, deadline).await {
                // The helper of a receiver that was just killed may still be letting go of the image.
                Err(Error::QemuNbd { why, .. })
                    if why.contains("lock") && Instant::now() + QEMU_NBD_START / 2 < deadline =>
                {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_start(path: &Path, access: Access, deadline: Instant) -> Result<Server> {
        let fail = |why: String| Error::QemuNbd { path: path.to_owned(), why };
        // qemu takes what stands before a colon for a protocol, but not in an absolute path.
        let image = path.canonicalize().map_err(|error| Error::io("open", path.display(), error))?;
        let dir = PrivateDir::new().map_err(|error| Error::io("create", "a private directory", error))?;
        let (socket, pid_file) = (dir.path().join("nbd"), dir.path().join("pid"));
        let mut command = Command::new("sh");
        command.args(["-c", GUARD, "viaduct-guard", "--format=qcow2", "--shared=0"]);
        match access {
            Access::Read => command.args(["--read-only", "--cache=writeback"]),
            Access::Write => command.args(["--cache=writeback", "--discard=unmap", "--detect-zeroes=off"]),
        };
        command.arg("--pid-file").arg(&pid_file).arg("--socket").arg(&socket).arg("--").arg(image);
        // Killed, we cannot remove it; the shell can.
        command.env("VIADUCT_DIR", dir.path());
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut guard = command.spawn().map_err(|error| fail(error.to_string()))?;
        let lifeline = guard.stdin.take();
        let mut errors = guard.stderr.take();
        let address = NbdAddress::Unix { socket, export: String::new() };
        let mut server = Server { path: path.to_owned(), address, guard, lifeline, _dir: dir };
        let said = async {
            let mut said = String::new();
            if let Some(errors) = &mut errors {
                let _ = errors.take(4096).read_to_string(&mut said).await;
            }
            said
        };
        tokio::select! {
            () = listening(&pid_file) => Ok(server),
            said = said => {
                let said = said.trim().trim_start_matches("qemu-nbd: ").replace('\n', "; ");
                server.lifeline = None;
                let _ = server.guard.wait().await;
                Err(fail(if said.is_empty() { "it ended without a word; is it installed?".into() } else { said }))
            }
            () = tokio::time::sleep_until(deadline) => {
                Err(fail(format!("it did not answer within {} s", QEMU_NBD_START.as_secs())))
            }
        }
    }

    pub fn address(&self) -> &NbdAddress {
        &self.address
    }

    /// Ends it and waits until it has closed the image.
    pub async fn end(mut self) -> Result<()> {
        self.lifeline = None;
        match tokio::time::timeout(QEMU_NBD_START, self.guard.wait()).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::QemuNbd { path: self.path.clone(), why: "it does not end".into() }),
        }
    }
}

/// The pid file is written once the socket is listened on. Trying to connect would not do: the first connection that ends
/// would end the server.
async fn listening(pid_file: &Path) {
    while !pid_file.metadata().is_ok_and(|meta| meta.len() > 0) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Makes an image. It appears under its name only when it is whole.
pub async fn create(path: &Path, size: u64) -> Result<()> {
    let fail = |why: String| Error::QemuNbd { path: path.to_owned(), why };
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut command = Command::new("qemu-img");
    command
        .args(["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=off", "--"])
        .arg(&new)
        .arg(size.to_string());
    let done = command.stdin(Stdio::null()).output().await.map_err(|error| fail(error.to_string()))?;
    if !done.status.success() {
        let _ = std::fs::remove_file(&new);
        return Err(fail(String::from_utf8_lossy(&done.stderr).trim().to_owned()));
    }
    use std::os::unix::fs::PermissionsExt;
    // A disk may hold anybody's secrets.
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(|error| Error::io("create", path.display(), error))
}
