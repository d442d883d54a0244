//! The log in memory, for tests and for a conduit that need not outlive its process. Clones share it, so that a
//! conduit can be "restarted" on it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fluidcloud_proto::ids::RelocationId;

use super::{Error, FACTS_MAX, Store, Tenure};
use crate::relocation::{Entry, Fact};

#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    tenure: u64,
    logs: BTreeMap<RelocationId, Vec<Entry>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn take_over(&self) -> Result<Tenure, Error> {
        let mut inner = self.lock();
        inner.tenure += 1;
        Ok(Tenure(inner.tenure))
    }

    async fn append(
        &self,
        tenure: Tenure,
        relocation: RelocationId,
        entries: &[Entry],
        expected_seq: u64,
    ) -> Result<(), Error> {
        let mut inner = self.lock();
        if inner.tenure != tenure.0 {
            return Err(Error::Fenced);
        }
        let found = inner.logs.get(&relocation).map_or(0, Vec::len) as u64;
        if found != expected_seq {
            return Err(Error::Conflict { relocation, expected: expected_seq, found });
        }
        if found + entries.len() as u64 > FACTS_MAX {
            return Err(Error::Full(relocation));
        }
        inner.logs.entry(relocation).or_default().extend_from_slice(entries);
        Ok(())
    }

    async fn ids(&self) -> Result<Vec<RelocationId>, Error> {
        Ok(self.lock().logs.keys().copied().collect())
    }

    async fn load(&self, relocation: RelocationId) -> Result<Vec<Entry>, Error> {
        Ok(self.lock().logs.get(&relocation).cloned().unwrap_or_default())
    }

    async fn digest_of(&self, relocation: RelocationId) -> Result<Option<String>, Error> {
        let inner = self.lock();
        let first = inner.logs.get(&relocation).and_then(|log| log.first());
        Ok(first.and_then(|entry| match &entry.fact {
            Fact::Requested { digest, .. } => Some(digest.clone()),
            _ => None,
        }))
    }
}
