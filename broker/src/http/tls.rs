//! TLS over the bounded listener: handshakes go on side by side, and none of them keeps others from being served.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::listener::{BoundedListener, BoundedStream, Peer};

/// From the first byte on.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
/// Connections that are ready and wait to be taken.
const READY_MAX: usize = 16;

/// PEM files: a chain of certificates, the server's first, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl TlsFiles {
    pub(crate) fn acceptor(&self) -> Result<TlsAcceptor, (PathBuf, String)> {
        let told = |path: &Path, why: String| (path.to_owned(), why);
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| told(&self.certificate, error.to_string()))?;
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| told(&self.key, error.to_string()))?;
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
        let mut config = config.map_err(|error| told(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

#[derive(Debug)]
pub struct TlsListener {
    ready: mpsc::Receiver<(TlsStream<BoundedStream>, SocketAddr)>,
    address: io::Result<SocketAddr>,
    _accepting: AbortOnDropHandle<()>,
}

impl TlsListener {
    pub fn new(mut inner: BoundedListener, acceptor: TlsAcceptor) -> Self {
        let address = inner.local_addr();
        let (say, ready) = mpsc::channel(READY_MAX);
        let accepting = tokio::spawn(async move {
            loop {
                // Bounded with what it gives out: a connection in its handshake holds its permit.
                let (stream, peer) = inner.accept().await;
                let (acceptor, say) = (acceptor.clone(), say.clone());
                tokio::spawn(async move {
                    match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => drop(say.send((stream, peer)).await),
                        Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS handshake"),
                        Err(_) => tracing::debug!(%peer, "a TLS handshake that does not end"),
                    }
                });
            }
        });
        Self { ready, address, _accepting: AbortOnDropHandle::new(accepting) }
    }
}

impl Connected<IncomingStream<'_, TlsListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<BoundedStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.ready.recv().await {
            Some(ready) => ready,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        match &self.address {
            Ok(address) => Ok(*address),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        }
    }
}
