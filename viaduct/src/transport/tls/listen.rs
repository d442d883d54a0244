//! The receiver's side of TLS. One task owns the port; handshakes run beside each other, bounded in number and time, so
//! that one who connects and says nothing keeps nobody out. Where nobody can connect to us, some connections of ours wait at
//! a relay instead.

use super::{ALPN, buffered, explain, pin, prepare};
use crate::error::{Error, Result};
use crate::limits::{HANDSHAKE, HANDSHAKES_MAX, RELAY_PARKED, RELAY_PAUSES};
use crate::transport::via::{Role, Waiting};
use crate::transport::{Accepted, Fingerprint, GREETING, Identity, Listener, Rendezvous, Token};
use async_trait::async_trait;
use rustls::ServerConfig;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

#[derive(Debug)]
pub struct TlsListener {
    address: String,
    accepted: mpsc::Receiver<Accepted>,
    /// Ends the port's task, and with it the handshakes, when the listener is dropped.
    _tasks: JoinSet<()>,
}

impl TlsListener {
    /// `address` is HOST:PORT; port 0 takes a free one.
    pub async fn bind(address: &str, identity: &Identity, peer: Fingerprint) -> Result<TlsListener> {
        let acceptor = acceptor(identity, peer)?;
        let port =
            TcpListener::bind(address).await.map_err(|error| Error::io("listen on", address, error))?;
        let address = port.local_addr().map_err(|error| Error::io("listen on", address, error))?;
        let (sender, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(own_port(port, acceptor, identity.fingerprint(), sender));
        Ok(TlsListener { address: address.to_string(), accepted, _tasks: tasks })
    }

    /// Waits for the sender at `relay`, which is HOST:PORT. An error if there is no relay to wait at; if it goes away
    /// later, it is called until it is there again.
    pub async fn via(
        relay: &str,
        identity: &Identity,
        peer: Fingerprint,
        token: Option<&Token>,
    ) -> Result<TlsListener> {
        let acceptor = acceptor(identity, peer)?;
        let rendezvous = Rendezvous::new(relay, peer, identity.fingerprint(), token);
        let mut first = Some(rendezvous.call(Role::Receiver).await?.welcomed().await?);
        let (sender, accepted) = mpsc::channel(HANDSHAKES_MAX);
        let mut tasks = JoinSet::new();
        for _ in 0..RELAY_PARKED {
            let (acceptor, ours, sender) = (acceptor.clone(), identity.fingerprint(), sender.clone());
            tasks.spawn(park(rendezvous.clone(), first.take(), acceptor, ours, sender));
        }
        Ok(TlsListener { address: format!("via {relay}"), accepted, _tasks: tasks })
    }
}

fn acceptor(identity: &Identity, peer: Fingerprint) -> Result<tokio_rustls::TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let fail = |error: rustls::Error| Error::usage("the TLS identity", error.to_string(), "make another one");
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(fail)?
        .with_client_cert_verifier(pin::Pinned::new(peer, provider))
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .map_err(fail)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Unread tickets in a sender's socket would turn its close into a reset.
    config.send_tls13_tickets = 0;
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

#[async_trait]
impl Listener for TlsListener {
    fn address(&self) -> String {
        self.address.clone()
    }

    async fn accept(&mut self) -> Accepted {
        self.accepted.recv().await.unwrap_or(Accepted::Closed)
    }
}

async fn own_port(
    port: TcpListener,
    acceptor: tokio_rustls::TlsAcceptor,
    ours: Fingerprint,
    accepted: mpsc::Sender<Accepted>,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let mut handshakes = JoinSet::new();
    while let Ok(slot) = room.clone().acquire_owned().await {
        while handshakes.try_join_next().is_some() {}
        let Ok((socket, from)) = port.accept().await else {
            // Out of descriptors, or the connection was gone at once: neither is a reason to stop, or to spin.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        };
        let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
        handshakes.spawn(async move {
            let outcome = welcome(socket, acceptor, from.to_string(), ours).await;
            drop(slot);
            let _ = accepted.send(outcome).await;
        });
    }
}

/// Keeps one connection waiting at the relay, as long as the listener lives.
async fn park(
    rendezvous: Rendezvous,
    mut waiting: Option<Waiting>,
    acceptor: tokio_rustls::TlsAcceptor,
    ours: Fingerprint,
    accepted: mpsc::Sender<Accepted>,
) {
    let whom = format!("the sender via {}", rendezvous.relay());
    let [mut pause, longest] = RELAY_PAUSES;
    let mut handshakes = JoinSet::new();
    loop {
        while handshakes.try_join_next().is_some() {}
        let paired = match waiting.take() {
            Some(waiting) => waiting.paired().await,
            None => match rendezvous.call(Role::Receiver).await {
                Ok(waiting) => waiting.paired().await,
                Err(error) => Err(error),
            },
        };
        let Ok(socket) = paired else {
            // Whether nobody can reach us for too long is for the receiver to judge: it has a clock for that.
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(longest);
            continue;
        };
        pause = RELAY_PAUSES[0];
        // The next one is to find us waiting while this one proves who it is.
        let (acceptor, accepted, whom) = (acceptor.clone(), accepted.clone(), whom.clone());
        handshakes.spawn(async move {
            let outcome = welcome(socket, acceptor, whom, ours).await;
            let _ = accepted.send(outcome).await;
        });
        if handshakes.len() >= HANDSHAKES_MAX / RELAY_PARKED {
            handshakes.join_next().await;
        }
    }
}

async fn welcome(
    socket: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    whom: String,
    ours: Fingerprint,
) -> Accepted {
    let done = tokio::time::timeout(HANDSHAKE, shake_hands(socket, acceptor, &whom, ours)).await;
    done.unwrap_or_else(|_| {
        let error = Error::Silent { whom, secs: HANDSHAKE.as_secs() };
        Accepted::Refused { error, stranger: true }
    })
}

async fn shake_hands(
    socket: TcpStream,
    acceptor: tokio_rustls::TlsAcceptor,
    whom: &str,
    ours: Fingerprint,
) -> Accepted {
    prepare(&socket);
    let greeted = match acceptor.accept(buffered(socket)).await {
        Ok(mut stream) => match stream.write_u8(GREETING).await {
            Ok(()) => stream.flush().await.map(|()| stream),
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    match greeted {
        Ok(stream) => Accepted::Stream { stream: Box::new(stream), whom: whom.to_owned() },
        Err(error) => {
            let error = explain(error, whom, ours);
            let stranger = !matches!(error, Error::WrongPeer { .. } | Error::Refused { .. });
            Accepted::Refused { error, stranger }
        }
    }
}
