//! The sender's side of TLS, over a connection of its own or one that a relay made.

use super::{ALPN, buffered, explain, pin, prepare};
use crate::error::{Error, Result};
use crate::limits::CALL;
use crate::transport::{Connector, Fingerprint, GREETING, Identity, Rendezvous, Stream, Token};
use async_trait::async_trait;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[derive(Debug)]
pub struct TlsConnector {
    address: String,
    config: Arc<ClientConfig>,
    ours: Fingerprint,
    /// Where the receiver is met, if it cannot be called itself.
    via: Option<Rendezvous>,
}

impl TlsConnector {
    /// `address` is HOST:PORT.
    pub fn new(address: &str, identity: &Identity, peer: Fingerprint) -> Result<TlsConnector> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let fail =
            |error: rustls::Error| Error::usage("the TLS identity", error.to_string(), "make another one");
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(fail)?
            .dangerous()
            .with_custom_certificate_verifier(pin::Pinned::new(peer, provider))
            .with_client_auth_cert(vec![identity.certificate.clone()], identity.key.clone_key())
            .map_err(fail)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        Ok(TlsConnector {
            address: address.to_owned(),
            config: Arc::new(config),
            ours: identity.fingerprint(),
            via: None,
        })
    }

    /// To a receiver that waits at `relay`, which is HOST:PORT.
    pub fn via(
        relay: &str,
        identity: &Identity,
        peer: Fingerprint,
        token: Option<&Token>,
    ) -> Result<TlsConnector> {
        let rendezvous = Rendezvous::new(relay, identity.fingerprint(), peer, token);
        let direct = TlsConnector::new(&format!("the receiver via {relay}"), identity, peer)?;
        Ok(TlsConnector { via: Some(rendezvous), ..direct })
    }

    async fn open(&self, socket: Option<TcpStream>) -> Result<Stream> {
        let unreachable = |source| Error::Unreachable { whom: self.address.clone(), source };
        let socket = match socket {
            Some(socket) => socket,
            None => TcpStream::connect(&self.address).await.map_err(unreachable)?,
        };
        prepare(&socket);
        // The name is not verified: the pinned key is all the proof there is.
        let name =
            ServerName::try_from("viaduct").map_err(|error| unreachable(std::io::Error::other(error)))?;
        let connector = tokio_rustls::TlsConnector::from(self.config.clone());
        let mut stream = connector
            .connect(name, buffered(socket))
            .await
            .map_err(|error| explain(error, &self.address, self.ours))?;
        match stream.read_u8().await {
            Ok(GREETING) => Ok(Box::new(stream)),
            Ok(_) => Err(Error::protocol(&self.address, "it did not greet as a viaduct")),
            Err(error) => Err(explain(error, &self.address, self.ours)),
        }
    }
}

#[async_trait]
impl Connector for TlsConnector {
    fn whom(&self) -> String {
        self.address.clone()
    }

    async fn connect(&self, _join: Option<&str>) -> Result<Stream> {
        let silent = |_| Error::Silent { whom: self.address.clone(), secs: CALL.as_secs() };
        let met = match &self.via {
            Some(rendezvous) => Some(rendezvous.call_receiver().await?),
            None => None,
        };
        tokio::time::timeout(CALL, self.open(met)).await.map_err(silent)?
    }
}
