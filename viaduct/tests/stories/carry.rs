//! A disk is carried over TLS and is the same afterwards; whoever is not the right peer is turned away.

use crate::lab::{Lab, MIB, binary, digest, disk, noise, same};
use proptest::prelude::*;
use std::os::unix::fs::{FileExt, MetadataExt};

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn any_sparse_disk_is_the_same_at_the_target(
        size in 1u64..40 * MIB,
        pieces in proptest::collection::vec((0u64..40 * MIB, 1u64..3 * MIB), 0..6),
        streams in 1u16..6,
    ) {
        let lab = Lab::new();
        let pieces: Vec<_> = pieces.into_iter().filter(|(at, _)| *at < size).map(|(at, length)| (at, length.min(size - at))).collect();
        let from = disk(&lab.path("source.raw"), size, &pieces);
        let to = lab.path("target.raw");
        let receiver = lab.receive(to.to_str().unwrap(), &["--verify-target"]);
        let sent = lab.send(&from, &receiver.address(), &["--streams", &streams.to_string()]).success();
        let received = receiver.success();
        prop_assert!(same(&lab.path("source.raw"), &to));
        for key in ["digest", "bytes_total", "bytes_read", "bytes_zero", "bytes_reused", "bytes_on_wire"] {
            prop_assert_eq!(&sent[key], &received[key]);
        }
        prop_assert_eq!(sent["digest"].as_str().unwrap(), digest(&from));
        prop_assert_eq!(sent["bytes_total"].as_u64(), Some(size));
    }
}

#[test]
fn holes_are_neither_read_nor_sent_nor_filled() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4096 * MIB, &[(5 * MIB, 2 * MIB), (3000 * MIB + 8192, 4096)]);
    let (sent, _) = lab.carry(&from, lab.path("target.raw").to_str().unwrap());
    assert!(sent["bytes_read"].as_u64().unwrap() < 3 * MIB, "{sent}");
    assert!(sent["bytes_on_wire"].as_u64().unwrap() < 3 * MIB, "{sent}");
    let taken = lab.path("target.raw").metadata().unwrap().blocks() * 512;
    assert!(taken < 3 * MIB, "{taken} bytes taken");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn old_content_of_the_target_gives_way_to_zeros() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 20 * MIB, &[(3 * MIB, MIB), (9 * MIB + 100_000, 50_000)]);
    std::fs::write(lab.path("target.raw"), noise(99, 20 * MIB)).unwrap();
    lab.carry(&from, lab.path("target.raw").to_str().unwrap());
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_second_send_to_a_finished_target_carries_only_what_changed() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 50 * MIB, &[(0, 20 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&from, &to);
    let (again, _) = lab.carry(&from, &to);
    assert_eq!(again["bytes_reused"], 20 * MIB);
    assert!(again["bytes_on_wire"].as_u64().unwrap() < 64 << 10, "{again}");
    let file = std::fs::File::options().write(true).open(&from).unwrap();
    file.write_all_at(b"changed", 7 * MIB).unwrap();
    file.write_all_at(&noise(5, MIB), 30 * MIB).unwrap();
    file.write_all_at(&vec![0; MIB as usize], 2 * MIB).unwrap();
    let (delta, _) = lab.carry(&from, &to);
    assert!(delta["bytes_on_wire"].as_u64().unwrap() < 2 * MIB + (64 << 10), "{delta}");
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_finished_target_that_was_written_to_is_not_believed() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 20 * MIB, &[(0, 8 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&from, &to);
    let file = std::fs::File::options().write(true).open(&to).unwrap();
    file.write_all_at(b"the guest was here", 3 * MIB).unwrap();
    file.write_all_at(b"and here", 15 * MIB).unwrap();
    let (again, _) = lab.carry(&from, &to);
    // All but the grain that was written to.
    assert_eq!(again["bytes_reused"], 8 * MIB - 4096);
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_target_that_was_removed_is_made_anew_despite_its_journal() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 20 * MIB, &[(0, 8 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    lab.carry(&from, &to);
    std::fs::remove_file(&to).unwrap();
    let (again, _) = lab.carry(&from, &to);
    assert_eq!(again["bytes_reused"], 0);
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}

#[test]
fn a_receiver_with_another_key_is_refused_and_nothing_is_written() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let failed = lab.send(&from, &receiver.address(), &["--peer", &lab.sender]).failure("wrong-peer");
    assert!(failed["message"].as_str().unwrap().contains(&lab.receiver), "{failed}");
    assert!(failed["message"].as_str().unwrap().contains(&lab.sender), "{failed}");
    receiver.failure("refused");
    assert!(!lab.path("target.raw").exists());
    assert!(!lab.path("target.raw.viaduct").exists());
}

#[test]
fn a_sender_with_another_key_is_refused_and_nothing_is_written() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &["--peer", &lab.receiver]);
    let failed = lab.send(&from, &receiver.address(), &[]).failure("refused");
    assert!(failed["remedy"].as_str().unwrap().contains(&lab.sender), "{failed}");
    receiver.failure("wrong-peer");
    assert!(!lab.path("target.raw").exists());
}

#[test]
fn a_stranger_does_not_end_the_wait_for_the_right_sender() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let mut receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let address = receiver.address();
    use std::io::Write;
    std::net::TcpStream::connect(&address).unwrap().write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    receiver.until_event("refused");
    lab.send(&from, &address, &[]).success();
    receiver.success();
}

#[test]
fn the_rate_is_not_exceeded() {
    let lab = Lab::new();
    for (rate, streams) in [(2, "1"), (4, "3"), (8, "8")] {
        // A short one: the less there is, the more a burst would count.
        let from = disk(&lab.path("source.raw"), rate * MIB, &[(0, rate * MIB)]);
        let to = lab.path(&format!("target{rate}.raw"));
        let receiver = lab.receive(to.to_str().unwrap(), &[]);
        let asked = format!("{rate}M");
        let sent = lab.send(&from, &receiver.address(), &["--rate", &asked, "--streams", streams]).success();
        receiver.success();
        // How near it comes from below is tested on paused time; here the machine may be busy.
        let seen = sent["bytes_on_wire"].as_f64().unwrap() / sent["seconds"].as_f64().unwrap();
        assert!(seen < 1.05 * (rate * MIB) as f64, "{seen} bytes per second of {asked}");
    }
}

#[test]
fn an_end_whose_caller_went_away_ends_too() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 64 * MIB, &[(0, 64 * MIB)]);
    let mut receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let mut sender = lab.send(&from, &receiver.address(), &["--rate", "1M"]);
    sender.until_done(MIB);
    drop(sender.stdin.take());
    sender.failure("caller-gone");
    drop(receiver.stdin.take());
    receiver.failure("caller-gone");
}

#[test]
fn nobody_comes_and_the_receiver_says_so() {
    let lab = Lab::new();
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &["--idle-secs", "1"]);
    receiver.failure("nobody-came");
    assert!(!lab.path("target.raw.viaduct").exists());
}

#[test]
fn an_identity_is_never_overwritten() {
    let lab = Lab::new();
    std::fs::write(lab.path("notes"), "mine").unwrap();
    let made = binary().arg("identity").arg(lab.path("notes")).output().unwrap();
    assert_eq!(made.status.code(), Some(1));
    assert_eq!(std::fs::read(lab.path("notes")).unwrap(), b"mine");
    assert!(lab.sender.starts_with("sha256:") && lab.sender.len() == 71);
}
