//! Each sentence of [`Keys`], tried on every keeper.

use std::sync::Arc;

use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::{ComponentName, RelocationId};

use super::{DirectoryKeys, Error, Keys, MemoryKeys};

fn component(name: &str) -> ComponentName {
    name.parse().unwrap()
}

fn conforms(keys: Arc<dyn Keys>) {
    let (one, other) = (RelocationId::new(), RelocationId::new());
    assert!(matches!(keys.hand_out(one, None), Err(Error::Unknown { .. })));
    let public = keys.public_key(one, &component("app"), "ops").unwrap();
    assert_eq!(keys.public_key(one, &component("app"), "ops").unwrap(), public, "made once");
    let others = keys.public_key(other, &component("app"), "ops").unwrap();
    assert_ne!(others, public, "each has its own");
    keys.public_key(one, &component("db"), "db-ops").unwrap();
    assert!(matches!(keys.hand_out(one, None), Err(Error::Several { .. })));
    assert!(matches!(keys.hand_out(one, Some("nobody")), Err(Error::Unknown { .. })));

    // Ten at once, and one gets it.
    let takers: Vec<_> = (0..10)
        .map(|_| {
            let keys = keys.clone();
            std::thread::spawn(move || keys.hand_out(one, Some("ops")))
        })
        .collect();
    let handed: Vec<_> = takers.into_iter().map(|taker| taker.join().unwrap()).collect();
    assert_eq!(handed.iter().filter(|handed| handed.is_ok()).count(), 1);
    let failure = keys.hand_out(one, Some("app")).unwrap_err().to_failure();
    assert_eq!(failure.code, Code::KeyTaken, "by its component too");
    assert!(failure.message.contains("was handed out at 20") && failure.remedy.contains("authorized_keys"));
    assert_eq!(keys.public_key(one, &component("app"), "ops").unwrap(), public, "the public half stays");
    let standing = keys.standing(one).unwrap();
    let told: Vec<_> = standing.iter().map(|key| (key.name.as_str(), key.taken_at.is_some())).collect();
    assert_eq!(told, [("ops", true), ("db-ops", false)]);

    keys.remove(one).unwrap();
    keys.remove(one).unwrap();
    assert_eq!(keys.standing(one).unwrap(), []);
    assert!(matches!(keys.hand_out(one, Some("db-ops")), Err(Error::Unknown { .. })), "undone with the move");
    let handed = keys.hand_out(other, None).unwrap();
    assert_eq!(handed.name, "ops", "that of another relocation is still there");
    assert_eq!(
        format!("{handed:?}"),
        "Handed { name: \"ops\", private: PrivateKey }",
        "and not shown by chance"
    );
}

#[test]
fn memory_conforms() {
    conforms(Arc::new(MemoryKeys::default()));
}

#[test]
fn a_directory_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(Arc::new(DirectoryKeys::at(dir.path().join("keys"))));
}
