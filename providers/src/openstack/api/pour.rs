//! From one cloud into another: a download as a stream that goes on where it broke, and an upload of such a stream, once. Both
//! may take as long as they like as long as bytes move.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use reqwest::header::{CONTENT_LENGTH, HeaderMap, RANGE};
use reqwest::{Body, Response, StatusCode};
use tokio::time::Instant;

use super::retry::{Outcome, Repeat, again};
use super::send::{jitter, read};
use super::{Api, Call};
use crate::bytes::ByteStream;
use crate::error::Error;

/// No byte for so long: the connection is dead.
const STALL: Duration = Duration::from_secs(120);
/// Until an upload is answered, after its last byte: the service may still be storing it.
const STORED: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(1);

/// Most memory taken for a part before its bytes come.
const PART_ROOM: usize = 16 << 20;

/// What a service answered, without its body.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub status: u16,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
}

impl Answered {
    pub(super) fn of(status: u16, headers: &HeaderMap) -> Self {
        let text =
            |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        Self {
            status,
            headers: headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        }
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A download on its way.
struct Pouring {
    api: Api,
    call: Call,
    /// A part of it only.
    part: Option<Range<u64>>,
    done: u64,
    /// Attempts that brought nothing, in a row.
    attempt: u32,
    answer: Option<Response>,
    /// Of the answer's first bytes, so many are known.
    skip: u64,
    renewed: bool,
}

impl Api {
    /// What is behind the call, from its first byte to its last.
    pub(crate) fn pour(&self, call: Call) -> ByteStream {
        self.pour_part(call, None)
    }

    /// All bytes of a part of what is behind the call, held in memory.
    pub(crate) async fn part(&self, call: Call, part: Range<u64>) -> Result<Bytes, Error> {
        let what = call.what.clone();
        let length = usize::try_from(part.end - part.start).unwrap_or(usize::MAX);
        let mut pieces = self.pour_part(call, Some(part));
        let mut all = BytesMut::with_capacity(length.min(PART_ROOM));
        while let Some(piece) = pieces.next().await {
            all.extend_from_slice(&piece?);
            if all.len() > length {
                break;
            }
        }
        if all.len() == length {
            return Ok(all.freeze());
        }
        let cause = format!("{} bytes came of the {length} that were asked for", all.len()).into();
        Err(Error::Driver { provider: self.provider.to_string(), what, cause })
    }

    fn pour_part(&self, call: Call, part: Option<Range<u64>>) -> ByteStream {
        let api = self.clone();
        let pouring = Pouring { api, call, part, done: 0, attempt: 1, answer: None, skip: 0, renewed: false };
        futures::stream::try_unfold(pouring, |mut pouring| async move {
            let piece = pouring.next().await?;
            Ok(piece.map(|piece| (piece, pouring)))
        })
        .boxed()
    }

    /// Sends the stream, in one attempt: its bytes cannot be had again. An error of the stream is told as such.
    pub(crate) async fn fill(&self, call: &Call, length: u64, stream: ByteStream) -> Result<Answered, Error> {
        let token = self.token().await?;
        let watch = Watch::over_bytes(length);
        let body = Body::wrap_stream(watch.clone().over(stream));
        let request = self.request(call, &token)?.header(CONTENT_LENGTH, length).body(body).send();
        let answer = tokio::select! {
            answer = request => answer,
            () = watch.stalls() => {
                let what = format!("the next byte when asked to {}", call.what);
                return Err(Error::TimedOut { what, secs: STALL.as_secs() });
            }
        };
        if let Some(error) = watch.failed() {
            return Err(error);
        }
        let answer = answer.map_err(|cause| self.silent(&call.what, cause))?;
        let answer = tokio::time::timeout(STALL, read(answer)).await.map_err(|_| {
            let what = format!("the rest of the answer when asked to {}", call.what);
            Error::TimedOut { what, secs: STALL.as_secs() }
        })?;
        match answer.map_err(|cause| self.silent(&call.what, cause))? {
            answer if answer.status.is_success() => Ok(Answered::of(answer.status.as_u16(), &answer.headers)),
            answer => {
                if answer.status == StatusCode::UNAUTHORIZED {
                    self.spoil(&token).await;
                }
                Err(self.refused(&call.what, &answer).1)
            }
        }
    }

    /// The same with the stream opened anew for each attempt, where a thing half sent does not exist.
    pub(crate) async fn fill_again(
        &self,
        call: &Call,
        length: u64,
        source: &dyn crate::bytes::Source,
    ) -> Result<Answered, Error> {
        let mut attempt = 1;
        let mut renewed = false;
        loop {
            let error = match self.fill(call, length, source.open().await?).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            let outcome = match &error {
                // The token is another one now.
                Error::Refused { status: 401, .. } if !renewed => {
                    renewed = true;
                    continue;
                }
                Error::Refused { status, .. } => Outcome::Status { code: *status, retry_after: None },
                Error::Unreachable { .. } | Error::TimedOut { .. } => Outcome::Lost,
                _ => return Err(error),
            };
            let Some(pause) = again(outcome, Repeat::Safe, attempt, jitter()) else { return Err(error) };
            tracing::debug!(provider = %self.provider, attempt, %error, "uploaded again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }
}

impl Pouring {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if self.part.as_ref().is_some_and(|part| self.done >= part.end - part.start) {
                return Ok(None);
            }
            let Some(answer) = &mut self.answer else {
                self.answer = Some(self.ask().await?);
                continue;
            };
            let error = match tokio::time::timeout(STALL, answer.chunk()).await {
                Ok(Ok(Some(mut piece))) => {
                    let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
                    self.skip -= known as u64;
                    let fresh = piece.split_off(known);
                    if fresh.is_empty() {
                        continue;
                    }
                    self.done += fresh.len() as u64;
                    // One that goes forward may break, and outlive its token, as often as it likes.
                    (self.attempt, self.renewed) = (1, false);
                    return Ok(Some(fresh));
                }
                Ok(Ok(None)) => return Ok(None),
                Ok(Err(cause)) => self.api.silent(&self.call.what, cause),
                Err(_) => {
                    let what = format!("the next byte when asked to {}", self.call.what);
                    Error::TimedOut { what, secs: STALL.as_secs() }
                }
            };
            self.answer = None;
            self.pause(Outcome::Lost, error).await?;
        }
    }

    /// From where it is.
    async fn ask(&mut self) -> Result<Response, Error> {
        loop {
            let token = self.api.token().await?;
            let mut request = self.api.request(&self.call, &token)?;
            match &self.part {
                Some(part) => {
                    let range = format!("bytes={}-{}", part.start + self.done, part.end - 1);
                    request = request.header(RANGE, range);
                }
                None if self.done > 0 => request = request.header(RANGE, format!("bytes={}-", self.done)),
                None => (),
            }
            let (outcome, error) = match tokio::time::timeout(STALL, request.send()).await {
                Ok(Ok(answer)) if answer.status().is_success() => {
                    // A service without ranges begins at the first byte again.
                    let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
                    if self.part.is_some() && !partial {
                        return Err(self.no_parts());
                    }
                    self.skip = if partial { 0 } else { self.done };
                    return Ok(answer);
                }
                Ok(Ok(answer)) if answer.status() == StatusCode::UNAUTHORIZED && !self.renewed => {
                    self.renewed = true;
                    self.api.spoil(&token).await;
                    continue;
                }
                Ok(Ok(answer)) => {
                    let answer = read(answer).await;
                    let answer = answer.map_err(|cause| self.api.silent(&self.call.what, cause))?;
                    self.api.refused(&self.call.what, &answer)
                }
                Ok(Err(cause)) => (Outcome::Lost, self.api.silent(&self.call.what, cause)),
                Err(_) => {
                    let what = format!("an answer when asked to {}", self.call.what);
                    (Outcome::Lost, Error::TimedOut { what, secs: STALL.as_secs() })
                }
            };
            self.pause(outcome, error).await?;
        }
    }

    fn no_parts(&self) -> Error {
        Error::Unsupported {
            provider: self.api.provider.to_string(),
            what: format!("{} in parts: the service gives it only whole", self.call.what),
            remedy: "let a helper be made there (`helper` of its configuration)".to_owned(),
        }
    }

    async fn pause(&mut self, outcome: Outcome, error: Error) -> Result<(), Error> {
        let Some(pause) = again(outcome, Repeat::Safe, self.attempt, jitter()) else { return Err(error) };
        tracing::debug!(attempt = self.attempt, %error, "downloaded from where it was");
        tokio::time::sleep(pause).await;
        self.attempt += 1;
        Ok(())
    }
}

/// Sees whether an upload moves, and why its source ended.
#[derive(Clone)]
struct Watch(Arc<Mutex<Watched>>);

struct Watched {
    moved: Instant,
    /// Bytes that the source has still to give.
    left: u64,
    failed: Option<Error>,
}

impl Watch {
    fn over_bytes(left: u64) -> Self {
        Self(Arc::new(Mutex::new(Watched { moved: Instant::now(), left, failed: None })))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Watched) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn over(
        self,
        stream: ByteStream,
    ) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        stream.map(move |piece| {
            self.with(|watched| {
                watched.moved = Instant::now();
                match piece {
                    Ok(piece) => {
                        watched.left = watched.left.saturating_sub(piece.len() as u64);
                        Ok(piece)
                    }
                    Err(error) => {
                        watched.failed = Some(error);
                        Err(std::io::Error::other("the source of an upload failed"))
                    }
                }
            })
        })
    }

    fn failed(&self) -> Option<Error> {
        self.with(|watched| watched.failed.take())
    }

    async fn stalls(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let over = self
                .with(|watched| watched.moved.elapsed() >= if watched.left == 0 { STORED } else { STALL });
            if over {
                return;
            }
        }
    }
}
