//! Bytes in bulk: images and objects, up and down, never whole in memory. A download that breaks goes on where it was; an
//! upload begins anew from its source.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RANGE};
use reqwest::{Body, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::retry::{Outcome, Repeat, again};
use super::send::{jitter, read};
use super::{Api, Call};
use crate::error::Error;

/// Read at once of what is sent.
const PIECE_BYTES: usize = 256 << 10;
/// No byte for so long: the connection is dead.
const STALL: Duration = Duration::from_secs(120);
/// Until an upload is answered, after its last byte: the service may still be storing it.
const STORED: Duration = Duration::from_secs(3600);

/// What is uploaded, opened anew for each attempt.
pub type Opened = Pin<Box<dyn AsyncRead + Send>>;

impl Api {
    /// Writes what is behind the call to `sink`; answers how many bytes.
    pub async fn download(
        &self,
        call: &Call,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<u64, Error> {
        let (mut done, mut renewed, mut attempt) = (0_u64, false, 1);
        loop {
            let token = self.token().await?;
            let mut request = self.request(call, &token)?;
            if done > 0 {
                request = request.header(RANGE, format!("bytes={done}-"));
            }
            let before = done;
            let (outcome, error) = match request.send().await {
                Ok(answer) if answer.status().is_success() => {
                    // A service without ranges begins at the first byte again.
                    let skip = if answer.status() == StatusCode::PARTIAL_CONTENT { 0 } else { done };
                    match self.carry(call, answer, skip, &mut done, sink).await? {
                        None => return Ok(done),
                        Some(broken) => (Outcome::Lost, broken),
                    }
                }
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !renewed => {
                    renewed = true;
                    self.spoil(&token).await;
                    continue;
                }
                Ok(answer) => {
                    let answer = read(answer).await.map_err(|cause| self.silent(&call.what, cause))?;
                    self.refused(&call.what, &answer)
                }
                Err(cause) => (Outcome::Lost, self.silent(&call.what, cause)),
            };
            // One that goes forward may break as often as it likes.
            attempt = if done > before { 1 } else { attempt + 1 };
            let Some(pause) = again(outcome, Repeat::Safe, attempt, jitter()) else { return Err(error) };
            tokio::time::sleep(pause).await;
        }
    }

    /// `Some`: it broke in the middle. An error of the sink is final.
    async fn carry(
        &self,
        call: &Call,
        mut answer: reqwest::Response,
        mut skip: u64,
        done: &mut u64,
        sink: &mut (dyn AsyncWrite + Unpin + Send),
    ) -> Result<Option<Error>, Error> {
        loop {
            let piece = match tokio::time::timeout(STALL, answer.chunk()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => break,
                Ok(Err(cause)) => return Ok(Some(self.silent(&call.what, cause))),
                Err(_) => {
                    let what = format!("the next byte when asked to {}", call.what);
                    return Ok(Some(Error::TimedOut { what, secs: STALL.as_secs() }));
                }
            };
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= known as u64;
            sink.write_all(&piece[known..]).await.map_err(|cause| self.unwritable(call, cause))?;
            *done += (piece.len() - known) as u64;
        }
        sink.flush().await.map_err(|cause| self.unwritable(call, cause))?;
        Ok(None)
    }

    /// Sends what `open` gives. The body cannot be sent a second time, so after a 401 in the middle, or a broken
    /// connection, it is opened again.
    pub async fn upload(
        &self,
        call: &Call,
        open: &(dyn Fn() -> io::Result<Opened> + Send + Sync),
    ) -> Result<(), Error> {
        let (mut renewed, mut attempt) = (false, 1);
        loop {
            let token = self.token().await?;
            let source = open().map_err(|cause| self.unwritable(call, cause))?;
            let request = self
                .request(call, &token)?
                .header(CONTENT_TYPE, "application/octet-stream")
                .timeout(STORED)
                .body(Body::wrap_stream(pieces(source)));
            let (outcome, error) = match request.send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED && !renewed => {
                    renewed = true;
                    self.spoil(&token).await;
                    continue;
                }
                Ok(answer) => {
                    let answer = read(answer).await.map_err(|cause| self.silent(&call.what, cause))?;
                    self.refused(&call.what, &answer)
                }
                Err(cause) => (Outcome::Lost, self.silent(&call.what, cause)),
            };
            let Some(pause) = again(outcome, call.repeat, attempt, jitter()) else { return Err(error) };
            tracing::debug!(provider = %self.provider, attempt, %error, "uploaded again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    fn unwritable(&self, call: &Call, cause: io::Error) -> Error {
        Error::Driver { provider: self.provider.to_string(), what: call.what.clone(), cause: cause.into() }
    }
}

fn pieces(source: Opened) -> impl futures::Stream<Item = io::Result<Vec<u8>>> + Send + 'static {
    futures::stream::try_unfold(source, |mut source| async move {
        let mut piece = vec![0; PIECE_BYTES];
        let read = source.read(&mut piece).await?;
        piece.truncate(read);
        Ok((read > 0).then_some((piece, source)))
    })
}
