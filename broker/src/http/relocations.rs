//! Relocations over HTTP: look at them, ask for one.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use fluidcloud_proto::bus::{Message, Queue};
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ProviderId, RelocationId};
use fluidcloud_proto::request::{REQUEST_BYTES_MAX, from_json};
use fluidcloud_proto::status::{Phase, RelocationStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Api;
use super::idempotency::Key;
use super::lists::{Asked, Flat, asked};
use super::pages::{Page, newest_first, page};
use super::problem::Problem;
use crate::access::Caller;
use crate::keys::told;

/// How long a request body may take to arrive.
pub const BODY_WITHIN: Duration = Duration::from_secs(15);
/// How long the bus may take to confirm before the caller is told that it is away.
pub const PUBLISH_WITHIN: Duration = Duration::from_secs(10);

#[derive(Debug, Serialize, JsonSchema)]
pub struct Taken {
    pub(super) id: RelocationId,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Wanted {
    /// One phase, or several with commas, such as `Stuck,Failed`.
    #[serde(default)]
    phase: Option<String>,
    #[serde(default)]
    service: Option<String>,
    /// At either end.
    #[serde(default)]
    provider: Option<ProviderId>,
    /// `true`: only what has not ended; `false`: only what has.
    #[serde(default)]
    active: Option<String>,
    #[serde(flatten)]
    paging: Flat,
}

/// Newest first.
pub async fn list(
    State(api): State<Api>,
    query: Asked<Wanted>,
) -> Result<Json<Page<RelocationStatus>>, Problem> {
    let query = asked(query)?;
    let phases = query.phase.as_deref().map(phases).transpose()?;
    let active = match query.active.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => {
            let detail = "active is neither true nor false";
            return Err(Problem::of(StatusCode::BAD_REQUEST, detail, "use active=true or active=false"));
        }
    };
    let mut all = api.parts.view().relocations();
    all.retain(|one| {
        phases.as_ref().is_none_or(|phases| phases.contains(&one.phase))
            && query.service.as_ref().is_none_or(|service| one.service.as_str() == service)
            && query.provider.as_ref().is_none_or(|provider| is_at(one, provider))
            && active.is_none_or(|active| active != one.phase.is_final())
    });
    let keyed = all.into_iter().map(|one| (newest_first(one.created_at, &one.id.to_string()), one));
    let page = page(keyed.collect(), &query.paging.paging()?)?;
    let items = page.items.into_iter().map(|status| told(status, &*api.parts.keys)).collect();
    Ok(Json(Page { items, next: page.next }))
}

/// At either end.
pub(super) fn is_at(one: &RelocationStatus, provider: &ProviderId) -> bool {
    one.source == *provider || one.target.as_ref() == Some(provider)
}

fn phases(text: &str) -> Result<Vec<Phase>, Problem> {
    let phase = |name: &str| {
        serde_json::from_value(name.into()).map_err(|_| {
            let shown: String = name.chars().take(32).collect();
            Problem::of(
                StatusCode::BAD_REQUEST,
                format!("there is no phase `{shown}`"),
                "see /v1/openapi.json",
            )
        })
    };
    text.split(',').map(|name| phase(name.trim())).collect()
}

pub async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<RelocationStatus>, Problem> {
    let status = find(&api, parse_id(&id)?)?;
    Ok(Json(told(status, &*api.parts.keys)))
}

/// Publishes the body as it came, once it is known to be a request that the conduit will understand. Of one without an id, whose
/// caller gave a key, the id is made of the key.
pub async fn submit(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let key = Key::of(&headers, &caller)?;
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
    let body = match &key {
        Some(key) => with_id(&body, key),
        None => body.to_vec(),
    };
    let request = from_json(&body).map_err(|failure| Problem::new(StatusCode::BAD_REQUEST, failure))?;
    let call: [&[u8]; 2] = [b"/v1/relocations", &body];
    if let Some(key) = &key
        && let Some(known) = api.answers.find(key, &call, Instant::now())?
    {
        return Ok(again(known));
    }
    confirm(api.parts.bus.publish(&Queue::Requests, Message::new(body.clone()))).await?;
    tracing::info!(relocation = %request.id, who = %caller.name, "request passed on");
    let taken = serde_json::to_string(&Taken { id: request.id }).unwrap_or_default();
    if let Some(key) = key {
        api.answers.keep(key, &call, StatusCode::ACCEPTED, taken.clone(), Instant::now());
    }
    Ok(again((StatusCode::ACCEPTED, taken)))
}

fn again((status, body): (StatusCode, String)) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// As it came where it has one, or is no request at all.
fn with_id(body: &[u8], key: &Key) -> Vec<u8> {
    /// Any bytes would do: ids that are made of keys are made in it.
    const IDS: uuid::Uuid = uuid::Uuid::from_u128(0x0c4e_93b1_55d2_4f6e_8d07_2b9a_64e1_f0a3);
    match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(serde_json::Value::Object(mut request)) if !request.contains_key("id") => {
            let id = uuid::Uuid::new_v5(&IDS, key.as_str().as_bytes());
            request.insert("id".to_owned(), id.to_string().into());
            serde_json::Value::Object(request).to_string().into_bytes()
        }
        _ => body.to_vec(),
    }
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
