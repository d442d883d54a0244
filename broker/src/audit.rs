//! Who changed what: one line of JSON before a mutating call is passed on, one with its outcome after it. A call that cannot be
//! written down is not made.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

/// A file that has grown so far is put aside, under its name with the time, and a new one begun. None is ever removed.
pub const FILE_BYTES_MAX: u64 = 64 << 20;
/// More than any line is long.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Kept in memory for who asks.
pub const RECENT_MAX: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditLine {
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(with = "String")]
    pub at: OffsetDateTime,
    /// The same in both lines of a call.
    pub call: Uuid,
    /// The name that the token was made for.
    pub who: String,
    pub role: String,
    /// Where the call came from.
    pub from: String,
    pub method: String,
    /// With its query.
    pub path: String,
    /// The HTTP status; absent in the line before the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<u16>,
}

#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    bytes: u64,
    recent: VecDeque<Arc<AuditLine>>,
}

impl Audit {
    /// What was written before is among the recent ones.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let mut recent = VecDeque::new();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file()) {
            let file = File::open(&path)?.take(FILE_BYTES_MAX + LINE_BYTES_MAX);
            for line in BufReader::new(file).lines().map_while(Result::ok) {
                // Half a line is all that a crash leaves behind.
                let Ok(line) = serde_json::from_str(&line) else { continue };
                keep(&mut recent, line);
            }
        }
        let (file, bytes) = append(&path)?;
        Ok(Self { path, inner: Mutex::new(Inner { file, bytes, recent }) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Durable when it returns.
    pub fn note(&self, line: AuditLine) -> io::Result<()> {
        let mut text = serde_json::to_vec(&line).map_err(io::Error::other)?;
        text.push(b'\n');
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.bytes >= FILE_BYTES_MAX {
            self.put_aside(&mut inner, line.at)?;
        }
        if let Err(error) = inner.file.write_all(&text).and_then(|()| inner.file.sync_data()) {
            // Half a line would spoil the next one.
            let _ = inner.file.set_len(inner.bytes);
            return Err(error);
        }
        inner.bytes += text.len() as u64;
        keep(&mut inner.recent, line);
        Ok(())
    }

    /// Newest first.
    pub fn recent(&self) -> Vec<Arc<AuditLine>> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.recent.iter().rev().cloned().collect()
    }

    fn put_aside(&self, inner: &mut Inner, now: OffsetDateTime) -> io::Result<()> {
        let mut aside = self.path.as_os_str().to_owned();
        aside.push(format!(".{}", now.unix_timestamp_nanos()));
        match fs::rename(&self.path, PathBuf::from(aside)) {
            // It was put aside, and there was no room for a new one then.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            done => done?,
        }
        (inner.file, inner.bytes) = append(&self.path)?;
        Ok(())
    }
}

fn keep(recent: &mut VecDeque<Arc<AuditLine>>, line: AuditLine) {
    if recent.len() == RECENT_MAX {
        recent.pop_front();
    }
    recent.push_back(Arc::new(line));
}

/// What was cut off by a crash does not swallow what comes after it.
fn append(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new().read(true).create(true).append(true).mode(0o600).open(path)?;
    let bytes = file.metadata()?.len();
    if bytes > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok((file, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, outcome: Option<u16>) -> AuditLine {
        AuditLine {
            at: OffsetDateTime::now_utc(),
            call: Uuid::new_v4(),
            who: "ops".into(),
            role: "operator".into(),
            from: "127.0.0.1:1".into(),
            method: "POST".into(),
            path: path.into(),
            outcome,
        }
    }

    #[test]
    fn lines_outlive_the_process_and_one_that_was_cut_off_spoils_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        Audit::open(&path).unwrap().note(line("/a", None)).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"{\"at\": \"20").unwrap();
        let audit = Audit::open(&path).unwrap();
        audit.note(line("/b", Some(202))).unwrap();
        let paths: Vec<String> =
            Audit::open(&path).unwrap().recent().iter().map(|line| line.path.clone()).collect();
        assert_eq!(paths, ["/b", "/a"], "newest first");
    }

    #[test]
    fn a_file_that_has_grown_is_put_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let audit = Audit::open(&path).unwrap();
        audit.note(line("/a", None)).unwrap();
        audit.inner.lock().unwrap().bytes = FILE_BYTES_MAX;
        audit.note(line("/b", None)).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        assert_eq!(audit.recent().len(), 2);
    }
}
