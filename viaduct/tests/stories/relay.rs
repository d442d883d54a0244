//! Two ends that meet at a relay: both call it, neither listens for the other.

use crate::lab::{End, Lab, MIB, binary, digest, disk, same};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

fn relay(listen: &str, more: &[&str]) -> End {
    End::start(
        binary().args(["relay", "--report", "json", "--die-with-stdin", "--listen", listen]).args(more),
    )
}

fn receive(lab: &Lab, relay: &str, more: &[&str]) -> End {
    let mut command = binary();
    command.args(["receive", "--report", "json", "--die-with-stdin", "--via", relay, "--to"]);
    command.arg(lab.path("target.raw")).arg("--identity").arg(lab.path("receiver.pem"));
    if !more.contains(&"--peer") {
        command.args(["--peer", &lab.sender]);
    }
    End::start(command.args(more))
}

fn send(lab: &Lab, relay: &str, more: &[&str]) -> End {
    let mut command = binary();
    command.args(["send", "--report", "json", "--die-with-stdin", "--via", relay, "--from"]);
    command.arg(lab.path("source.raw")).arg("--identity").arg(lab.path("sender.pem"));
    command.args(["--peer", &lab.receiver]);
    End::start(command.args(more))
}

fn token(lab: &Lab, name: &str) -> String {
    let path = lab.path(name);
    std::fs::write(&path, format!("a secret of {name}, long enough\n")).unwrap();
    path.display().to_string()
}

fn arrived(lab: &Lab) -> bool {
    same(&lab.path("source.raw"), &lab.path("target.raw"))
}

/// What stands between an end and the one it calls, and may tamper with what goes there, or cut the line: `false`.
pub fn between(relay: String, tamper: impl Fn(&mut [u8]) -> bool + Send + Sync + 'static) -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    let tamper = Arc::new(tamper);
    std::thread::spawn(move || {
        for near in port.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&relay) else { continue };
            let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            let tamper = tamper.clone();
            std::thread::spawn(move || carry(near, far, |bytes| tamper(bytes)));
            std::thread::spawn(move || carry(far_too, near_too, |_| true));
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, tamper: impl Fn(&mut [u8]) -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !tamper(&mut buffer[..read]) {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}

#[test]
fn a_disk_goes_through_a_relay_over_many_streams() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 40 * MIB, &[(0, 12 * MIB), (30 * MIB, 70_000)]);
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    // In this order: the sender finds its receiver there. And in the other: it waits for it.
    let receiver = receive(&lab, &address, &["--verify-target"]);
    let sent = send(&lab, &address, &["--streams", "12"]).success();
    assert_eq!(sent["digest"], digest(&from));
    receiver.success();
    assert!(arrived(&lab));

    let early = send(&lab, &address, &["--retry-secs", "60"]);
    std::thread::sleep(Duration::from_millis(300));
    let receiver = receive(&lab, &address, &[]);
    assert_eq!(early.success()["bytes_reused"], 13 * MIB);
    receiver.success();
}

#[test]
fn a_relay_that_is_killed_in_mid_copy_and_started_again_costs_what_was_in_flight() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), 48 * MIB, &[(0, 48 * MIB)]);
    let first = relay("127.0.0.1:0", &[]);
    let address = first.address();
    let mut receiver = receive(&lab, &address, &[]);
    let mut sender = send(&lab, &address, &["--rate", "12M", "--retry-secs", "60"]);
    sender.until_done(24 * MIB);
    first.kill();
    sender.until_event("interrupted");
    receiver.until_event("interrupted");
    let _second = relay(&address, &[]);
    let sent = sender.success();
    assert!(sent["bytes_reused"].as_u64().unwrap() >= 16 * MIB, "{sent}");
    // All attempts together: what was in flight is all that crossed twice.
    assert!(sent["bytes_on_wire"].as_u64().unwrap() < 64 * MIB, "{sent}");
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn a_killed_end_comes_back_to_the_other_at_the_relay() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), 48 * MIB, &[(0, 48 * MIB)]);
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    let receiver = receive(&lab, &address, &[]);
    let mut sender = send(&lab, &address, &["--rate", "12M", "--retry-secs", "60"]);
    sender.until_done(20 * MIB);
    // Its connections that wait at the relay go with it: the sender is not handed to the dead.
    receiver.kill();
    let receiver = receive(&lab, &address, &[]);
    let sent = sender.success();
    assert!(sent["bytes_reused"].as_u64().unwrap() >= 8 * MIB, "{sent}");
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn a_stranger_at_the_relay_meets_nobody() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let [ours, theirs] = ["ours", "theirs"].map(|name| token(&lab, name));
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    let receiver = receive(&lab, &address, &["--token-file", &ours]);
    // The right identities, but not the token: another place.
    let failed =
        send(&lab, &address, &["--token-file", &theirs, "--retry-secs", "0"]).failure("nobody-waits");
    assert!(failed["message"].as_str().unwrap().contains(&address), "{failed}");
    assert_eq!(failed["retryable"], true);
    assert!(!lab.path("target.raw").exists());
    send(&lab, &address, &["--token-file", &ours]).success();
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn a_stranger_who_knows_the_place_still_lacks_the_key() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    // Whoever sees the call of an end on its way knows the place it names.
    let (told, place) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let spied_on = between(address.clone(), move |bytes| {
        let _ = told.lock().unwrap().send(bytes.to_vec());
        true
    });
    let receiver = receive(&lab, &spied_on, &[]);
    let mut call = place.recv_timeout(crate::lab::PATIENCE).unwrap();
    assert!(call.starts_with(b"viaduct-relay/1r"), "{call:?}");
    call[15] = b's';
    let mut stranger = TcpStream::connect(&address).unwrap();
    stranger.set_read_timeout(Some(crate::lab::PATIENCE)).unwrap();
    stranger.write_all(&call).unwrap();
    let mut answer = [0];
    while answer != *b"p" {
        stranger.read_exact(&mut answer).unwrap();
    }
    stranger.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut said = Vec::new();
    let _ = stranger.read_to_end(&mut said);
    assert!(!said.contains(&b'v'), "it was greeted: {said:?}");
    // The right sender is served all the same.
    send(&lab, &address, &[]).success();
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn a_relay_with_a_token_carries_for_those_who_have_it() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let [ours, theirs] = ["ours", "theirs"].map(|name| token(&lab, name));
    let relay = relay("127.0.0.1:0", &["--token-file", &ours]);
    let address = relay.address();
    assert_eq!(receive(&lab, &address, &[]).failure("relay")["retryable"], false);
    receive(&lab, &address, &["--token-file", &theirs]).failure("relay");
    send(&lab, &address, &["--token-file", &theirs]).failure("relay");
    let receiver = receive(&lab, &address, &["--token-file", &ours]);
    send(&lab, &address, &["--token-file", &ours]).success();
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn bytes_that_are_changed_on_the_way_are_found_out_and_sent_again() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 24 * MIB, &[(0, 24 * MIB)]);
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    let (passed, done) = (AtomicU64::new(0), AtomicBool::new(false));
    let tampering = between(address.clone(), move |bytes| {
        let before = passed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if before > 9 * MIB && !done.swap(true, Ordering::Relaxed) {
            bytes[0] ^= 1;
        }
        true
    });
    let receiver = receive(&lab, &address, &[]);
    let mut sender = send(&lab, &tampering, &["--rate", "24M", "--retry-secs", "60"]);
    sender.until_event("interrupted");
    assert_eq!(sender.success()["digest"], digest(&from));
    receiver.success();
    assert!(arrived(&lab));
}

#[test]
fn what_goes_through_a_relay_cannot_be_read_there() {
    let lab = Lab::new();
    let from = lab.path("source.raw");
    // Text that packing leaves readable where it first occurs.
    let mut bytes = crate::lab::noise(1, 2 * MIB);
    bytes.extend_from_slice(b"the secret of the guest, word for word");
    std::fs::write(&from, &bytes).unwrap();
    let relay = relay("127.0.0.1:0", &[]);
    let address = relay.address();
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let copy = seen.clone();
    let spying = between(address.clone(), move |bytes| {
        copy.lock().unwrap().extend_from_slice(bytes);
        true
    });
    let receiver = receive(&lab, &address, &[]);
    send(&lab, &spying, &["--streams", "1"]).success();
    receiver.success();
    let seen = seen.lock().unwrap();
    assert!(seen.len() as u64 > 2 * MIB);
    for secret in [b"the secret of".as_slice(), &bytes[..64], b"blake3:", b"source.raw"] {
        assert!(!seen.windows(secret.len()).any(|window| window == secret));
    }
}

#[test]
fn a_relay_that_is_full_says_so_and_one_that_is_none_too() {
    let lab = Lab::new();
    disk(&lab.path("source.raw"), MIB, &[(0, MIB)]);
    let small = relay("127.0.0.1:0", &["--max-connections", "8"]);
    let address = small.address();
    // A quarter of eight, and they are taken.
    let _taken: Vec<_> = (0..2).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let failed = send(&lab, &address, &["--retry-secs", "0"]).failure("broken");
    assert!(failed["message"].as_str().unwrap().contains("as many connections"), "{failed}");

    // Something else listens there: it says what no relay says.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in other.incoming().map_while(Result::ok) {
            let _ = stream.write_all(b"SSH-2.0-something\r\n");
            std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    receive(&lab, &address, &[]).failure("relay");
    assert!(!Path::new(&lab.path("target.raw.viaduct")).exists());
}
