//! The relay: a host that both ends can reach where neither can reach the other. It pairs connections that name the same
//! place and carries bytes between them. It is trusted with nothing: what it carries is TLS between the two ends, and what it
//! holds of anybody is bounded in number, size and time.

mod meet;
mod pipe;

use crate::error::{Error, Result};
use crate::limits::{HANDSHAKE, RELAY_SENDER_WAIT, RELAY_WORD_EVERY};
use crate::progress::Event;
use crate::transport::via::{CALL_BYTES, Call, DENIED, FULL, PAIRED, Role, Token, WAIT};
use meet::{Arrival, Crowd, Guest, Meeting};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Who may use a relay, and how much.
#[derive(Clone, Debug)]
pub struct RelayOptions {
    /// Carry only for those who have this token too; otherwise for everybody, within the bounds.
    pub token: Option<Token>,
    /// Connections at a time, of both kinds together; a stream takes two. One address may have a quarter of them.
    pub connections: usize,
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    port: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: Option<Token>,
    meeting: Meeting,
    crowd: Crowd,
}

impl Relay {
    /// `address` is HOST:PORT; port 0 takes a free one.
    pub async fn bind(address: &str, options: RelayOptions) -> Result<Relay> {
        let fail = |error| Error::io("listen on", address, error);
        let port = TcpListener::bind(address).await.map_err(fail)?;
        let shared = Shared {
            token: options.token,
            meeting: Meeting::default(),
            crowd: Crowd::new(options.connections),
        };
        Ok(Relay { address: port.local_addr().map_err(fail)?, port, shared: Arc::new(shared) })
    }

    /// Carries until it is dropped.
    pub async fn run(self, report: &(dyn Fn(Event) + Send + Sync)) -> Result<()> {
        report(Event::Listening { address: self.address.to_string() });
        let mut guests = JoinSet::new();
        loop {
            while guests.try_join_next().is_some() {}
            let Ok((socket, from)) = self.port.accept().await else {
                // Out of descriptors, or the connection was gone at once: neither is a reason to stop, or to spin.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            pipe::prepare(&socket);
            match self.shared.crowd.enter(from.ip()) {
                Some(seat) => {
                    guests.spawn(receive_guest(self.shared.clone(), Guest { socket, seat }));
                }
                // A fresh socket takes one byte without waiting; if not, closing says it too.
                None => drop(socket.try_write(&[FULL])),
            }
        }
    }
}

/// From a connection's first byte to its last.
async fn receive_guest(shared: Arc<Shared>, mut guest: Guest) {
    let mut bytes = [0; CALL_BYTES];
    let heard = tokio::time::timeout(HANDSHAKE, guest.socket.read_exact(&mut bytes)).await;
    let Some(call) = heard.ok().and_then(Result::ok).and_then(|_| Call::decode(&bytes)) else { return };
    if shared.token.is_some_and(|token| !token.proven_by(&call)) {
        let _ = guest.socket.write_all(&[DENIED]).await;
        return;
    }
    match shared.meeting.arrive(&call, guest) {
        // The task of the one who waited carries for both.
        Arrival::HandedOver => {}
        Arrival::Full(guest) => drop(guest.socket.try_write(&[FULL])),
        Arrival::Waits { mut guest, ticket, partner } => {
            let met = wait(&mut guest.socket, call.role, partner).await;
            shared.meeting.leave(&call, ticket);
            let Some(mut partner) = met else { return };
            for socket in [&mut guest.socket, &mut partner.socket] {
                if socket.write_all(&[PAIRED]).await.is_err() {
                    return;
                }
            }
            pipe::carry(&mut guest.socket, &mut partner.socket).await;
        }
    }
}

/// Until the partner comes. `None` if this one went away, spoke out of turn, or has waited long enough.
async fn wait(socket: &mut TcpStream, role: Role, mut partner: oneshot::Receiver<Guest>) -> Option<Guest> {
    // A sender tries again by itself; a receiver may wait as long as it is there.
    let enough = match role {
        Role::Sender => RELAY_SENDER_WAIT,
        Role::Receiver => Duration::MAX,
    };
    let mut word = tokio::time::interval(RELAY_WORD_EVERY);
    let mut first = [0];
    let waiting = async {
        loop {
            tokio::select! {
                biased;
                met = &mut partner => return met.ok(),
                _ = socket.read(&mut first) => return None,
                // Says that we are here, keeps the way through a NAT open, and finds out who is not there any more.
                _ = word.tick() => if socket.write_all(&[WAIT]).await.is_err() {
                    return None;
                },
            }
        }
    };
    tokio::time::timeout(enough, waiting).await.ok().flatten()
}
