//! Digests over bytes as they pass, whoever asks for them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use fluidcloud_providers::{ByteStream, Error, Source};
use futures::StreamExt;
use md5::{Digest, Md5};
use sha2::Sha512;

use super::tally::Tally;

/// What of it is computed: who copies many small things needs less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Md5,
    All,
}

/// In hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    pub bytes: u64,
    pub md5: String,
    pub sha512: String,
    pub blake3: String,
}

impl Digests {
    /// `None`: not one that we compute.
    pub fn of(&self, algorithm: &str) -> Option<&str> {
        match algorithm {
            "md5" => Some(&self.md5),
            "sha512" => Some(&self.sha512),
            _ => None,
        }
    }
}

#[derive(Default)]
struct State {
    opened: bool,
    bytes: u64,
    md5: Md5,
    sha512: Sha512,
    blake3: blake3::Hasher,
}

/// Passes bytes on and measures them.
pub struct Measured<'a> {
    inner: &'a dyn Source,
    tally: Arc<Tally>,
    wanted: Wanted,
    state: Arc<Mutex<State>>,
}

impl<'a> Measured<'a> {
    pub fn new(inner: &'a dyn Source, tally: &Arc<Tally>, wanted: Wanted) -> Self {
        Self { inner, tally: tally.clone(), wanted, state: Arc::default() }
    }

    /// Of all that has passed since the source was last opened; `None`: it was not.
    pub fn digests(&self) -> Option<Digests> {
        let state = lock(&self.state);
        if !state.opened {
            return None;
        }
        Some(Digests {
            bytes: state.bytes,
            md5: HEXLOWER.encode(&state.md5.clone().finalize()),
            sha512: HEXLOWER.encode(&state.sha512.clone().finalize()),
            blake3: state.blake3.finalize().to_hex().to_string(),
        })
    }

    pub fn was_opened(&self) -> bool {
        lock(&self.state).opened
    }

    /// Reads all of it for its digests alone.
    pub async fn read(&self) -> Result<Option<Digests>, Error> {
        let mut stream = self.open().await?;
        while let Some(piece) = stream.next().await {
            piece?;
        }
        Ok(self.digests())
    }
}

#[async_trait]
impl Source for Measured<'_> {
    async fn open(&self) -> Result<ByteStream, Error> {
        let stream = self.inner.open().await?;
        self.tally.lost(lock(&self.state).bytes);
        *lock(&self.state) = State { opened: true, ..State::default() };
        let (state, tally, wanted) = (self.state.clone(), self.tally.clone(), self.wanted);
        let pieces = stream.map(move |piece| {
            let piece = piece?;
            let mut state = lock(&state);
            state.bytes += piece.len() as u64;
            state.md5.update(&piece);
            if wanted == Wanted::All {
                state.sha512.update(&piece);
                state.blake3.update(&piece);
            }
            tally.passed(piece.len() as u64);
            Ok(piece)
        });
        Ok(pieces.boxed())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
