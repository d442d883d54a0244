//! The HTTP API, version 1: shows what the broker sees and passes on what users ask. Every mutating call only
//! publishes. Errors are problem documents (RFC 9457) with our code and remedy.

mod dashboard;
mod endpoints;
mod events;
mod gate;
mod guard;
mod idempotency;
mod keys;
mod listener;
mod lists;
mod openapi;
mod orders;
mod pages;
mod problem;
mod relocations;
mod session;
mod status;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Sessions};
use crate::broker::Parts;
use crate::error::Error;
use idempotency::Answers;
use listener::{BoundedListener, Peer};
use problem::Problem;
pub use tls::TlsFiles;
use tls::TlsListener;

/// Where the API listens, and is looked for, when nothing else is said.
pub const API_LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7411);

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    parts: Arc<Parts>,
    /// One permit per event stream.
    streams: Arc<Semaphore>,
    sessions: Arc<Sessions>,
    answers: Arc<Answers>,
    /// Over TLS.
    secure: bool,
    shutdown: CancellationToken,
}

/// Where the API listens, and how.
#[derive(Clone, Debug)]
pub struct HttpOptions {
    pub listen: SocketAddr,
    /// Must be there where other hosts reach it.
    pub tls: Option<TlsFiles>,
}

impl HttpOptions {
    /// Whoever can read what goes over the line has its tokens, and whoever can call an API without tokens can relocate services.
    pub fn check(&self, access: &Access) -> Result<(), Error> {
        match self.listen.ip().is_loopback() {
            true => Ok(()),
            false if access.is_development() => Err(Error::NotLoopback(self.listen)),
            false if self.tls.is_none() => Err(Error::NotEncrypted(self.listen)),
            false => Ok(()),
        }
    }
}

/// An address that was taken, and what is spoken there.
pub(crate) struct Listening {
    listener: TcpListener,
    tls: Option<tokio_rustls::TlsAcceptor>,
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("listener", &self.listener).finish_non_exhaustive()
    }
}

pub(crate) async fn listen(options: &HttpOptions, access: &Access) -> Result<Listening, Error> {
    options.check(access)?;
    let tls = match &options.tls {
        Some(files) => {
            let acceptor = files.acceptor();
            Some(acceptor.map_err(|(path, why)| Error::Certificate { path, why })?)
        }
        None => None,
    };
    let address = options.listen;
    let listener = TcpListener::bind(address).await.map_err(|cause| Error::Listen { address, cause })?;
    Ok(Listening { listener, tls })
}

impl Listening {
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

pub(crate) async fn serve(listening: Listening, parts: Arc<Parts>, shutdown: CancellationToken) {
    let Listening { listener, tls } = listening;
    let api = Api {
        parts,
        streams: Arc::new(Semaphore::new(events::STREAMS_MAX)),
        sessions: Arc::default(),
        answers: Arc::default(),
        secure: tls.is_some(),
        shutdown: shutdown.clone(),
    };
    let service = router(api).into_make_service_with_connect_info::<Peer>();
    let bounded = BoundedListener::new(listener);
    let served = match tls {
        Some(tls) => {
            let listener = TlsListener::new(bounded, tls);
            axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await
        }
        None => axum::serve(bounded, service).with_graceful_shutdown(shutdown.cancelled_owned()).await,
    };
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP API failed");
    }
}

fn router(api: Api) -> Router {
    endpoints::routes(&api)
        .route("/", get(dashboard::index))
        .route("/{file}", get(dashboard::one))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .layer(middleware::from_fn_with_state(api.clone(), guard::guard))
        .with_state(api)
}
