//! Connections within bounds: no more than so many, and none that is silent for long.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Connections open at the same time; others wait to be accepted.
pub const CONNECTIONS_MAX: usize = 64;
/// A connection over which nothing went for so long is closed. Event streams say something more often.
pub const SILENCE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct BoundedListener {
    inner: TcpListener,
    permits: Arc<Semaphore>,
}

impl BoundedListener {
    pub fn new(inner: TcpListener) -> Self {
        Self { inner, permits: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for BoundedListener {
    type Io = BoundedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (inner, address) = Listener::accept(&mut self.inner).await;
        let silence = Box::pin(tokio::time::sleep(SILENCE_MAX));
        (BoundedStream { inner, silence, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, BoundedListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, BoundedListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

#[derive(Debug)]
pub struct BoundedStream {
    inner: TcpStream,
    silence: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl BoundedStream {
    fn heard(&mut self) {
        self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
    }

    /// What an operation that waits is told: to wait on, or that it was silent for too long.
    fn silent<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing went over the connection for long")))
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Pending => self.silent(cx),
            done => {
                self.heard();
                done
            }
        }
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(cx, buf) {
            Poll::Pending => self.silent(cx),
            done => {
                self.heard();
                done
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn bounded() -> (BoundedListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (BoundedListener::new(listener), address)
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let (mut listener, address) = bounded().await;
        let _client = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = listener.accept().await;
        tokio::time::pause();
        let before = Instant::now();
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(before.elapsed() >= SILENCE_MAX);
    }

    #[tokio::test]
    async fn a_connection_beyond_the_bound_waits_until_one_ends() {
        let (mut listener, address) = bounded().await;
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            let client = TcpStream::connect(address).await.unwrap();
            open.push((client, listener.accept().await.0));
        }
        let mut waiting = TcpStream::connect(address).await.unwrap();
        waiting.write_all(b"x").await.unwrap();
        assert!(futures::FutureExt::now_or_never(listener.accept()).is_none());
        open.pop();
        let (mut stream, _) = listener.accept().await;
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }
}
