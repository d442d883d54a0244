//! A sender made of arbitrary bytes, against the receiver as it is, in memory. What must hold is asserted here; where the
//! bytes come from is the driver's matter.

pub mod script;

use async_trait::async_trait;
use script::{BLOCK, BLOCKS, Say, Script, block};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use viaduct::blocks::Geometry;
use viaduct::{
    Digest, Disk, Error, MemoryConnector, MemoryDisk, OpenTarget, ReceiveOptions, Result, Root, SendOptions,
    Source, Summary, Target, memory, receive_to, send_from,
};

/// A transfer of a few blocks takes milliseconds; what takes so long does not end.
const HANGS: Duration = Duration::from_secs(60);
/// No target here is larger: what announces more is refused as any target too small would be.
const SIZE_MAX: u64 = 4 << 20;
/// Names the threads whose panics are ours.
const THREAD: &str = "fuzzed";

static PANICKED: AtomicBool = AtomicBool::new(false);

/// Lets the sender that `input` describes do its worst. Panics if the receiver did something it must not.
pub fn run(input: &[u8]) {
    listen_for_panics();
    PANICKED.store(false, SeqCst);
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = threads.worker_threads(2).thread_name(THREAD).enable_all().build().expect("a runtime");
    let script = Script::new(input);
    let shm = std::path::Path::new("/dev/shm");
    let dir =
        if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.expect("a directory");
    let target = Guarded::default();
    runtime.block_on(async {
        let options = options(dir.path(), &script);
        let lied = tokio::time::timeout(HANGS, lie(&script, &options, &target)).await;
        let received = lied.expect("the receiver hangs");
        target.check();
        // A hello may have been spoilt so that it announces another disk, which then came.
        if let Some(summary) = received.ok().filter(|summary| summary.bytes_total == script.size) {
            assert_eq!(
                summary.digest,
                target.root(script.block_bytes),
                "called verified, but is another disk"
            );
        }
        // Whatever was done to them, target and journal are still good for an honest transfer.
        let size = target.bytes().len() as u64;
        if size == BLOCK * BLOCKS && u64::from(script.block_bytes) == BLOCK {
            let content: Vec<u8> =
                (0..BLOCKS).flat_map(|number| block(script.honest[number as usize])).collect();
            let carried = tokio::time::timeout(HANGS, carry(&content, &options, &target)).await;
            let carried = carried.expect("an honest transfer hangs");
            target.check();
            match carried {
                Ok(()) => assert!(*target.bytes() == content, "an honest transfer made another disk"),
                Err(error) if error.code() == "journal" => {}
                Err(error) => panic!("an honest transfer fails: {error}: {}", error.remedy()),
            }
        }
    });
    drop(runtime);
    assert!(!PANICKED.load(SeqCst), "the receiver panicked");
}

fn options(dir: &std::path::Path, script: &Script) -> ReceiveOptions {
    let other = dir.join("other");
    std::fs::write(&other, block(script.other)).expect("another disk");
    ReceiveOptions {
        journal: Some(dir.join("journal")),
        have: vec![Disk::File(other)],
        idle: Duration::from_millis(100),
        verify_target: script.verify,
        ..ReceiveOptions::new(Disk::File("memory".into()))
    }
}

fn opening(target: &Guarded) -> OpenTarget {
    let target = target.clone();
    Box::new(move |announced| {
        let target = target.clone();
        Box::pin(async move {
            target.open(announced.size)?;
            Ok(Box::new(target) as Box<dyn Target>)
        })
    })
}

async fn lie(script: &Script, options: &ReceiveOptions, target: &Guarded) -> Result<Summary> {
    let (connector, mut listener) = memory();
    let receiving = async {
        let received = receive_to(opening(target), options, &mut listener, &|_| ()).await;
        // Streams that nobody has accepted break, as they do when a process ends.
        drop(listener);
        received
    };
    let (received, ()) = tokio::join!(receiving, tell(script, connector));
    received
}

/// Says it all, and listens to nothing but takes it off the line.
async fn tell(script: &Script, connector: MemoryConnector) {
    let mut streams = Vec::new();
    for say in &script.says {
        match say {
            Say::Open => {
                let Ok(stream) = viaduct::Connector::connect(&connector, None).await else { return };
                let (mut reader, writer) = tokio::io::split(stream);
                tokio::spawn(async move { while matches!(reader.read(&mut [0; 4096]).await, Ok(1..)) {} });
                streams.push(Some(writer));
            }
            Say::Bytes { stream, bytes } => {
                if let Some(Some(writer)) = streams.get_mut(*stream) {
                    let _ = writer.write_all(bytes).await;
                }
            }
            Say::Close { stream } => {
                if let Some(Some(mut writer)) = streams.get_mut(*stream).map(Option::take) {
                    let _ = writer.shutdown().await;
                }
            }
            // So that the order in which the receiver sees streams is not always that of one and the same race.
            Say::Wait => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
    for mut writer in streams.into_iter().flatten() {
        let _ = writer.shutdown().await;
    }
}

async fn carry(content: &[u8], options: &ReceiveOptions, target: &Guarded) -> Result<()> {
    let (connector, mut listener) = memory();
    let sending = SendOptions {
        block_bytes: Some(BLOCK as u32),
        streams: Some(1),
        whole: true,
        ..SendOptions::new(Disk::File("memory".into()))
    };
    let source = Arc::new(MemoryDisk::new(content.to_vec()));
    let (sent, received) = tokio::join!(
        send_from(source, &sending, &connector, &|_| ()),
        receive_to(opening(target), options, &mut listener, &|_| ()),
    );
    received?;
    sent.map(|_| ())
}

/// A panic on one of our threads may end a task that nobody misses.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name() == Some(THREAD) {
                PANICKED.store(true, SeqCst);
            }
            before(panic);
        }));
    });
}

/// A disk that takes note of whoever would write or read outside of it.
#[derive(Clone, Debug, Default)]
struct Guarded {
    bytes: Arc<Mutex<Vec<u8>>>,
    writes: Arc<AtomicU64>,
    outside: Arc<AtomicBool>,
}

impl Guarded {
    fn open(&self, size: u64) -> Result<()> {
        let (mut bytes, what) = (self.bytes(), "a disk in memory".to_owned());
        if bytes.is_empty() && size <= SIZE_MAX {
            bytes.resize(size as usize, 0);
        }
        let have = bytes.len() as u64;
        if have < size { Err(Error::TargetTooSmall { what, have, need: size }) } else { Ok(()) }
    }

    fn check(&self) {
        assert!(!self.outside.load(SeqCst), "the receiver reached outside of the disk");
    }

    fn root(&self, block_bytes: u32) -> Digest {
        let bytes = self.bytes();
        let geometry = Geometry::new(bytes.len() as u64, block_bytes).expect("a geometry that was accepted");
        let mut root = Root::new(geometry);
        for (index, block) in bytes.chunks(block_bytes as usize).enumerate() {
            if block.iter().any(|byte| *byte != 0) {
                root.push(index as u64, Digest::of(block));
            }
        }
        root.finish()
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with(&self, range: Range<u64>, work: impl FnOnce(&mut [u8])) -> Result<()> {
        let mut bytes = self.bytes();
        match bytes.get_mut(range.start as usize..range.end as usize) {
            Some(piece) => work(piece),
            None => self.outside.store(true, SeqCst),
        }
        Ok(())
    }
}

#[async_trait]
impl Target for Guarded {
    fn name(&self) -> String {
        "memory".into()
    }

    fn began_as_zeros(&self) -> bool {
        self.bytes().iter().all(|byte| *byte == 0)
    }

    async fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let range = offset..offset + buffer.len() as u64;
        self.with(range, |piece| buffer.copy_from_slice(piece))
    }

    async fn write(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.writes.fetch_add(1, SeqCst);
        self.with(offset..offset + bytes.len() as u64, |piece| piece.copy_from_slice(bytes))
    }

    async fn zero(&self, range: Range<u64>) -> Result<()> {
        self.writes.fetch_add(1, SeqCst);
        self.with(range, |piece| piece.fill(0))
    }

    async fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn identity(&self) -> Option<u64> {
        None
    }

    async fn stamp(&self) -> Result<Option<u64>> {
        Ok(Some(self.writes.load(SeqCst)))
    }

    async fn reread(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(MemoryDisk::new(self.bytes().clone())))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
