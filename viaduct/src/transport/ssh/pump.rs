//! The thread that owns an ssh session: carries bytes between its channel and a local socket, which is the stream the rest of
//! the viaduct sees. libssh2 is not to be called from two threads, and while one of its packets is half sent nothing else
//! may be sent; both are kept by this one loop.

use super::login::{KEEPALIVE_SECS, Login};
use crate::error::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use ssh2::{BlockDirections, Channel};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::UnixStream;

const BUFFER_BYTES: usize = 256 << 10;
/// What is kept of the far side's stderr.
const WORDS_MAX: usize = 8 << 10;
const TICK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

pub struct Pumped {
    pub stream: UnixStream,
    words: Arc<Mutex<Vec<u8>>>,
    over: std::sync::mpsc::Receiver<()>,
}

impl Pumped {
    /// What the far side said on stderr, once it has ended. Waits a little for that.
    pub fn last_words(&self) -> String {
        let _ = self.over.recv_timeout(Duration::from_secs(2));
        String::from_utf8_lossy(&self.words.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

pub fn start(login: Login, channel: Channel) -> Result<Pumped> {
    let fail = |error| Error::io("open", "a local socket", error);
    let (ours, theirs) = StdUnixStream::pair().map_err(fail)?;
    ours.set_nonblocking(true).map_err(fail)?;
    theirs.set_nonblocking(true).map_err(fail)?;
    login.session.set_blocking(false);
    let words = Arc::new(Mutex::new(Vec::new()));
    let (ended, over) = std::sync::mpsc::channel();
    let mut pump = Pump {
        login,
        channel,
        local: ours,
        out: Buffer::new(),
        inn: Buffer::new(),
        stuck: None,
        local_ended: false,
        eof_sent: false,
        words: words.clone(),
    };
    let spawned = std::thread::Builder::new().name("viaduct-ssh".into()).spawn(move || {
        // However it ends, dropping the local socket tells the other side of it.
        let _ = pump.run();
        let _ = ended.send(());
    });
    spawned.map_err(|error| Error::io("start", "a thread", error))?;
    Ok(Pumped { stream: UnixStream::from_std(theirs).map_err(fail)?, words, over })
}

/// The call that left a packet half sent and must be made again before any other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Write,
    Read,
    ReadWords,
    Eof,
    Keepalive,
}

struct Pump {
    login: Login,
    channel: Channel,
    local: StdUnixStream,
    out: Buffer,
    inn: Buffer,
    stuck: Option<Call>,
    local_ended: bool,
    eof_sent: bool,
    words: Arc<Mutex<Vec<u8>>>,
}

impl Pump {
    fn run(&mut self) -> std::io::Result<()> {
        let mut alive = Instant::now();
        loop {
            let mut moved = self.take_local()?;
            moved |= self.call(Call::Write)?;
            moved |= self.call(Call::Eof)?;
            moved |= self.call(Call::ReadWords)?;
            // Last, since the calls before may have taken data off the line that no poll would tell of any more.
            moved |= self.call(Call::Read)?;
            moved |= self.give_local()?;
            if !moved && self.channel.eof() && self.inn.is_empty() {
                return Ok(());
            }
            if alive.elapsed().as_secs() >= u64::from(KEEPALIVE_SECS) {
                self.call(Call::Keepalive)?;
                alive = Instant::now();
            }
            if !moved {
                self.wait()?;
            }
        }
    }

    /// Makes one of libssh2's calls, unless another one must come first. Whether anything moved.
    fn call(&mut self, call: Call) -> std::io::Result<bool> {
        if self.stuck.is_some_and(|stuck| stuck != call) {
            return Ok(false);
        }
        let done = match call {
            Call::Write if self.out.is_empty() => return Ok(false),
            Call::Write => self.channel.write(self.out.full()).map(|written| self.out.consume(written)),
            Call::Eof if !self.local_ended || self.eof_sent || !self.out.is_empty() => return Ok(false),
            Call::Eof => self.channel.send_eof().map_err(std::io::Error::from).map(|()| {
                self.eof_sent = true;
                true
            }),
            Call::Read if !self.inn.is_empty() || self.channel.eof() => return Ok(false),
            Call::Read => self.channel.read(self.inn.room()).map(|read| self.inn.filled(read)),
            Call::ReadWords => {
                let mut piece = [0; 1024];
                self.channel.stderr().read(&mut piece).map(|read| self.remember(&piece[..read]))
            }
            Call::Keepalive => {
                self.login.session.keepalive_send().map_err(std::io::Error::from).map(|_| true)
            }
        };
        match done {
            Ok(moved) => {
                self.stuck = None;
                Ok(moved)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let half = matches!(
                    self.login.session.block_directions(),
                    BlockDirections::Outbound | BlockDirections::Both
                );
                self.stuck = half.then_some(call);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn take_local(&mut self) -> std::io::Result<bool> {
        if !self.out.is_empty() || self.local_ended {
            return Ok(false);
        }
        match self.local.read(self.out.room()) {
            Ok(0) => {
                self.local_ended = true;
                Ok(true)
            }
            Ok(read) => Ok(self.out.filled(read)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn give_local(&mut self) -> std::io::Result<bool> {
        if self.inn.is_empty() {
            return Ok(false);
        }
        match self.local.write(self.inn.full()) {
            Ok(written) => Ok(self.inn.consume(written)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(false),
            // Nobody reads any more; the far side ends when it finds its stdin closed.
            Err(error) => Err(error),
        }
    }

    fn remember(&mut self, said: &[u8]) -> bool {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend_from_slice(said);
        let excess = words.len().saturating_sub(WORDS_MAX);
        words.drain(..excess);
        !said.is_empty()
    }

    fn wait(&self) -> std::io::Result<()> {
        let mut remote = PollFlags::IN;
        if self.stuck.is_some() || !self.out.is_empty() && self.wants_to_write() {
            remote |= PollFlags::OUT;
        }
        let mut local = PollFlags::empty();
        if self.out.is_empty() && !self.local_ended {
            local |= PollFlags::IN;
        }
        if !self.inn.is_empty() {
            local |= PollFlags::OUT;
        }
        let mut waiting = vec![PollFd::new(&self.login.socket, remote)];
        // A local socket that was closed would wake us for ever.
        if !local.is_empty() {
            waiting.push(PollFd::new(&self.local, local));
        }
        match poll(&mut waiting, Some(&TICK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wants_to_write(&self) -> bool {
        matches!(self.login.session.block_directions(), BlockDirections::Outbound | BlockDirections::Both)
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        // One farewell that may take a moment; the connection closes anyway.
        self.login.session.set_blocking(true);
        self.login.session.set_timeout(1000);
        if self.stuck.is_none() {
            let _ = self.channel.close();
        }
    }
}

/// Bytes on their way in one direction.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    fn new() -> Buffer {
        Buffer { bytes: vec![0; BUFFER_BYTES], start: 0, end: 0 }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn full(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// To be filled only when empty.
    fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    fn filled(&mut self, bytes: usize) -> bool {
        (self.start, self.end) = (0, bytes);
        bytes > 0
    }

    fn consume(&mut self, bytes: usize) -> bool {
        self.start += bytes;
        bytes > 0
    }
}
