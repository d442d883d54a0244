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

    /// An empty buffer, with capacity if a spare one was there.
    pub fn take(&self) -> Vec<u8> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
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
