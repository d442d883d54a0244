//! The HTTP API, version 1: shows what the broker sees and passes on what users ask. Every mutating call only
//! publishes. Errors are problem documents (RFC 9457) with our code and remedy.

mod events;
mod guard;
mod keys;
mod listener;
mod orders;
mod problem;
mod relocations;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::broker::Parts;
use crate::error::Error;
use listener::BoundedListener;
use problem::Problem;

/// Where the API listens, and is looked for, when nothing else is said.
pub const API_LISTEN_DEFAULT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7411);

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    parts: Arc<Parts>,
    /// One permit per event stream.
    streams: Arc<Semaphore>,
    shutdown: CancellationToken,
}

/// Refuses an address that other hosts can reach: whoever can call the API can relocate services.
pub fn loopback(address: SocketAddr) -> Result<SocketAddr, Error> {
    if address.ip().is_loopback() { Ok(address) } else { Err(Error::NotLoopback(address)) }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    let address = loopback(address)?;
    TcpListener::bind(address).await.map_err(|cause| Error::Listen { address, cause })
}

pub(crate) async fn serve(listener: TcpListener, parts: Arc<Parts>, shutdown: CancellationToken) {
    let api =
        Api { parts, streams: Arc::new(Semaphore::new(events::STREAMS_MAX)), shutdown: shutdown.clone() };
    let served = axum::serve(BoundedListener::new(listener), router(api))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the HTTP API failed");
    }
}

fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/health", get(status::health))
        .route("/v1/status", get(status::status))
        .route("/v1/events", get(events::events))
        .route("/v1/relocations", get(relocations::list).post(relocations::submit))
        .route("/v1/relocations/{id}", get(relocations::one))
        .route("/v1/relocations/{id}/cancel", post(orders::cancel))
        .route("/v1/relocations/{id}/retry", post(orders::retry))
        .route("/v1/relocations/{id}/approve", post(orders::approve))
        .route("/v1/relocations/{id}/pause", post(orders::pause))
        .route("/v1/relocations/{id}/resume", post(orders::resume))
        .route("/v1/relocations/{id}/key", post(keys::take))
        .fallback(|| async { Problem::no_such_path() })
        .method_not_allowed_fallback(|| async { Problem::no_such_method() })
        .layer(middleware::from_fn(guard::guard))
        .with_state(api)
}
