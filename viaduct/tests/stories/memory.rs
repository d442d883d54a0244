//! Memory does not follow the size of the disk.

use crate::lab::{End, Lab, MIB, PATIENCE, digest, disk};
use std::time::{Duration, Instant};

const BOUND_KIB: u64 = 128 << 10;

fn peaks(mut ends: Vec<End>) -> Vec<u64> {
    let mut peaks = vec![0; ends.len()];
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "it does not end");
        let mut running = false;
        for (end, peak) in ends.iter_mut().zip(&mut peaks) {
            *peak = (*peak).max(end.told_by_kernel("status", "VmHWM").unwrap_or(0));
            running |= end.child.try_wait().unwrap().is_none();
        }
        if !running {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    for end in ends {
        end.success();
    }
    peaks
}

#[test]
fn two_tebibytes_with_little_data_take_seconds_and_little_memory() {
    let lab = Lab::new();
    let tib = 1 << 40;
    let pieces: Vec<_> = (0..64).map(|number| (number * 31 * (tib / 1000), 300_000)).collect();
    let from = disk(&lab.path("source.raw"), 2 * tib, &pieces);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let sender = lab.send(&from, &receiver.address(), &[]);
    // Any work that followed the size would take hours; how many seconds it takes, `deploy/bench bounds` measures.
    let peaks = peaks(vec![sender, receiver]);
    assert!(peaks.iter().all(|peak| *peak < BOUND_KIB), "{peaks:?} KiB");
    assert_eq!(digest(&from), digest(lab.path("target.raw").to_str().unwrap()));
}

#[test]
fn a_stream_and_a_copy_to_a_host_without_an_agent_stay_within_the_bound() {
    use std::io::{Read, Write};
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 300 * MIB, &[(0, 300 * MIB)]);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let mut sender = lab.send("-", &receiver.address(), &["--size", "300M", "--streams", "8"]);
    let mut stdin = sender.stdin.take().unwrap();
    let mut file = std::fs::File::open(&from).unwrap();
    let feeder = std::thread::spawn(move || {
        let mut piece = vec![0; 100_000];
        while let Ok(read @ 1..) = file.read(&mut piece) {
            stdin.write_all(&piece[..read]).unwrap();
        }
    });
    let mut all = peaks(vec![sender, receiver]);
    feeder.join().unwrap();
    if let Some(sshd) = crate::ssh::Sshd::start_with("") {
        let to = crate::far::far(sshd.port, &sshd.lab.path("target.raw"));
        all.extend(peaks(vec![crate::far::copy(&sshd, &from, &to, &[])]));
    }
    assert!(all.iter().all(|peak| *peak < BOUND_KIB), "{all:?} KiB");
}

#[test]
fn many_streams_full_of_data_stay_within_the_bound() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 400 * MIB, &[(0, 400 * MIB)]);
    let receiver = lab.receive(lab.path("target.raw").to_str().unwrap(), &[]);
    let sender = lab.send(&from, &receiver.address(), &["--streams", "16"]);
    let peaks = peaks(vec![sender, receiver]);
    assert!(peaks.iter().all(|peak| *peak < BOUND_KIB), "{peaks:?} KiB");
}
