//! What a caller is told when it does not go well: RFC 9457 with the stable code and the remedy of a `Failure`.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fluidcloud_proto::failure::{Code, Failure};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: &'static str,
    title: String,
    #[serde(serialize_with = "status_number")]
    status: StatusCode,
    detail: String,
    code: Code,
    remedy: String,
}

impl Problem {
    pub fn new(status: StatusCode, failure: Failure) -> Self {
        Self {
            // No page describes a problem further: the code, the detail and the remedy say it all.
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("error").to_owned(),
            status,
            detail: failure.message,
            code: failure.code,
            remedy: failure.remedy,
        }
    }

    pub fn no_such_path() -> Self {
        Self::of(StatusCode::NOT_FOUND, "there is nothing at this path", "see /v1/status and /v1/relocations")
    }

    pub fn no_such_method() -> Self {
        let remedy =
            "use GET to look, and POST to relocate, cancel, retry, approve, pause, resume or take a key";
        Self::of(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method", remedy)
    }

    pub fn forbidden(detail: impl Into<String>, remedy: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, Failure::never(Code::Unauthorized, detail, remedy))
    }

    pub fn of(status: StatusCode, detail: impl Into<String>, remedy: &str) -> Self {
        Self::new(status, Failure::never(Code::InvalidRequest, detail, remedy))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        (self.status, headers, serde_json::to_string(&self).unwrap_or_default()).into_response()
    }
}

fn status_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}
