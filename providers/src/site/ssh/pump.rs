//! Carries one command's bytes between its channel and us until it ends, is not wanted any more, or is lost.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::sync::CancellationToken;

use super::connect::Begun;
use crate::site::output::{CHUNK_BYTES_MAX, Chunk};
use crate::site::script;

/// How often the far side hears that we live; well below what it waits for.
const BEAT: Duration = Duration::from_secs(10);
const SIGN: &[u8] = b".";
/// Longest wait before we look whether the command is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// Wait of a reader whose consumer is slow.
const SLOW: Duration = Duration::from_millis(10);
/// libssh2's number for "would block".
const EAGAIN: i32 = -37;

/// Blocks until the command has ended, and says how as the last chunk.
pub(super) fn carry(begun: Begun, feed: &[u8], to: &Sender<Chunk>, token: &CancellationToken) {
    let mut pump =
        Pump { begun, to, token, waiting: None, beat: Instant::now(), buffer: vec![0; CHUNK_BYTES_MAX] };
    let status = pump.feed(feed).and_then(|()| pump.listen());
    drop(pump);
    if !token.is_cancelled() {
        let _ = to.blocking_send(Chunk::Exit(status.unwrap_or(None)));
    }
}

/// The connection is gone, or the command is not wanted any more.
struct Lost;

struct Pump<'a> {
    begun: Begun,
    to: &'a Sender<Chunk>,
    token: &'a CancellationToken,
    /// Read but not yet taken: nothing more is read until it is.
    waiting: Option<Chunk>,
    beat: Instant,
    buffer: Vec<u8>,
}

impl Pump<'_> {
    /// Nothing is read meanwhile: libssh2 cannot send anything else while a packet is half out. The script reads
    /// its whole input before it starts the command, so neither side waits for the other.
    fn feed(&mut self, mut feed: &[u8]) -> Result<(), Lost> {
        while !feed.is_empty() {
            self.wanted()?;
            match self.begun.channel.write(feed) {
                Ok(n) => feed = &feed[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait(),
                // The script has ended early: what it said and its status come from reading.
                Err(_) if self.begun.channel.eof() => return Ok(()),
                Err(_) => return Err(Lost),
            }
        }
        self.beat = Instant::now();
        Ok(())
    }

    fn listen(&mut self) -> Result<Option<i32>, Lost> {
        loop {
            self.wanted()?;
            let moved = self.hand_over() | (self.waiting.is_none() && (self.read(0)? || self.read(1)?));
            self.beat()?;
            if self.waiting.is_none() && self.begun.channel.eof() && self.closed()? {
                return Ok(self.status());
            }
            match (moved, &self.waiting) {
                (true, _) => (),
                (false, Some(_)) => std::thread::sleep(SLOW),
                (false, None) => self.wait(),
            }
        }
    }

    fn wanted(&self) -> Result<(), Lost> {
        if self.token.is_cancelled() { Err(Lost) } else { Ok(()) }
    }

    fn hand_over(&mut self) -> bool {
        let Some(chunk) = self.waiting.take() else { return false };
        match self.to.try_send(chunk) {
            Ok(()) => true,
            Err(TrySendError::Full(chunk)) => {
                self.waiting = Some(chunk);
                false
            }
            Err(TrySendError::Closed(_)) => true,
        }
    }

    /// 0 is stdout, 1 is stderr.
    fn read(&mut self, stream: i32) -> Result<bool, Lost> {
        match self.begun.channel.stream(stream).read(&mut self.buffer) {
            Ok(0) => Ok(false),
            Ok(n) => {
                let bytes = self.buffer[..n].to_vec();
                self.waiting = Some(if stream == 0 { Chunk::Stdout(bytes) } else { Chunk::Stderr(bytes) });
                self.hand_over();
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(Lost),
        }
    }

    fn beat(&mut self) -> Result<(), Lost> {
        if self.beat.elapsed() < BEAT {
            return Ok(());
        }
        match self.begun.channel.write(SIGN) {
            Ok(_) => self.beat = Instant::now(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => (),
            Err(_) if self.begun.channel.eof() => (),
            Err(_) => return Err(Lost),
        }
        Ok(())
    }

    /// Output can end before the command does; the close comes with the status.
    fn closed(&mut self) -> Result<bool, Lost> {
        match self.begun.channel.wait_close() {
            Ok(()) => Ok(true),
            Err(error) if error.code() == ssh2::ErrorCode::Session(EAGAIN) => Ok(false),
            Err(_) => Err(Lost),
        }
    }

    fn status(&self) -> Option<i32> {
        let by_signal = self.begun.channel.exit_signal().is_ok_and(|signal| signal.exit_signal.is_some());
        if by_signal { None } else { script::status(self.begun.channel.exit_status().ok()?) }
    }

    fn wait(&self) {
        let mut interest = PollFlags::IN;
        if matches!(
            self.begun.session.block_directions(),
            ssh2::BlockDirections::Outbound | ssh2::BlockDirections::Both
        ) {
            interest |= PollFlags::OUT;
        }
        let look = Timespec { tv_sec: 0, tv_nsec: LOOK.as_nanos() as _ };
        let _ = rustix::event::poll(&mut [PollFd::new(&self.begun.stream, interest)], Some(&look));
    }
}
