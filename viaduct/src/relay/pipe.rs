//! Two connections that are one stream. Holds one buffer per direction and nothing else; ends when both directions have, one
//! breaks, or nothing moves any more.

use crate::limits::{RELAY_BUFFER_BYTES, RELAY_IDLE};
use rustix::net::sockopt;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

/// A host that vanished is found out within this time, whichever way.
const VANISHED: Duration = Duration::from_secs(60);

pub fn prepare(socket: &TcpStream) {
    // None of them failing would be a reason not to carry.
    let _ = socket.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, VANISHED / 2);
    let _ = sockopt::set_tcp_keepintvl(socket, VANISHED / 6);
    let _ = sockopt::set_tcp_keepcnt(socket, 3);
    let _ = sockopt::set_tcp_user_timeout(socket, VANISHED.as_millis() as u32);
}

pub async fn carry(a: &mut TcpStream, b: &mut TcpStream) {
    let moved = Mutex::new(Instant::now());
    let (from_a, to_a) = a.split();
    let (from_b, to_b) = b.split();
    let both = async { tokio::try_join!(one_way(from_a, to_b, &moved), one_way(from_b, to_a, &moved)) };
    tokio::select! {
        _ = both => {}
        () = stalled(&moved) => {}
    }
}

async fn one_way(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    moved: &Mutex<Instant>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; RELAY_BUFFER_BYTES];
    loop {
        match from.read(&mut buffer).await? {
            // The other direction may have more to say.
            0 => return to.shutdown().await,
            read => to.write_all(&buffer[..read]).await?,
        }
        *moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// Returns when nothing has moved for too long, be it that nobody speaks or that nobody listens.
async fn stalled(moved: &Mutex<Instant>) {
    loop {
        let due = *moved.lock().unwrap_or_else(PoisonError::into_inner) + RELAY_IDLE;
        if due <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(due).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(port.local_addr().unwrap()).await.unwrap();
        (near, port.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn one_end_may_close_its_direction_and_still_listen() {
        let ((mut left, mut a), (mut right, mut b)) = (pair().await, pair().await);
        let carrying = tokio::spawn(async move { carry(&mut a, &mut b).await });
        left.write_all(b"question").await.unwrap();
        left.shutdown().await.unwrap();
        let mut heard = String::new();
        right.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "question");
        right.write_all(b"answer").await.unwrap();
        drop(right);
        heard.clear();
        left.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "answer");
        carrying.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_pair_that_says_nothing_is_let_go() {
        let ((left, mut a), (right, mut b)) = (pair().await, pair().await);
        let started = Instant::now();
        carry(&mut a, &mut b).await;
        assert!(started.elapsed() >= RELAY_IDLE);
        drop((left, right));
    }
}
