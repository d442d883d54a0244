//! Block buffers that go round instead of being freed: the allocator would otherwise keep a share of them per thread, and
//! memory would follow the number of threads instead of what is in flight.

use std::sync::{Arc, Mutex, PoisonError};

#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    spare: Arc<Mutex<Vec<Vec<u8>>>>,
    keep: usize,
}

impl Buffers {
    /// Keeps at most `keep` spare ones.
    pub fn new(keep: usize) -> Buffers {
        Buffers { spare: Arc::default(), keep }
    }

    /// An empty buffer with room for so much. A buffer that grows by itself takes up to twice what is in it.
    pub fn take(&self, room: usize) -> Vec<u8> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_default();
        buffer.reserve_exact(room);
        buffer
    }

    pub fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0 {
            return;
        }
        buffer.clear();
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.keep {
            spare.push(buffer);
        }
    }
}
