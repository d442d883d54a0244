//! One receiver per target; the newest task takes it, an older one is fenced.

use crate::lab::{Lab, MIB, disk, same};

#[test]
fn a_newer_epoch_takes_the_target_and_goes_on_from_the_journal() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 32 * MIB, &[(0, 32 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    let old = lab.receive(&to, &["--epoch", "1"]);
    let mut sender = lab.send(&from, &old.address(), &["--rate", "8M", "--retry-secs", "0"]);
    sender.until_done(20 * MIB);

    let new = lab.receive(&to, &["--epoch", "2"]);
    let address = new.address();
    // By the time the new one listens, the old one is dead.
    assert_eq!(old.end().code, None);
    sender.failure("broken");
    let second = lab.send(&from, &address, &[]).success();
    assert!(second["bytes_reused"].as_u64().unwrap() > 4 * MIB, "{second}");
    new.success();
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));

    let stale = lab.receive(&to, &["--epoch", "1"]).failure("fenced");
    assert!(stale["message"].as_str().unwrap().contains("epoch 2"), "{stale}");
}

#[test]
fn the_same_epoch_does_not_take_the_target() {
    let lab = Lab::new();
    let to = lab.path("target.raw").display().to_string();
    let holder = lab.receive(&to, &["--epoch", "3"]);
    let address = holder.address();
    for epoch in ["3", "2"] {
        lab.receive(&to, &["--epoch", epoch]).failure("fenced");
    }
    let from = disk(&lab.path("source.raw"), 2 * MIB, &[(0, MIB)]);
    lab.send(&from, &address, &[]).success();
    holder.success();
}
