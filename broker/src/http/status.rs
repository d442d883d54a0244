//! `GET /v1/status` and `GET /v1/health`: from memory, at once, whatever hangs behind.

use axum::Json;
use axum::extract::State;
use fluidcloud_proto::status::StatusDocument;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use crate::keys::told;

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, Serialize, JsonSchema)]
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
    let relocations = api.parts.view().relocations();
    Json(StatusDocument {
        version: VERSION.to_owned(),
        relocations: relocations.into_iter().map(|status| told(status, &*api.parts.keys)).collect(),
        providers: api.parts.survey.statuses(),
        workers: api.workers(),
        queues: api.parts.queues.statuses(),
    })
}
