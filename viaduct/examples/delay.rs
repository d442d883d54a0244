//! A line with a round trip: forwards connections, each byte half a round trip late, for kernels without netem.
//!
//! `delay LISTEN TO MILLISECONDS`, the last being the round trip. What a real line of 1 Gbit/s and 200 ms would hold may
//! be on its way, in each direction of each connection, so that it is the delay that is measured and not a buffer.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

const PIECE: usize = 64 << 10;
const PIECES: usize = 384;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, to, milliseconds] = arguments.as_slice() else {
        anyhow::bail!("usage: delay LISTEN TO MILLISECONDS")
    };
    let half = Duration::from_micros(milliseconds.parse::<u64>()? * 500);
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (near, _) = listener.accept().await?;
        let to = to.clone();
        tokio::spawn(async move {
            // A connection takes its time to be made, too.
            tokio::time::sleep(half).await;
            let Ok(far) = TcpStream::connect(&to).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let (near_in, near_out) = near.into_split();
            let (far_in, far_out) = far.into_split();
            tokio::join!(carry(near_in, far_out, half), carry(far_in, near_out, half));
        });
    }
}

/// One direction: reads as it comes, writes when its time has come.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    late: Duration,
) {
    let (queue, mut due) = mpsc::channel::<(Instant, Vec<u8>)>(PIECES);
    let reading = async move {
        let mut piece = vec![0; PIECE];
        while let Ok(length @ 1..) = from.read(&mut piece).await {
            let when = Instant::now() + late;
            if queue.send((when, piece[..length].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let writing = async move {
        while let Some((when, piece)) = due.recv().await {
            sleep_until(when).await;
            if to.write_all(&piece).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}
