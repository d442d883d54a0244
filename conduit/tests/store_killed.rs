//! The log outlives the process that writes it, killed at any instant: what was told as recorded is there, and
//! nothing of a batch is there without the rest.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use fluidcloud_conduit::relocation::{Entry, Fact};
use fluidcloud_conduit::{SqliteStore, Store};
use fluidcloud_proto::ids::RelocationId;
use time::OffsetDateTime;

const PATH: &str = "FLUIDCLOUD_TEST_STORE";
const BATCH: usize = 7;

fn request(id: RelocationId) -> Fact {
    let json = serde_json::json!({
        "version": 1, "id": id, "target": {},
        "service": {"name": "s", "provider": "a", "components": [{"name": "c", "instance": {"id": "i"}}]},
    });
    let request = fluidcloud_proto::request::from_json(&serde_json::to_vec(&json).unwrap()).unwrap();
    Fact::Requested { request: Box::new(request), digest: "d".into() }
}

fn batch() -> Vec<Entry> {
    let resumed = || Entry { at: OffsetDateTime::UNIX_EPOCH, fact: Fact::Resumed };
    (0..BATCH).map(|_| resumed()).collect()
}

/// Not a test but the process that is killed: it appends for ever and says how far it is.
#[tokio::test]
async fn child() {
    let Ok(path) = std::env::var(PATH) else { return };
    let store = SqliteStore::open(path).unwrap();
    let tenure = store.take_over().await.unwrap();
    let id = RelocationId::new();
    let first = Entry { at: OffsetDateTime::UNIX_EPOCH, fact: request(id) };
    store.append(tenure, id, &[first], 0).await.unwrap();
    let mut seq = 1;
    loop {
        store.append(tenure, id, &batch(), seq).await.unwrap();
        seq += BATCH as u64;
        println!("recorded {id} {seq}");
    }
}

#[tokio::test]
async fn a_log_holds_what_was_recorded_before_its_writer_was_killed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    for kill_after in [1, 2, 5, 17] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["child", "--exact", "--nocapture"])
            .env(PATH, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let told = lines.map_while(Result::ok).filter(|line| line.contains("recorded ")).take(kill_after);
        let last = told.last().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();

        let mut words = last[last.find("recorded ").unwrap()..].split_whitespace().skip(1);
        let id: RelocationId = words.next().unwrap().parse().unwrap();
        let told: usize = words.next().unwrap().parse().unwrap();
        let store = SqliteStore::open(&path).unwrap();
        let log = store.load(id).await.unwrap();
        assert!(log.len() >= told, "{} facts of the {told} that were told", log.len());
        assert_eq!((log.len() - 1) % BATCH, 0, "a batch is there whole or not at all");
    }
}
