//! What every store keeps, as one suite that is run on each of them, and what only a file can get wrong.

use std::path::Path;

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::{RelocationRequest, Service, Target};
use time::OffsetDateTime;

use super::{Error, MemoryStore, SqliteStore, Store};
use crate::relocation::{Entry, Fact};

fn requested(id: RelocationId) -> Entry {
    let service = Service {
        name: "shop".parse().unwrap(),
        provider: "cloud-a".parse().unwrap(),
        components: Vec::new(),
    };
    let request = RelocationRequest {
        version: 1,
        id,
        tenant: None,
        service,
        target: Target::default(),
        mode: Default::default(),
        cutover: Default::default(),
        verify: Vec::new(),
        transport: Default::default(),
    };
    entry(Fact::Requested { request: Box::new(request), digest: format!("digest of {id}") })
}

fn entry(fact: Fact) -> Entry {
    Entry { at: OffsetDateTime::UNIX_EPOCH, fact }
}

async fn keeps_the_contract(store: &dyn Store) {
    keeps_facts_in_order_and_apart(store).await;
    refuses_an_unexpected_position_whole(store).await;
    fences_earlier_tenures(store).await;
}

async fn keeps_facts_in_order_and_apart(store: &dyn Store) {
    let tenure = store.take_over().await.unwrap();
    let (one, two) = (RelocationId::new(), RelocationId::new());
    assert_eq!(store.load(one).await.unwrap(), []);
    assert_eq!(store.digest_of(one).await.unwrap(), None);
    store.append(tenure, one, &[requested(one), entry(Fact::Admitted)], 0).await.unwrap();
    store.append(tenure, two, &[requested(two)], 0).await.unwrap();
    store.append(tenure, one, &[entry(Fact::Resumed)], 2).await.unwrap();
    let log = store.load(one).await.unwrap();
    assert_eq!(log, [requested(one), entry(Fact::Admitted), entry(Fact::Resumed)]);
    assert_eq!(store.load(two).await.unwrap(), [requested(two)]);
    assert_eq!(store.digest_of(one).await.unwrap(), Some(format!("digest of {one}")));
    let mut ids = store.ids().await.unwrap();
    ids.retain(|id| [one, two].contains(id));
    assert_eq!(ids.len(), 2);
}

async fn refuses_an_unexpected_position_whole(store: &dyn Store) {
    let tenure = store.take_over().await.unwrap();
    let id = RelocationId::new();
    store.append(tenure, id, &[requested(id)], 0).await.unwrap();
    for (expected, entries) in
        [(0, vec![requested(id)]), (2, vec![entry(Fact::Admitted), entry(Fact::Resumed)])]
    {
        let refused = store.append(tenure, id, &entries, expected).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { found: 1, .. }), "{refused}");
    }
    assert_eq!(store.load(id).await.unwrap(), [requested(id)]);
}

async fn fences_earlier_tenures(store: &dyn Store) {
    let earlier = store.take_over().await.unwrap();
    let id = RelocationId::new();
    store.append(earlier, id, &[requested(id)], 0).await.unwrap();
    let later = store.take_over().await.unwrap();
    assert!(later > earlier);
    let refused = store.append(earlier, id, &[entry(Fact::Admitted)], 1).await.unwrap_err();
    assert!(matches!(refused, Error::Fenced), "{refused}");
    let other = RelocationId::new();
    assert!(store.append(earlier, other, &[requested(other)], 0).await.is_err(), "also for a new log");
    store.append(later, id, &[entry(Fact::Admitted)], 1).await.unwrap();
    assert_eq!(store.load(id).await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    keeps_the_contract(&MemoryStore::default()).await;
}

#[tokio::test]
async fn the_sqlite_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    keeps_the_contract(&SqliteStore::open(dir.path().join("log")).unwrap()).await;
}

#[tokio::test]
async fn two_stores_on_one_file_fence_each_other_as_two_conduits_would() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let (first, second) = (SqliteStore::open(&path).unwrap(), SqliteStore::open(&path).unwrap());
    let id = RelocationId::new();
    let one = first.take_over().await.unwrap();
    first.append(one, id, &[requested(id)], 0).await.unwrap();
    let two = second.take_over().await.unwrap();
    assert!(matches!(first.append(one, id, &[entry(Fact::Admitted)], 1).await, Err(Error::Fenced)));
    second.append(two, id, &[entry(Fact::Admitted)], 1).await.unwrap();
}

#[tokio::test]
async fn a_log_is_the_same_after_the_file_was_closed_and_opened() {
    let dir = tempfile::tempdir().unwrap();
    let (path, id) = (dir.path().join("log"), RelocationId::new());
    let store = SqliteStore::open(&path).unwrap();
    let tenure = store.take_over().await.unwrap();
    store.append(tenure, id, &[requested(id), entry(Fact::Admitted)], 0).await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.load(id).await.unwrap(), [requested(id), entry(Fact::Admitted)]);
    assert!(store.take_over().await.unwrap() > tenure);
}

async fn with_one_log(path: &Path) -> RelocationId {
    let (store, id) = (SqliteStore::open(path).unwrap(), RelocationId::new());
    let tenure = store.take_over().await.unwrap();
    store.append(tenure, id, &[requested(id), entry(Fact::Admitted), entry(Fact::Resumed)], 0).await.unwrap();
    id
}

#[tokio::test]
async fn facts_are_neither_changed_nor_removed_by_whatever_means() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    with_one_log(&path).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    for change in ["UPDATE fact SET fact = ''", "DELETE FROM fact"] {
        let refused = other.execute(change, []).unwrap_err();
        assert!(refused.to_string().contains("append-only"), "{refused}");
    }
}

#[tokio::test]
async fn a_fact_that_is_missing_or_not_readable_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let id = with_one_log(&path).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("DROP TRIGGER fact_is_not_changed; DROP TRIGGER fact_is_not_removed;").unwrap();
    other
        .execute(
            "UPDATE fact SET fact = '{\"at\":\"1970-01-01T00:00:00Z\",\"fact\":\"new\"}' WHERE seq = 2",
            [],
        )
        .unwrap();
    let store = SqliteStore::open(&path).unwrap();
    let told = store.load(id).await.unwrap_err().to_string();
    assert!(told.contains("fact 2 of") && told.contains("backup"), "{told}");
    other.execute("DELETE FROM fact WHERE seq = 1", []).unwrap();
    let told = store.load(id).await.unwrap_err().to_string();
    assert!(told.contains("fact 1 of") && told.contains("missing"), "{told}");
}

#[test]
fn a_file_of_somebody_else_is_told_so_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notes");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE note (text TEXT); INSERT INTO note VALUES ('mine')").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(Error::Foreign { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    let text = dir.path().join("text");
    std::fs::write(&text, "no database at all, but long enough to be looked at as one. ".repeat(100))
        .unwrap();
    assert!(matches!(SqliteStore::open(&text), Err(Error::Foreign { .. })));
}

#[tokio::test]
async fn a_log_of_a_newer_version_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    with_one_log(&path).await;
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let told = SqliteStore::open(&path).unwrap_err().to_string();
    assert!(told.contains("version 99") && told.contains("update FluidCloud"), "{told}");
}

#[tokio::test]
async fn a_damaged_file_is_told_so() {
    use std::io::{Seek, SeekFrom, Write};
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    with_one_log(&path).await;
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&[0xAB; 8192]).unwrap();
    drop(file);
    let told = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(told, Error::Damaged { .. }), "{told}");
    assert!(told.to_string().contains("backup"), "{told}");
}

#[test]
fn a_directory_that_is_not_there_is_named_with_the_remedy() {
    let told = SqliteStore::open("/nonexistent/dir/log").unwrap_err().to_string();
    assert!(told.contains("/nonexistent/dir/log") && told.contains("directory exists"), "{told}");
}
