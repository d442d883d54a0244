//! Tokens, as they are kept in a file: names, roles and hashes, never a token itself. The command line adds and revokes while a
//! broker reads: a change holds from the next call on. A token is 244 random bits, so a plain SHA-256 cannot be turned round,
//! and nothing has to be slow about it.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Caller, Role};

/// Tokens at the same time.
pub const TOKENS_MAX: usize = 1_000;
pub const NAME_CHARS_MAX: usize = 64;
/// So that a token is known for one wherever it turns up.
const PREFIX: &str = "fct_";
const FILE_BYTES_MAX: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot {what} the tokens in {path}: see that this user owns the state directory", path = path.display())]
    File {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "the tokens in {path} are not understood: restore the file, or remove it and make new tokens",
        path = path.display()
    )]
    NotUnderstood {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error("there is a token `{0}` already: revoke it first, or choose another name")]
    Taken(String),
    #[error("there is no token `{0}`: see `fluidcloud token list`")]
    Unknown(String),
    #[error(
        "`{0}` is no name for a token: use letters, digits, `-`, `_`, `.` and `@`, at most {NAME_CHARS_MAX} of them"
    )]
    Name(String),
    #[error("there are {TOKENS_MAX} tokens already: revoke some")]
    Full,
}

/// What is kept of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    pub role: Role,
    /// SHA-256 of the token, in hexadecimal.
    sha256: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
}

impl Entry {
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }
}

/// A token as it is told once.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    fn new() -> Self {
        Self(format!("{PREFIX}{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[derive(Debug)]
pub struct Tokens {
    path: PathBuf,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The file as it was read; `None` before that, and where there is none.
    file: Option<Stamp>,
    entries: Vec<Entry>,
}

/// Another file, or another time, is another content: changes replace the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, u64, i64, i64);

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self(metadata.ino(), metadata.size(), metadata.mtime(), metadata.mtime_nsec())
    }
}

impl Tokens {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), known: Mutex::default() }
    }

    /// Oldest first.
    pub fn all(&self) -> Result<Vec<Entry>, Error> {
        self.with_known(|entries| entries.to_vec())
    }

    pub fn make(&self, name: &str, role: Role, expires_at: Option<OffsetDateTime>) -> Result<Secret, Error> {
        self.change(|entries| {
            if entries.iter().any(|entry| entry.name == name) {
                return Err(Error::Taken(name.to_owned()));
            }
            add(entries, name, role, expires_at)
        })
    }

    /// Whether there was one or not, there is a new one now.
    pub fn renew(&self, name: &str, role: Role) -> Result<Secret, Error> {
        self.change(|entries| {
            entries.retain(|entry| entry.name != name);
            add(entries, name, role, None)
        })
    }

    pub fn revoke(&self, name: &str) -> Result<(), Error> {
        self.change(|entries| {
            let before = entries.len();
            entries.retain(|entry| entry.name != name);
            if entries.len() == before { Err(Error::Unknown(name.to_owned())) } else { Ok(()) }
        })
    }

    /// Whether it lets anybody in now.
    pub fn knows(&self, token: &str) -> Result<bool, Error> {
        Ok(self.caller(token, OffsetDateTime::now_utc())?.is_some())
    }

    pub(super) fn caller(&self, token: &str, now: OffsetDateTime) -> Result<Option<Caller>, Error> {
        let hash = hash(token);
        self.with_known(|entries| {
            let entry = entries.iter().find(|entry| entry.sha256 == hash && !entry.is_over(now))?;
            Some(Caller::by_token(&entry.name, entry.role, &entry.sha256))
        })
    }

    pub(super) fn still(&self, caller: &Caller, now: OffsetDateTime) -> Result<bool, Error> {
        self.with_known(|entries| {
            entries.iter().any(|entry| *entry.sha256 == *caller.sha256 && !entry.is_over(now))
        })
    }

    fn with_known<T>(&self, look: impl FnOnce(&[Entry]) -> T) -> Result<T, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = match fs::metadata(&self.path) {
            Ok(metadata) => Some(Stamp::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.file("read", error)),
        };
        if known.file != now {
            *known = Known { entries: self.read()?, file: now };
        }
        Ok(look(&known.entries))
    }

    fn read(&self) -> Result<Vec<Entry>, Error> {
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
                return Err(self.file("read", io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            _ => (),
        }
        match fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|cause| Error::NotUnderstood { path: self.path.clone(), cause }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.file("read", error)),
        }
    }

    /// One at a time, of whatever process; seen whole or not at all.
    fn change<T>(&self, work: impl FnOnce(&mut Vec<Entry>) -> Result<T, Error>) -> Result<T, Error> {
        let cannot = |error| self.file("change", error);
        let lock = private(&beside(&self.path, "lock")).map_err(cannot)?;
        lock.lock().map_err(cannot)?;
        let mut entries = self.read()?;
        let done = work(&mut entries)?;
        let text = serde_json::to_vec_pretty(&entries)
            .map_err(|cause| Error::NotUnderstood { path: self.path.clone(), cause })?;
        let new = beside(&self.path, "new");
        let _ = fs::remove_file(&new);
        let written = private(&new).and_then(|mut file| {
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)?;
            // Also after a power cut, what was revoked is revoked.
            File::open(self.path.parent().unwrap_or(Path::new("/")))?.sync_all()
        });
        written.map_err(cannot)?;
        Ok(done)
    }

    fn file(&self, what: &'static str, cause: io::Error) -> Error {
        Error::File { what, path: self.path.clone(), cause }
    }
}

fn add(
    entries: &mut Vec<Entry>,
    name: &str,
    role: Role,
    expires_at: Option<OffsetDateTime>,
) -> Result<Secret, Error> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(allowed) {
        return Err(Error::Name(name.chars().take(NAME_CHARS_MAX).collect()));
    }
    if entries.len() >= TOKENS_MAX {
        return Err(Error::Full);
    }
    let secret = Secret::new();
    let created_at = OffsetDateTime::now_utc();
    entries.push(Entry {
        name: name.to_owned(),
        role,
        sha256: hash(secret.reveal()),
        created_at,
        expires_at,
    });
    let names: BTreeSet<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    debug_assert_eq!(names.len(), entries.len(), "each name once");
    Ok(secret)
}

fn hash(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

/// Of the directory's owner, for whom it may be made by root.
fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let owner = fs::metadata(path.parent().unwrap_or(Path::new("/")))?;
    if file.metadata()?.uid() != owner.uid() {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens, Tokens) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        (dir, Tokens::at(&path), Tokens::at(&path))
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    #[test]
    fn a_token_is_known_by_its_hash_and_nothing_else_of_it_is_kept() {
        let (_dir, made, seen) = tokens();
        let secret = made.make("ops", Role::Operator, None).unwrap();
        let caller = seen.caller(secret.reveal(), now()).unwrap().unwrap();
        assert_eq!((&*caller.name, caller.role), ("ops", Role::Operator));
        let kept = fs::read_to_string(&made.path).unwrap();
        assert!(!kept.contains(secret.reveal()) && !kept.contains(&secret.reveal()[PREFIX.len()..]));
        assert!(!format!("{secret:?}").contains(secret.reveal()));
        for wrong in ["", "fct_", &secret.reveal()[1..], "ops"] {
            assert_eq!(seen.caller(wrong, now()).unwrap(), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_revoked_by_another_process_is_refused_at_the_next_call() {
        let (_dir, made, seen) = tokens();
        let secret = made.make("ops", Role::Viewer, None).unwrap();
        let caller = seen.caller(secret.reveal(), now()).unwrap().unwrap();
        assert!(seen.still(&caller, now()).unwrap());
        made.revoke("ops").unwrap();
        made.make("ops", Role::Viewer, None).unwrap();
        assert_eq!(seen.caller(secret.reveal(), now()).unwrap(), None);
        assert!(!seen.still(&caller, now()).unwrap());
        made.revoke("ops").unwrap();
        assert!(matches!(made.revoke("ops"), Err(Error::Unknown(_))));
    }

    #[test]
    fn a_token_ends_when_its_time_is_over() {
        let (_dir, made, _) = tokens();
        let end = now() + time::Duration::minutes(5);
        let secret = made.make("ci", Role::Admin, Some(end)).unwrap();
        assert!(made.caller(secret.reveal(), end - time::Duration::seconds(1)).unwrap().is_some());
        assert_eq!(made.caller(secret.reveal(), end).unwrap(), None);
    }

    #[test]
    fn a_name_is_given_once_and_renewed_only_on_purpose() {
        let (_dir, made, _) = tokens();
        let first = made.make("local", Role::Admin, None).unwrap();
        assert!(matches!(made.make("local", Role::Viewer, None), Err(Error::Taken(_))));
        let second = made.renew("local", Role::Admin).unwrap();
        assert_eq!(made.caller(first.reveal(), now()).unwrap(), None);
        assert!(made.caller(second.reveal(), now()).unwrap().is_some());
        assert_eq!(made.all().unwrap().len(), 1);
        for name in ["", "a b", "a\n", &"x".repeat(NAME_CHARS_MAX + 1)] {
            assert!(matches!(made.make(name, Role::Viewer, None), Err(Error::Name(_))), "{name:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_understood_lets_nobody_in() {
        let (_dir, made, seen) = tokens();
        let secret = made.make("ops", Role::Admin, None).unwrap();
        fs::write(&made.path, "[{\"name\": ").unwrap();
        assert!(matches!(seen.caller(secret.reveal(), now()), Err(Error::NotUnderstood { .. })));
    }
}
