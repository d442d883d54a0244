//! The far half of the ssh transport. The first stream is this process's stdin and stdout; further ones join over a socket
//! in a directory that only this user can enter. When stdin ends, nobody comes any more.

use super::{Accepted, GREETING, Listener};
use crate::error::{Error, Result};
use async_trait::async_trait;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

const BUFFER_BYTES: usize = 256 << 10;

#[derive(Debug)]
pub struct StdioListener {
    socket: UnixListener,
    dir: crate::private_dir::PrivateDir,
    first: bool,
    ended: Option<oneshot::Receiver<()>>,
}

impl StdioListener {
    pub fn new() -> Result<StdioListener> {
        let fail = |error| Error::io("open", "a private socket", error);
        let dir = crate::private_dir::PrivateDir::new().map_err(fail)?;
        let socket = UnixListener::bind(dir.path().join("join")).map_err(fail)?;
        Ok(StdioListener { socket, dir, first: true, ended: None })
    }

    fn open_stdio(&mut self) -> std::io::Result<UnixStream> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let (told, ended) = oneshot::channel();
        bridge(theirs, move || drop(told))?;
        self.ended = Some(ended);
        ours.set_nonblocking(true)?;
        UnixStream::from_std(ours)
    }
}

#[async_trait]
impl Listener for StdioListener {
    fn address(&self) -> String {
        "stdio".into()
    }

    fn join(&self) -> Option<String> {
        Some(self.dir.path().join("join").display().to_string())
    }

    async fn accept(&mut self) -> Accepted {
        let stream = if self.first {
            self.first = false;
            self.open_stdio()
        } else {
            let Some(ended) = &mut self.ended else { return Accepted::Closed };
            tokio::select! {
                joined = self.socket.accept() => joined.map(|(stream, _)| stream),
                _ = ended => {
                    self.ended = None;
                    return Accepted::Closed;
                }
            }
        };
        let greeted = match stream {
            Ok(mut stream) => stream.write_u8(GREETING).await.map(|()| stream),
            Err(error) => Err(error),
        };
        match greeted {
            Ok(stream) => Accepted::Stream { stream: Box::new(stream), whom: "the sender".into() },
            Err(error) => {
                let error = Error::Broken { whom: "the sender".into(), why: error.to_string() };
                Accepted::Refused { error, stranger: true }
            }
        }
    }
}

/// Carries this process's stdin and stdout to the receiver behind `socket`. Blocks until both directions have ended.
pub fn join(socket: &Path) -> Result<()> {
    let fail = |error| Error::io("join", socket.display(), error);
    let stream = StdUnixStream::connect(socket).map_err(fail)?;
    let (told, ended) = std::sync::mpsc::channel::<()>();
    bridge(stream, || ()).map_err(fail)?.spawn_waiter(told);
    // The receiver's last word is what matters; the sender closes after it has read it.
    let _ = ended.recv();
    Ok(())
}

/// The thread that writes to stdout.
struct Outward(std::thread::JoinHandle<()>);

impl Outward {
    fn spawn_waiter(self, told: std::sync::mpsc::Sender<()>) {
        std::thread::spawn(move || {
            let _ = self.0.join();
            drop(told);
        });
    }
}

/// Two threads between stdio and a socket: a pipe or socket that ssh gave us may not be made non-blocking, since it may be
/// shared with others.
fn bridge(socket: StdUnixStream, stdin_ended: impl FnOnce() + Send + 'static) -> std::io::Result<Outward> {
    let inward = socket.try_clone()?;
    std::thread::Builder::new().name("viaduct-stdin".into()).spawn(move || {
        let _ = copy(std::io::stdin().lock(), &inward);
        let _ = inward.shutdown(Shutdown::Write);
        stdin_ended();
    })?;
    let outward = std::thread::Builder::new().name("viaduct-stdout".into()).spawn(move || {
        let _ = copy(&socket, std::io::stdout().lock());
    })?;
    Ok(Outward(outward))
}

fn copy(mut from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => {
                to.write_all(&buffer[..read])?;
                to.flush()?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
