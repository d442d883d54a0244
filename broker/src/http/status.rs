//! `GET /v1/status` and `GET /v1/health`: from memory, at once, whatever hangs behind.

use axum::Json;
use axum::extract::State;
use fluidcloud_proto::status::{StatusDocument, WorkerStatus};
use serde::Serialize;
use tokio::time::Instant;

use super::Api;
use crate::keys::told;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Serialize)]
pub struct Health {
    version: &'static str,
    /// Whether the bus is reachable now.
    bus_connected: bool,
}

pub async fn health(State(api): State<Api>) -> Json<Health> {
    let bus_connected = *api.parts.bus.connected().borrow();
    Json(Health { version: VERSION, bus_connected })
}

pub async fn status(State(api): State<Api>) -> Json<StatusDocument> {
    let (relocations, workers) = {
        let view = api.parts.view();
        (view.relocations(), view.workers(Instant::now()))
    };
    let with_pid =
        |worker: WorkerStatus| WorkerStatus { pid: api.parts.placement.pid(&worker.seen.worker), ..worker };
    Json(StatusDocument {
        version: VERSION.to_owned(),
        relocations: relocations.into_iter().map(|status| told(status, &*api.parts.keys)).collect(),
        providers: api.parts.survey.statuses(),
        workers: workers.into_iter().map(with_pid).collect(),
        queues: api.parts.queues.statuses(),
    })
}
