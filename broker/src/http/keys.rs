//! `POST /v1/relocations/{id}/key`: the private half of a key pair that the move created, to the first who asks. With
//! `?name=NAME` of one of several.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fluidcloud_proto::failure::Code;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Api;
use super::problem::Problem;
use super::relocations::parse_id;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default)]
    name: Option<String>,
}

#[derive(Serialize, JsonSchema)]
pub struct Taken {
    name: String,
    private_key: String,
}

pub async fn take(
    State(api): State<Api>,
    Path(id): Path<String>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let Query(wanted) = wanted.map_err(|error| {
        Problem::of(StatusCode::BAD_REQUEST, error.body_text(), "use name=NAME, or leave it out")
    })?;
    match api.parts.keys.hand_out(id, wanted.name.as_deref()) {
        Ok(handed) => {
            tracing::info!(relocation = %id, key = handed.name, "the private half of a key pair was handed out");
            let taken = Taken { name: handed.name, private_key: handed.private };
            Ok(([(header::CACHE_CONTROL, "no-store")], Json(taken)).into_response())
        }
        Err(failure) => {
            tracing::warn!(relocation = %id, %failure, "no key was handed out");
            let status = match failure.code {
                Code::KeyTaken => StatusCode::GONE,
                Code::UnknownKey => StatusCode::NOT_FOUND,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            Err(Problem::new(status, failure))
        }
    }
}
