//! Either end is killed in mid-copy. What was durable does not cross again, and the disk is right in the end.

use crate::lab::{Lab, MIB, digest, disk, same};

const SIZE: u64 = 48 * MIB;
/// Slow enough to be caught in the middle.
const RATE: &str = "8M";

/// The second run may send what is missing, and what was in flight or not yet flushed: a second's worth and the queues.
fn only_the_rest(second: &serde_json::Value, durable: u64) {
    let on_wire = second["bytes_on_wire"].as_u64().unwrap();
    assert!(on_wire < SIZE - durable + MIB, "{on_wire} on the wire though {durable} were durable");
    assert!(second["bytes_reused"].as_u64().unwrap() >= durable, "{second}");
}

#[test]
fn a_killed_sender_comes_again_to_the_waiting_receiver() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let address = receiver.address();
    let mut first = lab.send(&from, &address, &["--rate", RATE]);
    first.until_done(24 * MIB);
    first.kill();
    let second = lab.send(&from, &address, &[]).success();
    // The receiver lived: whatever it had written counts.
    only_the_rest(&second, 16 * MIB);
    assert_eq!(receiver.success()["digest"], digest(&from));
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_killed_receiver_is_started_again_and_goes_on() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &[]);
    let mut sender = lab.send(&from, &receiver.address(), &["--rate", RATE, "--retry-secs", "0"]);
    sender.until_done(32 * MIB);
    receiver.kill();
    assert_eq!(sender.failure("broken")["retryable"], true);

    let receiver = lab.receive(&to, &[]);
    let second = lab.send(&from, &receiver.address(), &[]).success();
    only_the_rest(&second, 12 * MIB);
    assert_eq!(receiver.success()["digest"], digest(&from));
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_sender_waits_for_a_receiver_that_is_started_again() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &[]);
    let address = receiver.address();
    let mut sender = lab.send(&from, &address, &["--rate", "16M", "--retry-secs", "60"]);
    sender.until_done(16 * MIB);
    receiver.kill();
    let receiver = lab.receive(&to, &["--listen", &address]);
    sender.success();
    receiver.success();
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn both_ends_are_killed_again_and_again() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let to = lab.path("target.raw").display().to_string();
    for round in 1..4 {
        let receiver = lab.receive(&to, &[]);
        let mut sender = lab.send(&from, &receiver.address(), &["--rate", "12M"]);
        sender.until_done(round * 12 * MIB);
        sender.kill();
        receiver.kill();
    }
    lab.carry(&from, &to);
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_changed_source_is_right_after_an_interruption_too() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), SIZE, &[(0, SIZE)]);
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &[]);
    let mut sender = lab.send(&from, &receiver.address(), &["--rate", "16M"]);
    sender.until_done(30 * MIB);
    sender.kill();
    receiver.kill();
    // What was data became a hole, and the other way round the journal must not be believed either.
    disk(&lab.path("source.raw"), SIZE, &[(8 * MIB, 4 * MIB), (40 * MIB, 2 * MIB)]);
    lab.carry(&from, &to);
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_journal_of_another_disk_is_refused_until_it_is_forgotten() {
    let lab = Lab::new();
    let small = disk(&lab.path("small.raw"), 4 * MIB, &[(0, MIB)]);
    let large = disk(&lab.path("large.raw"), 8 * MIB, &[(0, MIB)]);
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&small, &to);
    let receiver = lab.receive(&to, &[]);
    lab.send(&large, &receiver.address(), &[]).failure("journal");
    receiver.failure("journal");
    let forgotten = crate::lab::binary().args(["forget", "--to", &to]).output().unwrap();
    assert!(forgotten.status.success());
    std::fs::remove_file(&to).unwrap();
    lab.carry(&large, &to);
    assert!(same(&lab.path("large.raw"), &lab.path("target.raw")));
}
