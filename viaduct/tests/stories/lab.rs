//! What the stories have in common: a directory with two identities, disks, and running ends that are ended with the test.

use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use viaduct::{MemoryDisk, OpenTarget, Target};

/// Long enough for a loaded machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(90);
pub const MIB: u64 = 1 << 20;

pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_viaduct"))
}

/// Whether a tool is there. Its absence is loud; in CI it is a failure.
pub fn have(tool: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {tool}")]).output().unwrap().status.success();
    assert!(found || std::env::var_os("CI").is_none(), "{tool} is missing");
    if !found {
        eprintln!("SKIPPED: {tool} is missing");
    }
    found
}

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub sender: String,
    pub receiver: String,
}

impl Lab {
    pub fn new() -> Lab {
        let dir = tempfile::tempdir().unwrap();
        let [sender, receiver] = ["sender.pem", "receiver.pem"].map(|name| identity(&dir.path().join(name)));
        Lab { dir, sender, receiver }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn receive(&self, to: &str, more: &[&str]) -> End {
        let mut command = binary();
        command.args(["receive", "--report", "json", "--die-with-stdin", "--to", to]);
        command.arg("--identity").arg(self.path("receiver.pem"));
        for default in [["--listen", "127.0.0.1:0"], ["--peer", &self.sender]] {
            if !more.contains(&default[0]) {
                command.args(default);
            }
        }
        End::start(command.args(more))
    }

    pub fn send(&self, from: &str, address: &str, more: &[&str]) -> End {
        let mut command = binary();
        command
            .args(["send", "--report", "json", "--die-with-stdin", "--from", from, "--to"])
            .arg(format!("tls://{address}"));
        command.arg("--identity").arg(self.path("sender.pem"));
        if !more.contains(&"--peer") {
            command.args(["--peer", &self.receiver]);
        }
        End::start(command.args(more))
    }

    /// One whole transfer; what both ends reported last.
    pub fn carry(&self, from: &str, to: &str) -> (Value, Value) {
        let receiver = self.receive(to, &[]);
        let sent = self.send(from, &receiver.address(), &[]).success();
        (sent, receiver.success())
    }
}

/// Opens this one disk, however often.
pub fn opens(target: &MemoryDisk) -> OpenTarget {
    let target = target.clone();
    Box::new(move |_| {
        let target = target.clone();
        Box::pin(async move { Ok(Box::new(target) as Box<dyn Target>) })
    })
}

pub fn identity(path: &Path) -> String {
    let made = binary().arg("identity").arg(path).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

pub fn digest(disk: &str) -> String {
    let read = binary().args(["digest", "--from", disk]).output().unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    String::from_utf8(read.stdout).unwrap().trim().to_owned()
}

/// A running process that reports. Killed when dropped.
pub struct End {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    lines: mpsc::Receiver<Value>,
    pub seen: Vec<Value>,
}

/// How a process ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub last: Value,
    /// All it reported.
    pub seen: Vec<Value>,
    pub stderr: String,
}

impl End {
    pub fn start(command: &mut Command) -> End {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        End { stdin: child.stdin.take(), child, lines, seen: Vec::new() }
    }

    /// Reads the report until an event is what is waited for.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(event) => {
                    self.seen.push(event.clone());
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(error) => {
                    let mut stderr = String::new();
                    let _ = self.child.kill();
                    let _ = self.child.stderr.take().unwrap().read_to_string(&mut stderr);
                    panic!("{error} while waiting; seen {:?}; stderr {stderr}", self.seen.last());
                }
            }
        }
    }

    pub fn until_event(&mut self, name: &str) -> Value {
        self.until(|event| event["event"] == name)
    }

    /// Waits until so many bytes were settled.
    pub fn until_done(&mut self, bytes: u64) {
        self.until(|event| event["bytes_done"].as_u64().is_some_and(|done| done >= bytes));
    }

    pub fn address(&self) -> String {
        let event = self.lines.recv_timeout(PATIENCE).unwrap_or(Value::Null);
        match event["address"].as_str() {
            Some(address) => address.to_owned(),
            None => panic!("the receiver does not listen: {event}"),
        }
    }

    /// A number that the kernel tells of it in this file of /proc, while it lives.
    pub fn told_by_kernel(&self, file: &str, name: &str) -> Option<u64> {
        let told = std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).ok()?;
        let rest = told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse().ok()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn end(mut self) -> Ended {
        let mut stderr = String::new();
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; seen {:?}", self.seen.last());
            std::thread::sleep(Duration::from_millis(10));
        };
        let _ = self.child.stderr.take().unwrap().read_to_string(&mut stderr);
        self.seen.extend(self.lines.iter());
        let seen = std::mem::take(&mut self.seen);
        Ended { code, last: seen.last().cloned().unwrap_or(Value::Null), seen, stderr }
    }

    /// What it reported last, which must be success.
    pub fn success(self) -> Value {
        let ended = self.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert_eq!(ended.last["event"], "finished", "{ended:?}");
        assert_eq!(ended.last["verified"], true);
        ended.last
    }

    /// The failure with this code, told in the report, on stderr and by the exit code.
    pub fn failure(self, code: &str) -> Value {
        let ended = self.end();
        assert_eq!(ended.last["event"], "failed", "{ended:?}");
        assert_eq!(ended.last["code"], code, "{ended:?}");
        let exit = if ended.last["retryable"] == true { 75 } else { 1 };
        assert_eq!(ended.code, Some(exit), "{ended:?}");
        assert!(ended.stderr.contains("remedy:"), "{ended:?}");
        assert!(!ended.last["remedy"].as_str().unwrap().is_empty());
        ended.last
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that do not get smaller, the same for the same seed.
pub fn noise(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut bytes);
    bytes
}

/// The binary, reporting as programs want it.
pub fn viaduct(words: &[&str]) -> Command {
    let mut command = binary();
    command.args(&words[..1]).args(["--report", "json"]).args(&words[1..]);
    command
}

/// A sparse file of `size` with noise at each (offset, length).
pub fn disk(path: &Path, size: u64, pieces: &[(u64, u64)]) -> String {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (number, (offset, length)) in pieces.iter().enumerate() {
        file.write_all_at(&noise(number as u64, *length), *offset).unwrap();
    }
    file.sync_all().unwrap();
    path.display().to_string()
}

/// Whether two files hold the same. Where both have holes, nobody has to look.
pub fn same(a: &Path, b: &Path) -> bool {
    let files = [a, b].map(|path| File::open(path).unwrap());
    // A device has its size where it ends.
    let sizes = files.each_ref().map(|mut file| file.seek(SeekFrom::End(0)).unwrap());
    let size = sizes[0];
    let (mut at, mut pieces) = (0, [vec![0; MIB as usize], vec![0; MIB as usize]]);
    // Each step is from the next byte of data in either file on.
    let data = |file: &File, at| rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)).unwrap_or(size);
    while at < size {
        at = files.iter().map(|file| data(file, at)).min().unwrap_or(size);
        let length = (size.saturating_sub(at)).min(MIB) as usize;
        for (file, piece) in files.iter().zip(&mut pieces) {
            if file.read_exact_at(&mut piece[..length], at).is_err() {
                return false;
            }
        }
        if pieces[0][..length] != pieces[1][..length] {
            return false;
        }
        at += length as u64;
    }
    sizes[1] == size
}

pub fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Runs a command with this on its stdin.
pub fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let done = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(done.status.success());
    done.stdout
}
