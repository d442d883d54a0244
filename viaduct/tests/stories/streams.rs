//! Disks that come out of pipes and go into them.

use crate::lab::{End, Ended, Lab, MIB, binary, digest, disk, have, noise, run, same, viaduct};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Sends what is fed to it.
fn send_stdin(lab: &Lab, address: &str, input: Vec<u8>, more: &[&str]) -> Ended {
    let mut command = viaduct(&["send", "--from", "-", "--to", &format!("tls://{address}")]);
    command.arg("--identity").arg(lab.path("sender.pem")).args(["--peer", &lab.receiver]).args(more);
    let mut end = End::start(&mut command);
    let mut stdin = end.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        // It may give up before it has read all.
        let _ = stdin.write_all(&input);
    });
    let ended = end.end();
    feeder.join().unwrap();
    ended
}

fn content() -> Vec<u8> {
    let mut bytes = vec![0; (20 << 20) + 77];
    bytes[3 << 20..9 << 20].copy_from_slice(&noise(1, 6 * MIB));
    bytes[20 << 20..].copy_from_slice(&noise(2, 77));
    bytes
}

#[test]
fn a_stream_of_known_size_is_sent_as_it_comes() {
    let lab = Lab::new();
    let to = lab.path("target.raw");
    let receiver = lab.receive(to.to_str().unwrap(), &[]);
    let size = content().len().to_string();
    let sent = send_stdin(&lab, &receiver.address(), content(), &["--size", &size, "--streams", "4"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    receiver.success();
    assert!(std::fs::read(&to).unwrap() == content());
    assert!(sent.last["bytes_on_wire"].as_u64().unwrap() < 7 * MIB, "{sent:?}");
    // The second time the receiver has it: the stream is read, and not sent.
    let receiver = lab.receive(to.to_str().unwrap(), &[]);
    let again = send_stdin(&lab, &receiver.address(), content(), &["--size", &size]);
    assert!(again.last["bytes_on_wire"].as_u64().unwrap() < 64 << 10, "{again:?}");
    receiver.success();
}

#[test]
fn a_stream_of_unknown_size_is_laid_down_first_and_nothing_of_it_is_left() {
    let lab = Lab::new();
    let (to, spool) = (lab.path("target.raw"), lab.path("spool"));
    std::fs::create_dir(&spool).unwrap();
    let receiver = lab.receive(to.to_str().unwrap(), &[]);
    let sent = send_stdin(&lab, &receiver.address(), content(), &["--spool", spool.to_str().unwrap()]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    receiver.success();
    assert!(std::fs::read(&to).unwrap() == content());
    assert!(sent.last["bytes_read"].as_u64().unwrap() < 8 * MIB, "its zeros became holes: {sent:?}");
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0);
    let missing = send_stdin(&lab, "127.0.0.1:1", content(), &["--spool", "/no/such/directory"]);
    assert_eq!(missing.last["code"], "io", "{missing:?}");
}

#[test]
fn a_packed_image_goes_through_a_pipe() {
    if !have("zstd") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 30 * MIB, &[(MIB, 4 * MIB), (29 * MIB, MIB)]);
    let packed = lab.path("source.zst").display().to_string();
    run("zstd", &["-q", &from, "-o", &packed]);
    let to = lab.path("target.raw");
    let mut unpack = Command::new("zstd").args(["-dc", &packed]).stdout(Stdio::piped()).spawn().unwrap();
    let mut command = viaduct(&["copy", "--from", "-", "--to", to.to_str().unwrap(), "--spool"]);
    command.arg(lab.dir.path()).stdin(unpack.stdout.take().unwrap());
    let copied = command.output().unwrap();
    assert!(unpack.wait().unwrap().success() && copied.status.success(), "{copied:?}");
    assert!(same(Path::new(&from), &to));
}

#[test]
fn stdin_that_is_a_file_is_read_as_one() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 64 * MIB, &[(50 * MIB, MIB)]);
    let to = lab.path("target.raw");
    let mut command = viaduct(&["copy", "--from", "-", "--to", to.to_str().unwrap()]);
    let copied = command.stdin(std::fs::File::open(&from).unwrap()).output().unwrap();
    assert!(copied.status.success(), "{copied:?}");
    let report = String::from_utf8(copied.stdout).unwrap();
    let last: serde_json::Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert!(last["bytes_read"].as_u64().unwrap() < 2 * MIB, "its holes were read: {last}");
    assert!(same(Path::new(&from), &to));
}

#[test]
fn a_stream_of_another_size_than_announced_is_an_error() {
    let lab = Lab::new();
    for (size, why) in [(30 * MIB, "ended at byte"), (10 * MIB, "goes on after")] {
        let to = lab.path(&format!("target{size}.raw"));
        let receiver = lab.receive(to.to_str().unwrap(), &["--idle-secs", "2"]);
        let sent = send_stdin(&lab, &receiver.address(), content(), &["--size", &size.to_string()]);
        assert_eq!((sent.code, &sent.last["code"]), (Some(1), &"stream".into()), "{sent:?}");
        assert!(sent.last["message"].as_str().unwrap().contains(why), "{sent:?}");
        // The receiver does not take half a disk for a whole one.
        assert_ne!(receiver.end().code, Some(0));
    }
}

#[test]
fn a_stream_whose_line_breaks_is_begun_again_and_what_is_durable_does_not_cross_again() {
    let lab = Lab::new();
    let bytes = noise(6, 32 * MIB);
    let size = bytes.len().to_string();
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &[]);
    let mut command =
        viaduct(&["send", "--from", "-", "--size", &size, "--rate", "8M", "--retry-secs", "60"]);
    command.args(["--to", &format!("tls://{}", receiver.address())]);
    command.arg("--identity").arg(lab.path("sender.pem")).args(["--peer", &lab.receiver]);
    let mut sender = End::start(&mut command);
    let mut stdin = sender.stdin.take().unwrap();
    let fed = bytes.clone();
    let feeder = std::thread::spawn(move || {
        let _ = stdin.write_all(&fed);
    });
    sender.until_done(16 * MIB);
    receiver.kill();
    // It does not try in vain for a minute: what it has read is gone.
    let failed = sender.failure("broken");
    assert_eq!(failed["retryable"], true);
    feeder.join().unwrap();
    let receiver = lab.receive(&to, &[]);
    let second = send_stdin(&lab, &receiver.address(), bytes.clone(), &["--size", &size]);
    assert!(second.last["bytes_reused"].as_u64().unwrap() >= 4 * MIB, "{second:?}");
    receiver.success();
    assert!(std::fs::read(&to).unwrap() == bytes);
}

#[test]
fn a_disk_is_copied_to_stdout_in_order_with_its_zeros() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 20 * MIB + 77, &[(3 * MIB, 6 * MIB), (20 * MIB, 77)]);
    let mut command = viaduct(&["copy", "--from", &from, "--to", "-"]);
    let poured = command.output().unwrap();
    assert!(poured.status.success(), "{:?}", String::from_utf8_lossy(&poured.stderr));
    assert!(poured.stdout == std::fs::read(&from).unwrap());
    // The report does not mix with the disk.
    let report = String::from_utf8(poured.stderr).unwrap();
    let last: serde_json::Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!((&last["event"], &last["verified"]), (&"finished".into(), &false.into()));
    assert_eq!(last["digest"], digest(&from));
}

#[test]
fn a_received_disk_goes_to_stdout_when_it_is_verified_and_not_before() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 20 * MIB + 77, &[(3 * MIB, 12 * MIB), (20 * MIB, 77)]);
    let spool = lab.path("spool");
    std::fs::create_dir(&spool).unwrap();
    let receive = |address: &str| {
        let mut command = viaduct(&["receive", "--to", "-", "--listen", address, "--peer", &lab.sender]);
        command.arg("--identity").arg(lab.path("receiver.pem")).arg("--spool").arg(&spool);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let port = |_| std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    // A disk that does not come whole leaves nothing.
    let address = port(());
    let mut receiver = receive(&address);
    let mut sender = lab.send(&from, &address, &["--rate", "2M", "--retry-secs", "30"]);
    sender.until_done(4 * MIB);
    sender.kill();
    receiver.kill().unwrap();
    assert!(receiver.wait_with_output().unwrap().stdout.is_empty());

    let address = port(());
    let receiver = receive(&address);
    let sent = lab.send(&from, &address, &["--retry-secs", "30"]).success();
    let received = receiver.wait_with_output().unwrap();
    assert!(received.status.success(), "{}", String::from_utf8_lossy(&received.stderr));
    assert!(received.stdout == std::fs::read(&from).unwrap());
    let report = String::from_utf8(received.stderr).unwrap();
    assert!(report.contains(sent["digest"].as_str().unwrap()), "{report}");
}

#[test]
fn a_pipe_that_nobody_reads_any_more_is_an_error() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 8 * MIB, &[(0, 8 * MIB)]);
    let mut command = viaduct(&["copy", "--from", &from, "--to", "-"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("stdout"), "{ended:?}");
}

#[test]
fn a_copy_into_another_format_is_resumed_and_verified_like_any() {
    if !have("qemu-img") {
        return;
    }
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 24 * MIB, &[(MIB, 4 * MIB), (20 * MIB, 70_000)]);
    let image = format!("qcow2:{}", lab.path("disk.qcow2").display());
    let copy = |from: &str, to: &str| {
        End::start(&mut viaduct(&["copy", "--from", from, "--to", to, "--verify-target"])).success()
    };
    assert_eq!(copy(&from, &image)["digest"], digest(&from));
    assert_eq!(copy(&from, &image)["bytes_reused"], 5 * MIB);
    let back = lab.path("back.raw");
    copy(&image, back.to_str().unwrap());
    assert!(same(Path::new(&from), &back));
    // Into a file that holds something: only what differs is written, and nothing of it stays.
    let old = lab.path("old.raw");
    std::fs::write(&old, noise(77, 24 * MIB)).unwrap();
    copy(&from, old.to_str().unwrap());
    assert!(same(Path::new(&from), &old));
    let itself = End::start(&mut viaduct(&["copy", "--from", &from, "--to", &from])).failure("usage");
    assert!(itself["message"].as_str().unwrap().contains("source too"), "{itself}");
}

#[test]
fn what_a_pipe_cannot_do_is_said() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), MIB, &[(0, MIB)]);
    let read = binary().args(["digest", "--from", "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(read.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&read.stderr).contains("viaduct copy"), "{read:?}");
    let mut command =
        viaduct(&["copy", "--from", "-", "--size", "1M", "--to", lab.path("x.raw").to_str().unwrap()]);
    let mut end = End::start(&mut command);
    end.stdin.take().unwrap().write_all(&std::fs::read(&from).unwrap()[..1000]).unwrap();
    let failed = end.failure("stream");
    assert!(failed["remedy"].as_str().unwrap().contains("--spool"), "{failed}");
}
