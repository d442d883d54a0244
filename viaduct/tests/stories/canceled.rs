//! Both ends are canceled at once, within their process, at any moment: nothing of them goes on writing behind the back
//! of the next attempt, and the next attempt is neither refused nor kept waiting.

use crate::hooked::Hooked;
use crate::lab::{MIB, PATIENCE, have, noise, same};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use viaduct::{
    Disk, Identity, MemoryDisk, OpenTarget, ReceiveOptions, Result, SendOptions, Summary, Target,
    TlsConnector, TlsListener, memory, receive, receive_to, send, send_from,
};

const BLOCK: u32 = 64 << 10;

/// Different moments in every run, told when they find something.
fn moments(count: usize, below: Duration) -> Vec<Duration> {
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let numbers = noise(seed.as_nanos() as u64, count as u64 * 4);
    let pick = |bytes: &[u8; 4]| below.mul_f64(f64::from(u32::from_le_bytes(*bytes)) / f64::from(u32::MAX));
    numbers.as_chunks().0.iter().map(pick).collect()
}

struct Pair {
    from: PathBuf,
    to: Disk,
    journal: PathBuf,
    sender: Identity,
    receiver: Identity,
}

impl Pair {
    fn new(dir: &Path, to: Disk) -> Pair {
        let identity = |name: &str| Identity::load_or_create(&dir.join(name)).unwrap();
        let from = dir.join("source.raw");
        let mut content = noise(1, 6 * MIB);
        content.resize(10 * MIB as usize, 0);
        content.extend_from_within(8192..8192 + 4 * MIB as usize);
        std::fs::write(&from, &content).unwrap();
        let (sender, receiver) = (identity("sender.pem"), identity("receiver.pem"));
        Pair { from, to, journal: dir.join("journal"), sender, receiver }
    }

    /// One attempt at both ends, in this task: dropping it drops both.
    async fn attempt(&self) -> (Result<Summary>, Result<Summary>) {
        let mut listener =
            TlsListener::bind("127.0.0.1:0", &self.receiver, self.sender.fingerprint()).await.unwrap();
        let address = viaduct::Listener::address(&listener);
        let connector = TlsConnector::new(&address, &self.sender, self.receiver.fingerprint()).unwrap();
        let receiving =
            ReceiveOptions { journal: Some(self.journal.clone()), ..ReceiveOptions::new(self.to.clone()) };
        let sending = SendOptions {
            block_bytes: Some(BLOCK),
            streams: Some(2),
            ..SendOptions::new(Disk::File(self.from.clone()))
        };
        tokio::join!(send(&sending, &connector, &|_| ()), receive(&receiving, &mut listener, &|_| ()),)
    }

    /// Aborted rather than dropped: the runtime lets go of it when it comes to it, after the next one has begun.
    fn aborted(self, moment: Duration) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let pair = Arc::new(self);
        runtime.block_on(async {
            let first = pair.clone();
            let first = tokio::spawn(async move { drop(first.attempt().await) });
            tokio::time::sleep(moment).await;
            first.abort();
            let (sent, received) = tokio::time::timeout(PATIENCE, pair.attempt()).await.unwrap();
            assert_eq!(sent.unwrap().digest, received.unwrap().digest, "after {moment:?}");
        });
    }

    fn survives(&self, moments: Vec<Duration>) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            for moment in &moments {
                if let Ok((sent, received)) = tokio::time::timeout(*moment, self.attempt()).await {
                    // It was done before it could be canceled.
                    assert_eq!(sent.unwrap().digest, received.unwrap().digest, "{moments:?}");
                }
            }
            let last = tokio::time::timeout(PATIENCE, self.attempt()).await;
            let (sent, received) = last.unwrap_or_else(|_| panic!("it does not end after {moments:?}"));
            assert_eq!(sent.unwrap().digest, received.unwrap().digest, "{moments:?}");
        });
    }
}

#[test]
fn both_ends_are_canceled_at_any_moment_and_the_next_attempt_goes_on() {
    for round in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("target.raw");
        let pair = Pair::new(dir.path(), Disk::File(to.clone()));
        pair.survives(moments(6, Duration::from_millis(40 + 20 * round)));
        assert!(same(&pair.from, &to), "round {round}");
    }
}

#[test]
fn both_ends_are_aborted_and_the_next_attempt_begins_at_once() {
    for moment in moments(10, Duration::from_millis(120)) {
        let dir = tempfile::tempdir().unwrap();
        Pair::new(dir.path(), Disk::File(dir.path().join("target.raw"))).aborted(moment);
    }
}

#[test]
fn the_helper_of_a_canceled_receiver_lets_go_of_the_image() {
    if !have("qemu-nbd") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let to = Disk::Qcow2(dir.path().join("target.qcow2"));
    let pair = Pair::new(dir.path(), to.clone());
    pair.survives(moments(6, Duration::from_millis(400)));
    assert_eq!(crate::lab::digest(&to.to_string()), crate::lab::digest(pair.from.to_str().unwrap()));
}

#[test]
fn nothing_is_opened_while_a_canceled_attempt_is_still_writing() {
    let dir = tempfile::tempdir().unwrap();
    let source = MemoryDisk::new(noise(1, 8 * u64::from(BLOCK)));
    let writing = Arc::new(AtomicUsize::new(0));
    let counted = writing.clone();
    let slow = Hooked::new(MemoryDisk::zeros(8 * BLOCK as usize), move |call| {
        if call == "write" {
            counted.fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(300));
            counted.fetch_sub(1, SeqCst);
        }
    });
    let attempt = async || {
        let (connector, mut listener) = memory();
        let (target, writing) = (slow.clone(), writing.clone());
        let open: OpenTarget = Box::new(move |_| {
            assert_eq!(writing.load(SeqCst), 0, "somebody writes to the target");
            let target = target.clone();
            Box::pin(async move { Ok(Box::new(target) as Box<dyn Target>) })
        });
        let nowhere = || Disk::File("memory".into());
        let receiving =
            ReceiveOptions { journal: Some(dir.path().join("journal")), ..ReceiveOptions::new(nowhere()) };
        let sending = SendOptions { block_bytes: Some(BLOCK), ..SendOptions::new(nowhere()) };
        tokio::join!(
            send_from(Arc::new(source.clone()), &sending, &connector, &|_| ()),
            receive_to(open, &receiving, &mut listener, &|_| ()),
        )
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let written = async {
            while writing.load(SeqCst) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            _ = attempt() => panic!("it was not canceled"),
            () = written => {}
        }
        assert!(writing.load(SeqCst) > 0, "a canceled write is still under way");
        let (sent, received) = tokio::time::timeout(PATIENCE, attempt()).await.unwrap();
        assert_eq!(sent.unwrap().digest, received.unwrap().digest);
    });
    assert!(slow.disk.contents() == source.contents());
}
