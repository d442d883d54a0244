use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fluidcloud_providers::Error;
use viaduct::Source as _;

use super::chunks::{AHEAD, CHUNK_BYTES, CHUNKS_MAX};
use super::*;

/// Tells its place by its bytes, and remembers what was asked for.
#[derive(Debug, Default)]
struct Told {
    asked: Mutex<Vec<Range<u64>>>,
    broken: AtomicBool,
}

const CHUNKS: u64 = 40;
/// The last chunk is shorter.
const SIZE: u64 = CHUNKS * CHUNK_BYTES - 1000;

fn byte_at(at: u64) -> u8 {
    (at / 4096).wrapping_mul(31) as u8
}

#[async_trait]
impl Window for Told {
    fn name(&self) -> String {
        "image i".into()
    }

    fn size(&self) -> u64 {
        SIZE
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Error> {
        self.asked.lock().unwrap().push(range.clone());
        if self.broken.load(Ordering::Relaxed) {
            return Err(Error::TimedOut { what: "the next byte".into(), secs: 1 });
        }
        Ok(range.map(byte_at).collect::<Vec<u8>>().into())
    }
}

async fn read(chunks: &Chunks, range: Range<u64>) -> Vec<u8> {
    let mut buffer = vec![0; (range.end - range.start) as usize];
    chunks.read(range.start, &mut buffer).await.unwrap();
    buffer
}

fn is_right(bytes: &[u8], start: u64) -> bool {
    bytes.iter().enumerate().all(|(at, byte)| *byte == byte_at(start + at as u64))
}

#[tokio::test]
async fn bytes_are_the_same_across_chunks_and_to_the_very_end() {
    let chunks = Chunks::new(Arc::new(Told::default()));
    for range in [5..9, CHUNK_BYTES - 3..CHUNK_BYTES + 70_000, SIZE - 5000..SIZE] {
        assert!(is_right(&read(&chunks, range.clone()).await, range.start), "{range:?}");
    }
    let mut beyond = vec![0; 10];
    assert!(chunks.read(SIZE - 5, &mut beyond).await.is_err());
}

#[tokio::test]
async fn who_reads_on_is_read_ahead_for_and_every_chunk_is_fetched_once() {
    let window = Arc::new(Told::default());
    let chunks = Chunks::new(window.clone());
    for at in (0..SIZE).step_by(1 << 20) {
        let range = at..(at + (1 << 20)).min(SIZE);
        assert!(is_right(&read(&chunks, range.clone()).await, range.start));
    }
    let mut asked = window.asked.lock().unwrap().clone();
    asked.sort_by_key(|range| range.start);
    assert_eq!(asked.len() as u64, CHUNKS, "each once");
    assert!(asked.windows(2).all(|two| two[0].end == two[1].start));
}

#[tokio::test]
async fn who_jumps_gets_no_more_than_asked_for_and_memory_stays_bounded() {
    let window = Arc::new(Told::default());
    let chunks = Chunks::new(window.clone());
    for index in [30, 2, 17, 9, 25] {
        read(&chunks, index * CHUNK_BYTES..index * CHUNK_BYTES + 10).await;
    }
    assert_eq!(window.asked.lock().unwrap().len(), 5);
    for index in 0..=CHUNKS_MAX as u64 + AHEAD {
        read(&chunks, index * CHUNK_BYTES..index * CHUNK_BYTES + 10).await;
    }
    // What is fetched ahead may be asked for only now.
    let first = || window.asked.lock().unwrap().iter().filter(|range| range.start == 0).count();
    let before = first();
    read(&chunks, 0..10).await;
    assert_eq!(first(), before + 1, "the oldest was let go");
}

#[tokio::test]
async fn a_part_that_failed_is_asked_for_again() {
    let window = Arc::new(Told::default());
    let chunks = Chunks::new(window.clone());
    window.broken.store(true, Ordering::Relaxed);
    let mut buffer = [0; 10];
    let error = chunks.read(0, &mut buffer).await.unwrap_err();
    assert!(error.to_string().contains("image i") && error.to_string().contains("next byte"), "{error}");
    window.broken.store(false, Ordering::Relaxed);
    assert!(is_right(&read(&chunks, 0..10).await, 0));
}
