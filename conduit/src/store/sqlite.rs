//! The log in one SQLite file: write-ahead log, full sync, rows that triggers keep from being changed. The file says
//! whose it is and of which version; anything else is left alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::ids::RelocationId;
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use super::{Error, FACTS_MAX, Store, Tenure};
use crate::relocation::fact::FACTS_VERSION;
use crate::relocation::{Entry, Fact};

/// "FlCd": marks the file as ours.
const APPLICATION_ID: i64 = 0x466c_4364;
/// How long to wait for another process that writes at this moment.
const BUSY_WAIT: Duration = Duration::from_secs(10);

const SCHEMA: &str = "
CREATE TABLE fact (
    relocation TEXT NOT NULL,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    fact TEXT NOT NULL,
    PRIMARY KEY (relocation, seq)
) STRICT;
CREATE TRIGGER fact_is_not_changed BEFORE UPDATE ON fact
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TRIGGER fact_is_not_removed BEFORE DELETE ON fact
    BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END;
CREATE TABLE tenure (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT;
INSERT INTO tenure VALUES (1, 0);
";

#[derive(Clone, Debug)]
pub struct SqliteStore {
    path: Arc<PathBuf>,
    connection: Arc<Mutex<Connection>>,
}

impl SqliteStore {
    /// Opens the file, or makes it when it is not there. Blocks for some milliseconds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let told = |error| explain(path, "open", error);
        let mut connection = Connection::open(path).map_err(told)?;
        connection.busy_timeout(BUSY_WAIT).map_err(told)?;
        identify(&connection, path)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(told)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(told)?;
        create_schema(&mut connection).map_err(told)?;
        let checked: String =
            connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(told)?;
        if checked != "ok" {
            return Err(Error::Damaged { path: path.display().to_string(), what: checked });
        }
        Ok(Self { path: Arc::new(path.to_owned()), connection: Arc::new(Mutex::new(connection)) })
    }

    /// Runs a piece of work where it may block, in one transaction that is kept only if it succeeds.
    async fn with<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&rusqlite::Transaction<'_>, &Path) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Error> {
        let (path, connection) = (self.path.clone(), self.connection.clone());
        let ran = tokio::task::spawn_blocking(move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate);
            let done = transaction.map_err(Failed::Sqlite).and_then(|transaction| {
                let done = work(&transaction, &path)?;
                transaction.commit()?;
                Ok(done)
            });
            done.map_err(|failed| match failed {
                Failed::Told(error) => error,
                Failed::Sqlite(error) => explain(&path, what, error),
            })
        });
        ran.await.map_err(|cause| Error::Io {
            what,
            path: self.path.display().to_string(),
            cause: Box::new(cause),
        })?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn take_over(&self) -> Result<Tenure, Error> {
        self.with("write", |transaction, _| {
            let number: i64 = transaction.query_row(
                "UPDATE tenure SET number = number + 1 WHERE one = 1 RETURNING number",
                [],
                |row| row.get(0),
            )?;
            Ok(Tenure(number.unsigned_abs()))
        })
        .await
    }

    async fn append(
        &self,
        tenure: Tenure,
        relocation: RelocationId,
        entries: &[Entry],
        expected_seq: u64,
    ) -> Result<(), Error> {
        let entries = entries.to_vec();
        self.with("write", move |transaction, path| {
            let number: i64 = transaction.query_row("SELECT number FROM tenure", [], |row| row.get(0))?;
            if number.unsigned_abs() != tenure.0 {
                return Err(Failed::Told(Error::Fenced));
            }
            let found: i64 = transaction.query_row(
                "SELECT coalesce(max(seq) + 1, 0) FROM fact WHERE relocation = ?1",
                [relocation.to_string()],
                |row| row.get(0),
            )?;
            let found = found.unsigned_abs();
            if found != expected_seq {
                return Err(Failed::Told(Error::Conflict { relocation, expected: expected_seq, found }));
            }
            if found + entries.len() as u64 > FACTS_MAX {
                return Err(Failed::Told(Error::Full(relocation)));
            }
            let mut insert = transaction.prepare_cached("INSERT INTO fact VALUES (?1, ?2, ?3, ?4)")?;
            for (seq, entry) in (found..).zip(&entries) {
                let fact = serde_json::to_string(entry).map_err(|error| damaged(path, error))?;
                insert.execute(params![relocation.to_string(), seq as i64, entry.at.to_string(), fact])?;
            }
            Ok(())
        })
        .await
    }

    async fn ids(&self) -> Result<Vec<RelocationId>, Error> {
        self.with("read", |transaction, path| {
            let mut select = transaction.prepare("SELECT DISTINCT relocation FROM fact")?;
            let ids = select.query_map([], |row| row.get::<_, String>(0))?;
            ids.map(|id| id?.parse().map_err(|error| damaged(path, error))).collect()
        })
        .await
    }

    async fn load(&self, relocation: RelocationId) -> Result<Vec<Entry>, Error> {
        self.with("read", move |transaction, path| {
            let mut select = transaction
                .prepare_cached("SELECT seq, fact FROM fact WHERE relocation = ?1 ORDER BY seq")?;
            let rows = select.query_map([relocation.to_string()], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
            })?;
            let mut log = Vec::new();
            for row in rows {
                let (seq, fact) = row?;
                if seq != log.len() as i64 {
                    let what = format!("fact {} of relocation {relocation} is missing", log.len());
                    return Err(damaged(path, what));
                }
                let entry = serde_json::from_str(&fact).map_err(|error| {
                    damaged(path, format!("fact {seq} of relocation {relocation} is not readable: {error}"))
                })?;
                log.push(entry);
            }
            Ok(log)
        })
        .await
    }

    async fn digest_of(&self, relocation: RelocationId) -> Result<Option<String>, Error> {
        self.with("read", move |transaction, path| {
            let first: Option<String> = transaction
                .query_row(
                    "SELECT fact FROM fact WHERE relocation = ?1 AND seq = 0",
                    [relocation.to_string()],
                    |row| row.get(0),
                )
                .optional()?;
            let Some(first) = first else { return Ok(None) };
            let entry: Entry = serde_json::from_str(&first).map_err(|error| damaged(path, error))?;
            match entry.fact {
                Fact::Requested { digest, .. } => Ok(Some(digest)),
                _ => Err(damaged(path, format!("the log of {relocation} does not begin with its request"))),
            }
        })
        .await
    }
}

enum Failed {
    Sqlite(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

fn damaged(path: &Path, what: impl std::fmt::Display) -> Failed {
    Failed::Told(Error::Damaged { path: path.display().to_string(), what: what.to_string() })
}

/// Ours or empty, and not of a later version; nothing was written to it yet.
fn identify(connection: &Connection, path: &Path) -> Result<(), Error> {
    let told = |error| explain(path, "open", error);
    let pragma =
        |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(told);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(told)?;
    let (owner, found) = (pragma("application_id")?, pragma("user_version")?);
    let path = path.display().to_string();
    if tables == 0 && owner == 0 && found == 0 {
        return Ok(());
    }
    if owner != APPLICATION_ID {
        return Err(Error::Foreign { path });
    }
    let known = i64::from(FACTS_VERSION);
    if found > known {
        return Err(Error::Newer { path, found, known });
    }
    Ok(())
}

/// Whole or not at all; two conduits may do it at the same moment.
fn create_schema(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let tables: i64 = transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if tables == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", FACTS_VERSION)?;
    }
    transaction.commit()
}

fn explain(path: &Path, what: &'static str, error: rusqlite::Error) -> Error {
    let path = path.display().to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => Error::Foreign { path },
        Some(ErrorCode::DatabaseCorrupt) => Error::Damaged { path, what: error.to_string() },
        _ => Error::Io { what, path, cause: Box::new(error) },
    }
}
