//! What comes back from a command, bounded: chunks from whoever runs it, turned into lines or collected.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Finished, LINE_BYTES_MAX, LINES_MAX, Line, OUTPUT_BYTES_MAX, Running};

/// Chunks waiting to be taken; the command waits when it is full.
pub(super) const CHUNKS_MAX: usize = 16;
pub(super) const CHUNK_BYTES_MAX: usize = 32 * 1024;

#[derive(Debug)]
pub(super) enum Chunk {
    Stdout(Vec<u8>),
    Stderr(Vec<u8>),
    /// The last. The status of the command.
    Exit(Option<i32>),
}

/// A command that runs, as its runner hands it over.
#[derive(Debug)]
pub(super) struct Raw {
    pub chunks: mpsc::Receiver<Chunk>,
    pub kill: DropGuard,
}

impl Raw {
    /// The two ends: the token is cancelled when the [`Raw`] is dropped.
    pub fn channel() -> (mpsc::Sender<Chunk>, CancellationToken, Self) {
        let (send, chunks) = mpsc::channel(CHUNKS_MAX);
        let token = CancellationToken::new();
        (send, token.clone(), Self { chunks, kill: token.drop_guard() })
    }

    pub fn into_lines(self) -> Running {
        let Self { mut chunks, kill } = self;
        let (send, lines) = mpsc::channel(LINES_MAX);
        tokio::spawn(async move {
            let (mut stdout, mut stderr) = (Splitter::default(), Splitter::default());
            let mut ready = VecDeque::new();
            let mut exited = false;
            while !exited {
                match chunks.recv().await {
                    Some(Chunk::Stdout(bytes)) => ready.extend(stdout.push(&bytes).map(Line::Stdout)),
                    Some(Chunk::Stderr(bytes)) => ready.extend(stderr.push(&bytes).map(Line::Stderr)),
                    last => {
                        ready.extend(stdout.rest().map(Line::Stdout));
                        ready.extend(stderr.rest().map(Line::Stderr));
                        ready.push_back(Line::Exit(match last {
                            Some(Chunk::Exit(status)) => status,
                            _ => None,
                        }));
                        exited = true;
                    }
                }
                for line in ready.drain(..) {
                    if send.send(line).await.is_err() {
                        return;
                    }
                }
            }
        });
        Running { lines, _kill: kill }
    }

    /// Reads to the end. What is over the bound is read and dropped, so that the command can end.
    pub async fn collect(mut self) -> (Finished, Option<i32>) {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let status = loop {
            match self.chunks.recv().await {
                Some(Chunk::Stdout(bytes)) => keep(&mut stdout, &bytes),
                Some(Chunk::Stderr(bytes)) => keep(&mut stderr, &bytes),
                Some(Chunk::Exit(status)) => break status,
                None => break None,
            }
        };
        (Finished { stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }, status)
    }
}

fn keep(kept: &mut Vec<u8>, bytes: &[u8]) {
    let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len());
    kept.extend(&bytes[..bytes.len().min(room)]);
}

/// Bytes to lines of at most [`LINE_BYTES_MAX`].
#[derive(Debug, Default)]
struct Splitter {
    line: Vec<u8>,
    begun: bool,
}

impl Splitter {
    fn push<'a>(&'a mut self, bytes: &'a [u8]) -> impl Iterator<Item = String> + 'a {
        bytes.split_inclusive(|byte| *byte == b'\n').filter_map(|piece| {
            let (text, ended) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let room = LINE_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend(&text[..text.len().min(room)]);
            self.begun = true;
            ended.then(|| self.take())
        })
    }

    /// What has no newline at the end.
    fn rest(&mut self) -> Option<String> {
        self.begun.then(|| self.take())
    }

    fn take(&mut self) -> String {
        self.begun = false;
        let mut line = std::mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// The last lines of what a command said on stderr, for its error.
pub(super) fn tail(stderr: &str) -> String {
    const TAIL_CHARS: usize = 600;
    let text = stderr.trim();
    let skip = text.chars().count().saturating_sub(TAIL_CHARS);
    let tail: String = text.chars().skip(skip).collect();
    if tail.is_empty() { "it said nothing".to_owned() } else { tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_back_however_they_were_cut() {
        let text = b"one\ntwo\r\n\nthree";
        for cut in 0..text.len() {
            let mut splitter = Splitter::default();
            let mut lines: Vec<_> = splitter.push(&text[..cut]).collect();
            lines.extend(splitter.push(&text[cut..]));
            lines.extend(splitter.rest());
            assert_eq!(lines, ["one", "two", "", "three"], "cut at {cut}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_at_the_bound() {
        let mut splitter = Splitter::default();
        for _ in 0..3 {
            assert_eq!(splitter.push(&vec![b'x'; LINE_BYTES_MAX]).count(), 0);
        }
        assert_eq!(
            splitter.push(b"\nnext\n").map(|line| line.len()).collect::<Vec<_>>(),
            [LINE_BYTES_MAX, 4]
        );
    }
}
