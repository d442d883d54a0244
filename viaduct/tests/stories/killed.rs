//! A line that is cut at random points, a hundred times over, and ends that are killed: both go on from what is there, and
//! the disk is the right one in the end.

use crate::lab::{Lab, MIB, digest, disk, noise, opens, same};
use async_trait::async_trait;
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use viaduct::{
    Connector, Disk, MemoryConnector, MemoryDisk, ReceiveOptions, Result, SendOptions, Stream, memory,
    receive_to, send_from,
};

const BLOCK: u64 = 64 << 10;
const BLOCKS: u64 = 64;

/// Noise, zeros, text, and a piece that comes twice.
fn content() -> Vec<u8> {
    let mut bytes = noise(1, 24 * BLOCK);
    bytes.resize(30 * BLOCK as usize, 0);
    bytes.extend(b"all work and no play ".iter().copied().cycle().take(8 * BLOCK as usize));
    bytes.extend_from_within(3 * 4096..3 * 4096 + 20 * BLOCK as usize);
    bytes.extend(noise(2, 6 * BLOCK));
    bytes.resize((BLOCKS * BLOCK) as usize, 1);
    bytes
}

/// Cuts all streams when the sender has said so many bytes, then those of the next attempt, and so on.
struct Cutting {
    connector: MemoryConnector,
    after: Vec<i64>,
    attempt: AtomicUsize,
    left: Arc<AtomicI64>,
}

#[async_trait]
impl Connector for Cutting {
    fn whom(&self) -> String {
        self.connector.whom()
    }

    async fn connect(&self, join: Option<&str>) -> Result<Stream> {
        let (mut inner_read, mut inner_write) = tokio::io::split(self.connector.connect(join).await?);
        if self.left.load(Ordering::Relaxed) <= 0 {
            let attempt = self.attempt.fetch_add(1, Ordering::Relaxed);
            let allowance = self.after.get(attempt).copied().unwrap_or(i64::MAX);
            self.left.store(allowance, Ordering::Relaxed);
        }
        let (ours, theirs) = tokio::io::duplex(16 << 10);
        let (mut read, mut write) = tokio::io::split(theirs);
        let left = self.left.clone();
        tokio::spawn(async move {
            let mut buffer = [0; 2048];
            let forward = async {
                loop {
                    use tokio::io::AsyncReadExt;
                    let Ok(length @ 1..) = read.read(&mut buffer).await else { return };
                    if left.fetch_sub(length as i64, Ordering::Relaxed) <= length as i64 {
                        return;
                    }
                    if inner_write.write_all(&buffer[..length]).await.is_err() {
                        return;
                    }
                }
            };
            let back = tokio::io::copy(&mut inner_read, &mut write);
            tokio::select! { () = forward => {} _ = back => {} }
            // Both directions end with the task.
        });
        Ok(Box::new(ours))
    }
}

/// How a transfer ended.
pub struct Carried {
    /// Both ends say so, and of the same digest.
    pub verified: bool,
    pub target: Vec<u8>,
    pub attempts: usize,
}

/// Carries a disk into an empty one over a line that is cut after so many bytes, time and again.
pub fn over_cuts(
    source: &[u8],
    after: Vec<i64>,
    streams: u16,
    block_bytes: u64,
    receiving: &dyn Fn(ReceiveOptions) -> ReceiveOptions,
) -> Carried {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (source, target) = (MemoryDisk::new(source.to_vec()), MemoryDisk::zeros(source.len()));
    let (connector, mut listener) = memory();
    let connector = Cutting { connector, after, attempt: AtomicUsize::new(0), left: Arc::default() };
    let sending = SendOptions {
        streams: Some(streams),
        block_bytes: Some(block_bytes as u32),
        retry: Duration::from_secs(30),
        ..SendOptions::new(Disk::File("memory".into()))
    };
    let receiving = receiving(ReceiveOptions {
        journal: Some(dir.path().join("journal")),
        ..ReceiveOptions::new(Disk::File("memory".into()))
    });
    let (sent, received) = runtime.block_on(async {
        tokio::join!(
            send_from(Arc::new(source), &sending, &connector, &|_| ()),
            receive_to(opens(&target), &receiving, &mut listener, &|_| ()),
        )
    });
    Carried {
        verified: sent.unwrap().digest == received.unwrap().digest,
        target: target.contents(),
        attempts: connector.attempt.load(Ordering::Relaxed),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 25, max_shrink_iters: 0, ..ProptestConfig::default() })]

    /// Four cuts each: a hundred in all. Near enough to each other that each of them comes before the end.
    #[test]
    fn a_line_cut_anywhere_ends_with_the_same_disk(cuts in proptest::collection::vec(1i64..450_000, 4), streams in 1u16..4) {
        let bytes = content();
        let carried = over_cuts(&bytes, cuts, streams, BLOCK, &|options| options);
        prop_assert!(carried.verified && carried.target == bytes);
        // The last attempt is the one that was not cut.
        prop_assert_eq!(carried.attempts, 5);
    }
}

#[test]
fn either_end_killed_at_any_moment_ends_with_the_same_disk() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 48 * MIB, &[(0, 20 * MIB), (30 * MIB, 4 * MIB)]);
    let to = lab.path("target.raw").display().to_string();
    for round in 0..10u64 {
        let receiver = lab.receive(&to, &[]);
        let sender = lab.send(&from, &receiver.address(), &["--rate", "8M"]);
        // From before the first word to well into the data, at no regular distance.
        std::thread::sleep(Duration::from_millis(round * round * 13 % 400));
        if round % 2 == 0 {
            sender.kill();
            receiver.kill();
        } else {
            receiver.kill();
            sender.kill();
        }
    }
    let (sent, received) = lab.carry(&from, &to);
    assert_eq!((&sent["digest"], received["digest"].as_str()), (&received["digest"], Some(&*digest(&from))));
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}
