//! Relocations over HTTP: look at them, ask for one.

use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use fluidcloud_proto::bus::{Message, Queue};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::request::{REQUEST_BYTES_MAX, from_json};
use fluidcloud_proto::status::RelocationStatus;
use serde::Serialize;

use super::Api;
use super::problem::Problem;
use crate::keys::told;

/// How long a request body may take to arrive.
pub const BODY_WITHIN: Duration = Duration::from_secs(15);
/// How long the bus may take to confirm before the caller is told that it is away.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize)]
pub struct Taken {
    pub(super) id: RelocationId,
}

pub async fn list(State(api): State<Api>) -> Json<Vec<RelocationStatus>> {
    let all = api.parts.view().relocations();
    Json(all.into_iter().map(|status| told(status, &*api.parts.keys)).collect())
}

pub async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<RelocationStatus>, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    Ok(Json(told(status, &*api.parts.keys)))
}

/// Publishes the body as it came, once it is known to be a request that the conduit will understand.
pub async fn submit(State(api): State<Api>, body: Body) -> Result<Response, Problem> {
    let body = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, REQUEST_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let detail = format!("the request is larger than {REQUEST_BYTES_MAX} bytes, or was cut off");
            return Err(Problem::of(StatusCode::PAYLOAD_TOO_LARGE, detail, "shorten it"));
        }
        Err(_) => {
            let detail = format!("the request did not arrive within {} s", BODY_WITHIN.as_secs());
            return Err(Problem::of(StatusCode::REQUEST_TIMEOUT, detail, "send it again"));
        }
    };
    let request = from_json(&body).map_err(|failure| Problem::new(StatusCode::BAD_REQUEST, failure))?;
    let message = Message::new(body.to_vec());
    confirm(api.parts.bus.publish(&Queue::Requests, message)).await?;
    tracing::info!(relocation = %request.id, "request passed on");
    Ok((StatusCode::ACCEPTED, Json(Taken { id: request.id })).into_response())
}

pub(super) async fn confirm(
    publishing: impl Future<Output = Result<(), fluidcloud_proto::bus::Error>>,
) -> Result<(), Problem> {
    match tokio::time::timeout(PUBLISH_WITHIN, publishing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(away(&error.to_string())),
        Err(_) => Err(away("the bus did not confirm the message in time")),
    }
}

fn away(detail: &str) -> Problem {
    let remedy =
        "see that the bus runs, then send the same again: with the same id it is the same relocation";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Failure::later(Code::Unreachable, detail, remedy))
}

pub(super) fn parse_id(id: &str) -> Result<RelocationId, Problem> {
    id.parse().map_err(|_| {
        let shown: String = id.chars().take(64).collect();
        let detail = format!("`{shown}` is not the id of a relocation");
        Problem::of(StatusCode::BAD_REQUEST, detail, "use the UUID that `fluidcloud status` shows")
    })
}

pub(super) fn find(api: &Api, id: RelocationId) -> Result<RelocationStatus, Problem> {
    let view = api.parts.view();
    if let Some(status) = view.relocation(id) {
        return Ok(status.clone());
    }
    if let Some(failure) = view.refusal(id) {
        return Err(Problem::new(StatusCode::CONFLICT, failure.clone()));
    }
    let remedy =
        "see `fluidcloud status`; if the broker or the conduit was just started, ask again in a few seconds";
    let failure = Failure::never(Code::UnknownRelocation, format!("relocation {id} is not known"), remedy);
    Err(Problem::new(StatusCode::NOT_FOUND, failure))
}
