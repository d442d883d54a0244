//! Both ends say how far they are all the time, also while nothing moves.

use crate::hooked::Hooked;
use crate::lab::{PATIENCE, noise};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use viaduct::{
    Event, MemoryDisk, OpenTarget, ReceiveOptions, SendOptions, Target, limits, memory, receive_to, send,
    send_from,
};

const BLOCK: u64 = 64 << 10;

/// What both ends have told.
#[derive(Default)]
struct Told {
    sender: AtomicUsize,
    receiver: AtomicUsize,
    phases: Mutex<Vec<&'static str>>,
}

impl Told {
    fn event(counter: &AtomicUsize, event: &Event) {
        if let Event::Progress(_) = event {
            let line = serde_json::to_value(event).unwrap();
            for key in [
                "bytes_total",
                "bytes_done",
                "bytes_read",
                "bytes_zero",
                "bytes_reused",
                "bytes_on_wire",
                "rate_bps",
                "eta_seconds",
            ] {
                assert!(line.get(key).is_some(), "{key} in {line}");
            }
            counter.fetch_add(1, SeqCst);
        }
    }

    /// Takes as long as it takes until these ends have told three times more. For ever, if they do not while we wait.
    fn hold_up(&self, phase: &'static str, both: bool) {
        self.phases.lock().unwrap().push(phase);
        let wanted = |counter: &AtomicUsize| counter.load(SeqCst) + 3;
        let (sender, receiver) = (wanted(&self.sender), wanted(&self.receiver));
        let deadline = Instant::now() + PATIENCE;
        while self.sender.load(SeqCst) < sender || both && self.receiver.load(SeqCst) < receiver {
            assert!(Instant::now() < deadline, "an end says nothing while {phase}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Holds up the first call of each of these names.
fn hold_up_once(told: &Arc<Told>, calls: &'static [(&'static str, bool)]) -> impl Fn(&'static str) + use<> {
    let told = told.clone();
    let seen = Mutex::new(Vec::new());
    move |call| {
        let known = calls.iter().find(|(name, _)| *name == call);
        let Some((name, both)) = known else { return };
        let first = {
            let mut seen = seen.lock().unwrap();
            let first = !seen.contains(name);
            seen.push(name);
            first
        };
        if first {
            told.hold_up(name, *both);
        }
    }
}

#[test]
fn both_ends_tell_how_far_they_are_while_nothing_moves() {
    let told = Arc::new(Told::default());
    let dir = tempfile::tempdir().unwrap();
    let content = noise(1, 6 * BLOCK);
    // The survey is the first to read; before the receiver is there only the sender has something to tell.
    let surveyed = hold_up_once(&told, &[("next_data", false), ("read", false), ("check_unchanged", true)]);
    let source = Hooked::new(MemoryDisk::new(content.clone()), surveyed);
    let written = hold_up_once(&told, &[("write", true), ("flush", true), ("reread", true), ("close", true)]);
    let target = Hooked::new(MemoryDisk::zeros(content.len()), written);
    let disk = target.disk.clone();
    let (connector, mut listener) = memory();
    let opening = told.clone();
    let open: OpenTarget = Box::new(move |_| {
        let (target, told) = (target.clone(), opening.clone());
        Box::pin(async move {
            told.hold_up("open", true);
            Ok(Box::new(target) as Box<dyn Target>)
        })
    });
    let sending =
        SendOptions { block_bytes: Some(BLOCK as u32), ..SendOptions::new("/memory".parse().unwrap()) };
    let receiving = ReceiveOptions {
        journal: Some(dir.path().join("journal")),
        verify_target: true,
        ..ReceiveOptions::new("/memory".parse().unwrap())
    };
    // As few threads as there can be.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (hear_sender, hear_receiver) =
            (|event| Told::event(&told.sender, &event), |event| Told::event(&told.receiver, &event));
        let (sent, received) = tokio::join!(
            send_from(Arc::new(source), &sending, &connector, &hear_sender),
            receive_to(open, &receiving, &mut listener, &hear_receiver),
        );
        assert_eq!(sent.unwrap().digest, received.unwrap().digest);
    });
    assert!(disk.contents() == content);
    let phases = told.phases.lock().unwrap().clone();
    for phase in ["read", "next_data", "open", "write", "flush", "check_unchanged", "reread", "close"] {
        assert!(phases.contains(&phase), "{phase} of {phases:?}");
    }
}

#[test]
fn a_sender_tells_that_it_lives_while_its_disk_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("nbd.sock");
    // It takes the connection and says nothing.
    let _server = UnixListener::bind(&path).unwrap();
    let from = format!("nbd+unix:///?socket={}", path.display()).parse().unwrap();
    let (connector, _listener) = memory();
    let told = Arc::new(Told::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let options = SendOptions::new(from);
        let hear = |event| Told::event(&told.sender, &event);
        let sending = send(&options, &connector, &hear);
        let heard = async {
            while told.sender.load(SeqCst) < 3 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            sent = sending => panic!("{sent:?}"),
            heard = tokio::time::timeout(PATIENCE, heard) => heard.unwrap(),
        }
    });
    runtime.shutdown_background();
}

#[test]
fn progress_is_told_at_least_once_a_second() {
    assert!(limits::PROGRESS_EVERY <= Duration::from_secs(1));
}
