//! What a broken line or a hostile sender can do: nothing. On the in-memory transport, which protects no byte, so that the
//! frames have to.

use crate::fuzzed::receiver::script::recipe;
use crate::lab::noise;
use async_trait::async_trait;
use proptest::prelude::*;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use viaduct::{
    Connector, Digest, Disk, Error, HEADER_BYTES, Header, Kind, MemoryConnector, MemoryDisk, MemoryListener,
    ReceiveOptions, Result, SendOptions, Stream, Summary, memory, receive_to, send_from,
};

const BLOCK: u64 = 64 << 10;
const BLOCKS: u64 = 8;

fn options(dir: &tempfile::TempDir) -> ReceiveOptions {
    ReceiveOptions {
        journal: Some(dir.path().join("journal")),
        idle: Duration::from_secs(2),
        ..ReceiveOptions::new(Disk::File("memory".into()))
    }
}

async fn receive_into(
    target: MemoryDisk,
    options: &ReceiveOptions,
    mut listener: MemoryListener,
) -> Result<Summary> {
    let open: viaduct::OpenTarget = Box::new(move |announced| {
        let target = target.clone();
        Box::pin(async move {
            assert_eq!(announced.size, BLOCK * BLOCKS);
            Ok(Box::new(target) as Box<dyn viaduct::Target>)
        })
    });
    receive_to(open, options, &mut listener, &|_| ()).await
}

/// Flips one bit of what the sender says, after so many bytes of the first stream.
struct Flipping {
    connector: MemoryConnector,
    after: usize,
}

#[async_trait]
impl Connector for Flipping {
    fn whom(&self) -> String {
        self.connector.whom()
    }

    async fn connect(&self, join: Option<&str>) -> Result<Stream> {
        let (mut inner_read, mut inner_write) = tokio::io::split(self.connector.connect(join).await?);
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let (mut read, mut write) = tokio::io::split(theirs);
        let after = self.after;
        tokio::spawn(async move {
            let (mut passed, mut buffer) = (0, [0; 4096]);
            while let Ok(length @ 1..) = read.read(&mut buffer).await {
                if (passed..passed + length).contains(&after) {
                    buffer[after - passed] ^= 1 << (after % 8);
                }
                passed += length;
                if inner_write.write_all(&buffer[..length]).await.is_err() {
                    break;
                }
            }
            let _ = inner_write.shutdown().await;
        });
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut inner_read, &mut write).await;
            let _ = write.shutdown().await;
        });
        Ok(Box::new(ours))
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn no_flipped_bit_ever_makes_a_wrong_disk_that_is_called_verified(after in 0usize..300_000) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let mut content = noise(1, 4 * BLOCK);
            content.resize((BLOCK * BLOCKS) as usize, 0);
            let source = MemoryDisk::new(content.clone());
            let target = MemoryDisk::zeros(content.len());
            let (connector, listener) = memory();
            let connector = Flipping { connector, after };
            let sending = SendOptions {
                streams: Some(1),
                block_bytes: Some(BLOCK as u32),
                retry: Duration::ZERO,
                idle: Duration::from_secs(2),
                ..SendOptions::new(Disk::File("memory".into()))
            };
            let options = options(&dir);
            let (sent, received) = tokio::join!(
                send_from(Arc::new(source), &sending, &connector, &|_| ()),
                receive_into(target.clone(), &options, listener),
            );
            match received {
                Ok(_) => assert!(target.contents() == content, "called verified, but wrong"),
                Err(_) => assert!(sent.is_err()),
            }
        });
    }
}

/// A sender that says what it likes.
struct Liar {
    stream: Stream,
}

impl Liar {
    async fn new(connector: &MemoryConnector) -> Liar {
        let mut liar = Liar { stream: connector.connect(None).await.unwrap() };
        let hello = format!(
            r#"{{"session":"s","stream":0,"size":{},"block_bytes":{BLOCK},"data_bytes":0,"label":"lies"}}"#,
            BLOCK * BLOCKS
        );
        let header = Header {
            wire_length: hello.len() as u32,
            ..Header::bare(Kind::Hello, 0, 0, Digest::of(hello.as_bytes()))
        };
        liar.say(&header, hello.as_bytes()).await;
        liar
    }

    async fn say(&mut self, header: &Header, payload: &[u8]) {
        // The receiver may have had enough already.
        let _ = self.stream.write_all(&header.encode()).await;
        let _ = self.stream.write_all(payload).await;
    }

    async fn block(&mut self, offset: u64, bytes: &[u8]) {
        let header = Header::bare(Kind::Raw, offset, bytes.len() as u64, Digest::of(bytes));
        self.say(&Header { wire_length: bytes.len() as u32, ..header }, bytes).await;
    }

    async fn zeros(&mut self, offset: u64, length: u64) {
        self.say(&Header::bare(Kind::Zero, offset, length, Digest([0; 32])), &[]).await;
    }

    async fn end(&mut self, root: Digest) {
        let totals = br#"{"read":0,"zero":0,"reused":0,"on_wire":0,"streams":1}"#;
        let check = u64::from_le_bytes(Digest::of(totals).0[..8].try_into().unwrap());
        let header = Header::bare(Kind::End, 0, check, root);
        self.say(&Header { wire_length: totals.len() as u32, ..header }, totals).await;
    }
}

/// Lets a sender lie; the receiver's error and the target afterwards.
fn lie(script: impl AsyncFnOnce(&mut Liar)) -> (Error, MemoryDisk) {
    lie_to(Duration::from_secs(2), script)
}

/// The same, to a receiver that waits so long for a sender that says nothing or is gone.
fn lie_to(idle: Duration, script: impl AsyncFnOnce(&mut Liar)) -> (Error, MemoryDisk) {
    let target = MemoryDisk::new(noise(2, BLOCK * BLOCKS));
    let error = runtime().block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let (connector, listener) = memory();
        let lying = async {
            let mut liar = Liar::new(&connector).await;
            script(&mut liar).await;
            // Until the receiver has said what it thinks of it, which ends with this word; it waits for us to close.
            let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = liar.stream.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..length]);
                if answer.windows(11).any(|word| word == b"\"retryable\"") {
                    break;
                }
            }
        };
        let options = ReceiveOptions { idle, ..options(&dir) };
        let (received, ()) = tokio::join!(receive_into(target.clone(), &options, listener), async {
            let _ = tokio::time::timeout(Duration::from_secs(5), lying).await;
        });
        received.unwrap_err()
    });
    (error, target)
}

#[test]
fn frames_outside_the_disk_are_refused_and_write_nothing() {
    let block = noise(3, BLOCK);
    let before = noise(2, BLOCK * BLOCKS);
    for (offset, length) in [
        (BLOCK * BLOCKS, BLOCK),
        (u64::MAX - BLOCK + 1, BLOCK),
        (512, BLOCK),
        (0, 512),
        (BLOCK * (BLOCKS - 1), BLOCK - 1),
    ] {
        let (error, target) = lie(async |liar| liar.block(offset, &block[..length as usize]).await);
        assert!(matches!(error, Error::Protocol { .. }), "{offset} {length}: {error}");
        assert!(target.contents() == before);
    }
    for (offset, length) in
        [(0, BLOCK * BLOCKS + 1), (0, u64::MAX), (BLOCK, u64::MAX), (512, BLOCK), (0, 0), (u64::MAX, 1)]
    {
        let (error, target) = lie(async |liar| liar.zeros(offset, length).await);
        assert!(matches!(error, Error::Protocol { .. }), "{offset} {length}: {error}");
        assert!(target.contents() == before);
    }
}

#[test]
fn a_block_with_another_digest_is_not_written() {
    let block = noise(3, BLOCK);
    let header =
        Header { wire_length: BLOCK as u32, ..Header::bare(Kind::Raw, 0, BLOCK, Digest::of(b"other")) };
    let (error, target) = lie(async |liar| liar.say(&header, &block).await);
    assert!(matches!(error, Error::Corrupted { offset: 0, .. }), "{error}");
    assert_eq!(target.writes(), 0);
}

#[test]
fn a_packed_block_that_unpacks_to_more_is_refused() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 19).unwrap();
    let digest = Digest::of(&vec![0; 64 << 20]);
    let header = Header { wire_length: bomb.len() as u32, ..Header::bare(Kind::Zstd, 0, BLOCK, digest) };
    let (error, target) = lie(async |liar| liar.say(&header, &bomb).await);
    assert!(matches!(error, Error::Corrupted { .. }), "{error}");
    assert_eq!(target.writes(), 0);
}

#[test]
fn a_block_that_comes_twice_is_refused() {
    let block = noise(3, BLOCK);
    let (error, _) = lie(async |liar| {
        liar.block(0, &block).await;
        liar.block(0, &block).await;
    });
    assert!(error.to_string().contains("twice"), "{error}");
}

#[test]
fn a_disk_with_a_block_left_out_is_not_called_verified() {
    let (error, _) = lie(async |liar| {
        liar.zeros(0, BLOCK * (BLOCKS - 1)).await;
        liar.end(Digest([0; 32])).await;
    });
    assert!(error.to_string().contains("left 1 blocks out"), "{error}");
}

#[test]
fn another_root_is_not_called_verified() {
    let (error, _) = lie(async |liar| {
        liar.zeros(0, BLOCK * BLOCKS).await;
        liar.end(Digest::of(b"another disk")).await;
    });
    assert!(matches!(error, Error::Differs { .. }), "{error}");
}

#[test]
fn a_block_is_not_taken_for_durable_on_the_senders_word() {
    let header = Header::bare(Kind::Same, 0, BLOCK, Digest::of(b"trust me"));
    let (error, _) = lie(async |liar| liar.say(&header, &[]).await);
    assert!(error.to_string().contains("not here with that digest"), "{error}");
}

#[test]
fn another_version_and_noise_are_told_as_such() {
    let mut other = [7; HEADER_BYTES];
    other[0] = 99;
    let (error, _) = lie(async |liar| drop(liar.stream.write_all(&other).await));
    assert!(error.to_string().contains("version 99"), "{error}");
    assert!(error.remedy().contains("same version"));
}

async fn say_mixed(liar: &mut Liar, digest: Digest, payload: &[u8]) {
    let header = Header { wire_length: payload.len() as u32, ..Header::bare(Kind::Mixed, 0, BLOCK, digest) };
    liar.say(&header, payload).await;
}

#[test]
fn a_recipe_that_makes_something_else_is_never_written() {
    let (half, block) = (BLOCK as u32 / 2, BLOCK as u32);
    for payload in [
        vec![],
        recipe(&[], &[]),
        recipe(&[(1, half, 0)], &[]),
        recipe(&[(1, u32::MAX, 0)], &[]),
        recipe(&[(3, block, 0)], &[]),
        recipe(&[(0, half, 0), (1, half, 0)], &[1; 100]),
        recipe(&[(0, 100, 0), (1, block - 100, 0)], &[1; 200]),
        recipe(&[(2, block, u64::MAX)], &[]),
    ] {
        let (error, target) = lie(async |liar| say_mixed(liar, Digest::of(b"x"), &payload).await);
        assert!(matches!(error, Error::Corrupted { .. }), "{error}");
        assert_eq!(target.writes(), 0);
    }
}

#[test]
fn a_copy_that_is_not_what_it_was_said_to_be_is_asked_for_once_and_then_an_error() {
    let lies = recipe(&[(2, BLOCK as u32, BLOCK)], &[]);
    let (error, target) = lie(async |liar| {
        say_mixed(liar, Digest::of(b"x"), &lies).await;
        say_mixed(liar, Digest::of(b"x"), &lies).await;
    });
    assert!(matches!(error, Error::Corrupted { offset: 0, .. }), "{error}");
    assert_eq!(target.writes(), 0);
}

#[test]
fn a_question_about_no_place_is_refused() {
    for (place, length) in [(BLOCK * BLOCKS, 1), (1 << 48, 4096), (u64::MAX, 4096), (BLOCK * BLOCKS - 1, 2)] {
        let (error, _) = lie(async |liar| {
            liar.say(&Header::bare(Kind::Ask, place, length, Digest([0; 32])), &[]).await;
        });
        assert!(error.to_string().contains("no place"), "{error}");
    }
}

/// One frame of a sender that has lost its mind: often right in form, seldom in meaning.
fn madness() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let kinds =
        [Kind::Raw, Kind::Zstd, Kind::Mixed, Kind::Zero, Kind::Same, Kind::Ask, Kind::End, Kind::Ping];
    let place = || {
        prop_oneof![
            4 => (0..BLOCKS).prop_map(|block| block * BLOCK),
            1 => any::<u64>(),
            1 => (0u64..4, 0..1u64 << 20).prop_map(|(disk, at)| (disk << 48) + at),
        ]
    };
    let length = prop_oneof![4 => Just(BLOCK), 1 => 0..4 * BLOCK, 1 => any::<u64>()];
    let parts = proptest::collection::vec((0u8..4, 0..2 * BLOCK as u32, place()), 0..6);
    let bytes = proptest::collection::vec(any::<u8>(), 0..300);
    (proptest::sample::select(kinds.to_vec()), place(), length, parts, bytes, any::<bool>()).prop_map(
        |(kind, offset, length, parts, bytes, right)| {
            let payload = match kind {
                Kind::Raw if right => noise(7, BLOCK),
                Kind::Mixed => recipe(&parts, &bytes),
                Kind::Zstd if right => zstd::bulk::compress(&vec![3; BLOCK as usize], 1).unwrap(),
                Kind::Raw | Kind::Zstd | Kind::End => bytes,
                _ => Vec::new(),
            };
            let digest = match kind {
                Kind::Zstd => Digest::of(&vec![3; BLOCK as usize]),
                _ => Digest::of(&payload),
            };
            (
                Header { wire_length: payload.len() as u32, ..Header::bare(kind, offset, length, digest) },
                payload,
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    /// The target panics on a write outside of it, and keeps its size.
    #[test]
    fn no_sequence_of_frames_crashes_the_receiver_or_writes_outside_the_disk(frames in proptest::collection::vec(madness(), 1..12)) {
        let (error, target) = lie_to(Duration::from_millis(100), async |liar| {
            for (header, payload) in &frames {
                liar.say(header, payload).await;
            }
            let _ = liar.stream.shutdown().await;
        });
        prop_assert!(!error.code().is_empty());
        prop_assert_eq!(target.contents().len() as u64, BLOCK * BLOCKS);
    }
}
