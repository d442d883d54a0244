//! A disk that comes on stdin or goes to stdout. A stream has no holes, cannot be read twice, and does not tell its size: where
//! one of these matters it is laid down first, in a spool file that is gone with us.

use super::Source;
use super::file::FileSource;
use crate::blocks::zero_runs;
use crate::error::{Error, Result};
use crate::limits::HOLE_GRAIN;
use crate::private_dir::PrivateDir;
use async_trait::async_trait;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::{AsFd, IntoRawFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

const PIECE: usize = 1 << 20;

/// The disk on stdin. One that is a file is read as a file; a stream of known size as it comes; any other is laid down in a
/// directory first: `spool`, $TMPDIR, or /var/tmp. Blocks.
pub fn open_stdin(size: Option<u64>, spool: Option<&Path>) -> Result<Box<dyn Source>> {
    let fail = |error| Error::io("read", "stdin", error);
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?;
    let mut stdin = File::from(stdin);
    let kind = stdin.metadata().map_err(fail)?.file_type();
    if (kind.is_file() || kind.is_block_device()) && stdin.stream_position().map_err(fail)? == 0 {
        let file = FileSource::open(Path::new("/proc/self/fd/0"))?;
        let found = Source::size(&file);
        return match size {
            Some(size) if size != found => Err(Error::usage(
                format!("--size {size}"),
                format!("stdin is a file of {found} bytes"),
                "leave --size away",
            )),
            _ => Ok(Box::new(file)),
        };
    }
    match size {
        Some(size) => Ok(Box::new(StreamSource::new(Box::new(stdin), size))),
        None => Ok(Box::new(lay_down(&mut stdin, spool)?)),
    }
}

/// Where a disk may be laid down if nobody says where: not in /tmp, which often is memory.
pub fn spool_dir(spool: Option<&Path>) -> PathBuf {
    let named = spool.map(Path::to_owned).or_else(|| std::env::var_os("TMPDIR").map(PathBuf::from));
    named.unwrap_or_else(|| PathBuf::from("/var/tmp"))
}

/// Reads a stream to its end into a file without a name, zeros as holes.
fn lay_down(stream: &mut impl Read, spool: Option<&Path>) -> Result<FileSource> {
    let dir = spool_dir(spool);
    let fail = |verb| {
        let what = format!("the spool file in {}", dir.display());
        move |error| Error::io(verb, what.clone(), error)
    };
    let private = PrivateDir::within(&dir).map_err(fail("create"))?;
    let path = private.path().join("disk.raw");
    let mut options = File::options();
    let file =
        options.read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(fail("create"))?;
    // From here on only we can reach it, and it ends with us, however we end.
    drop(private);
    let (mut at, mut piece) = (0, vec![0; PIECE]);
    loop {
        let read = fill(stream, &mut piece).map_err(|error| Error::io("read", "stdin", error))?;
        for (run, zero) in zero_runs(&piece[..read], HOLE_GRAIN) {
            if !zero {
                file.write_all_at(&piece[run.clone()], at + run.start as u64).map_err(fail("write"))?;
            }
        }
        at += read as u64;
        if read < piece.len() {
            break;
        }
    }
    file.set_len(at).map_err(fail("write"))?;
    // It is opened by its number, now and whenever it is looked at again: the number stays taken as long as we live.
    FileSource::open(Path::new(&format!("/proc/self/fd/{}", file.into_raw_fd())))
}

/// Reads until the buffer is full or the stream ends.
fn fill(stream: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Bytes as they come. Whoever wants later ones waits for those who want earlier ones.
pub struct StreamSource {
    size: u64,
    state: Mutex<State>,
    moved: Condvar,
}

struct State {
    stream: Box<dyn Read + Send>,
    at: u64,
    broken: bool,
}

impl std::fmt::Debug for StreamSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StreamSource").field("size", &self.size).finish_non_exhaustive()
    }
}

impl StreamSource {
    pub fn new(stream: Box<dyn Read + Send>, size: u64) -> StreamSource {
        let state = Mutex::new(State { stream, at: 0, broken: false });
        StreamSource { size, state, moved: Condvar::new() }
    }
}

fn wrong(why: String) -> Error {
    Error::Stream { why }
}

#[async_trait]
impl Source for StreamSource {
    fn name(&self) -> String {
        "stdin".into()
    }

    fn size(&self) -> u64 {
        self.size
    }

    async fn next_data(&self, from: u64) -> Result<Option<Range<u64>>> {
        Ok((from < self.size).then_some(from..self.size))
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let early = |state: &mut State| state.at < offset && !state.broken;
        let waited = self.moved.wait_while(state, early);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.broken {
            return Err(wrong(format!("it ended at byte {}", state.at)));
        }
        if state.at > offset {
            return Err(wrong(format!("byte {offset} is wanted again, and it comes only once")));
        }
        let read = fill(&mut *state.stream, buffer);
        let outcome = match read {
            Ok(read) => {
                state.at += read as u64;
                state.broken = read < buffer.len();
                match state.broken {
                    true => Err(wrong(format!("it ended at byte {} of {}", state.at, self.size))),
                    false => Ok(()),
                }
            }
            Err(error) => {
                state.broken = true;
                Err(Error::io("read", "stdin", error))
            }
        };
        self.moved.notify_all();
        outcome
    }

    fn reads_once(&self) -> bool {
        true
    }

    async fn check_unchanged(&self) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let more = fill(&mut *state.stream, &mut [0]);
        match more.map_err(|error| Error::io("read", "stdin", error))? {
            0 => Ok(()),
            _ => Err(wrong(format!("it goes on after the {} bytes that --size said", self.size))),
        }
    }
}

/// Stdout without the buffer that ends lines.
pub fn raw_stdout() -> Result<File> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    stdout.map(File::from).map_err(|error| Error::io("open", "stdout", error))
}

/// A place for a disk that is to go to stdout when it is verified. Removed when dropped.
#[derive(Debug)]
pub struct Spool {
    dir: PrivateDir,
}

impl Spool {
    /// In `dir`, $TMPDIR, or /var/tmp.
    pub fn new(dir: Option<&Path>) -> Result<Spool> {
        let dir = spool_dir(dir);
        let made = PrivateDir::within(&dir);
        let what = || format!("a spool in {}", dir.display());
        Ok(Spool { dir: made.map_err(|error| Error::io("create", what(), error))? })
    }

    pub fn disk(&self) -> PathBuf {
        self.dir.path().join("disk.raw")
    }

    /// Writes the whole disk to stdout, and takes its room back behind itself. Blocks.
    pub fn pour(&self) -> Result<()> {
        let path = self.disk();
        let fail = |error| Error::io("read", path.display(), error);
        let mut file = File::options().read(true).write(true).open(&path).map_err(fail)?;
        let (mut out, mut piece, mut at) = (raw_stdout()?, vec![0; PIECE], 0);
        file.seek(SeekFrom::Start(0)).map_err(fail)?;
        loop {
            let read = fill(&mut file, &mut piece).map_err(fail)?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&piece[..read]).map_err(|error| Error::io("write", "stdout", error))?;
            // Where that cannot be done, the room is taken until the end.
            let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            let _ = rustix::fs::fallocate(&file, flags, at, read as u64);
            at += read as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn source(bytes: &'static [u8], size: u64) -> StreamSource {
        StreamSource::new(Box::new(bytes), size)
    }

    #[test]
    fn readers_get_their_turn_whatever_order_they_come_in() {
        let source = source(b"abcdef", 6);
        std::thread::scope(|scope| {
            let readers: Vec<_> = [4u64, 2, 0]
                .map(|offset| {
                    let source = &source;
                    scope.spawn(move || {
                        let mut piece = [0; 2];
                        block_on(source.read(offset, &mut piece)).unwrap();
                        piece
                    })
                })
                .into_iter()
                .collect();
            let pieces: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
            assert_eq!(pieces, [*b"ef", *b"cd", *b"ab"]);
        });
        block_on(source.check_unchanged()).unwrap();
    }

    #[test]
    fn a_stream_of_another_size_is_told() {
        let mut piece = [0; 4];
        let short = source(b"abc", 8);
        let error = block_on(short.read(0, &mut piece)).unwrap_err();
        assert!(error.to_string().contains("byte 3 of 8"), "{error}");
        // Nobody waits for what does not come.
        assert!(block_on(short.read(4, &mut piece)).is_err());
        let long = source(b"abcde", 4);
        block_on(long.read(0, &mut piece)).unwrap();
        assert_eq!(block_on(long.check_unchanged()).unwrap_err().code(), "stream");
    }

    #[test]
    fn nothing_comes_twice() {
        let source = source(b"abcd", 4);
        let mut piece = [0; 2];
        block_on(source.read(0, &mut piece)).unwrap();
        let error = block_on(source.read(0, &mut piece)).unwrap_err();
        assert!(!error.retryable() && error.remedy().contains("--spool"), "{}", error.remedy());
    }
}
