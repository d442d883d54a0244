//! Hostile senders made of random bytes; `viaduct/fuzz/README.md` says how to let them go on for hours.

use crate::lab::noise;
use std::time::{Duration, Instant};

#[path = "../../fuzz/receiver.rs"]
pub mod receiver;

/// What every test run spends on it.
const A_WHILE: Duration = Duration::from_secs(6);

fn seconds() -> Duration {
    let asked = std::env::var("VIADUCT_FUZZ_SECS").ok();
    asked.map_or(A_WHILE, |text| Duration::from_secs(text.parse().expect("VIADUCT_FUZZ_SECS in seconds")))
}

#[test]
fn no_hostile_sender_harms_the_receiver_or_the_next_transfer() {
    if let Ok(input) = std::env::var("VIADUCT_FUZZ_INPUT") {
        receiver::run(&data_encoding::HEXLOWER.decode(input.as_bytes()).expect("hexadecimal"));
        return;
    }
    // Nothing spoilt: the harness itself is right.
    receiver::run(&[]);
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < seconds() {
        let mut input = noise(seed.wrapping_add(rounds), 160);
        // Short ones spoil less, and so get further.
        input.truncate(noise(seed ^ rounds, 1)[0] as usize);
        let fine = std::panic::catch_unwind(|| receiver::run(&input));
        assert!(fine.is_ok(), "VIADUCT_FUZZ_INPUT={}", data_encoding::HEXLOWER.encode(&input));
        rounds += 1;
    }
    println!("{rounds} hostile senders in {:?}", started.elapsed());
    assert!(rounds > 0);
}
