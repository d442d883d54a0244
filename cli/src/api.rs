//! The HTTP API as a client: of `fluidcloud up` or `fluidcloud broker` on this host.

use std::time::Duration;

use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::Code;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::status::{RelocationStatus, StatusDocument};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::config::Config;
use crate::fault::{Exit, Fault};
use crate::tokens;

const CONNECT_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// The server gives a sign of life more often than that.
const EVENT_WITHIN: Duration = Duration::from_secs(30);
/// A longer line in the event stream is not one of ours.
const EVENT_BYTES_MAX: usize = 8 << 20;

#[derive(Clone)]
pub struct Api {
    base: String,
    token: Option<String>,
    client: reqwest::Client,
}

/// Why there is no answer to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiError {
    /// Nobody answers; may be tried again.
    Silent(Fault),
    /// No such relocation, or not yet.
    Unknown(Fault),
    Refused(Fault),
}

impl From<ApiError> for Fault {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Silent(fault) | ApiError::Unknown(fault) | ApiError::Refused(fault) => fault,
        }
    }
}

/// A problem document, as far as we read it.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    code: Option<Code>,
    #[serde(default)]
    remedy: String,
}

impl Api {
    pub fn new(config: &Config) -> Result<Self, Fault> {
        let mut client = reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_WITHIN);
        if let Some(path) = &config.http.ca {
            let read = std::fs::read(path).map_err(|error| error.to_string());
            let authorities = read.and_then(|pem| {
                reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| error.to_string())
            });
            let authorities = authorities.map_err(|error| {
                let what = format!("cannot read http.ca {}: {error}", path.display());
                Fault::usage(what, "name a PEM file with the certificate of the authority")
            })?;
            for authority in authorities {
                client = client.add_root_certificate(authority);
            }
        }
        let client = client.build();
        let client = client.map_err(|error| Fault::failed(format!("cannot use HTTP: {error}"), ""))?;
        let (base, token) = (config.http_url(), tokens::ours(config)?);
        if token.is_some() {
            tokens::may_go(&base)?;
        }
        Ok(Self { base, token, client })
    }

    fn asking(&self, method: Method, url: String) -> reqwest::RequestBuilder {
        let request = self.client.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    pub async fn status(&self) -> Result<StatusDocument, ApiError> {
        self.read(self.call(Method::GET, "/v1/status", None).await?).await
    }

    pub async fn relocation(&self, id: RelocationId) -> Result<RelocationStatus, ApiError> {
        self.read(self.call(Method::GET, &format!("/v1/relocations/{id}"), None).await?).await
    }

    /// Only publishes.
    pub async fn submit(&self, request: Vec<u8>) -> Result<(), ApiError> {
        self.call(Method::POST, "/v1/relocations", Some(request)).await.map(drop)
    }

    pub async fn cancel(&self, id: RelocationId) -> Result<(), ApiError> {
        self.order(id, "cancel").await
    }

    pub async fn retry(&self, id: RelocationId) -> Result<(), ApiError> {
        self.order(id, "retry").await
    }

    pub async fn approve(&self, id: RelocationId) -> Result<(), ApiError> {
        self.order(id, "approve").await
    }

    pub async fn pause(&self, id: RelocationId) -> Result<(), ApiError> {
        self.order(id, "pause").await
    }

    pub async fn resume(&self, id: RelocationId) -> Result<(), ApiError> {
        self.order(id, "resume").await
    }

    /// Only publishes; whether it was followed is in the status.
    async fn order(&self, id: RelocationId, order: &str) -> Result<(), ApiError> {
        self.call(Method::POST, &format!("/v1/relocations/{id}/{order}"), None).await.map(drop)
    }

    /// To the first who asks.
    pub async fn take_key(&self, id: RelocationId, name: Option<&str>) -> Result<KeyTaken, ApiError> {
        let mut url = format!("{}/v1/relocations/{id}/key", self.base);
        if let Some(name) = name {
            url.push_str(&format!("?name={}", escaped(name)));
        }
        let request = self.asking(Method::POST, url).timeout(ANSWER_WITHIN);
        self.read(accepted(request.send().await.map_err(|error| self.silent(&error))?).await?).await
    }

    /// Notices from the moment this returns; with `recent`, those kept come first.
    pub async fn events(&self, follow: bool, recent: bool) -> Result<Events, ApiError> {
        let url = format!("{}/v1/events?follow={follow}&recent={recent}", self.base);
        let response = self.asking(Method::GET, url).send().await.map_err(|error| self.silent(&error))?;
        Ok(Events { response: accepted(response).await?, pending: Vec::new() })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Response, ApiError> {
        let mut request = self.asking(method, format!("{}{path}", self.base)).timeout(ANSWER_WITHIN);
        if let Some(body) = body {
            request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body);
        }
        accepted(request.send().await.map_err(|error| self.silent(&error))?).await
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, ApiError> {
        let body = response.bytes().await.map_err(|error| self.silent(&error))?;
        serde_json::from_slice(&body).map_err(|error| {
            let what = format!("the answer of {} is not understood: {error}", self.base);
            ApiError::Refused(Fault::failed(
                what,
                "see that it is FluidCloud, and of the version of this command",
            ))
        })
    }

    fn silent(&self, error: &reqwest::Error) -> ApiError {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        ApiError::Silent(Fault::unreachable(
            format!("nothing answers at {} ({cause})", self.base),
            "start `fluidcloud up` or `fluidcloud broker`, or set `http.listen` to where it listens",
        ))
    }
}

/// As a part of a query.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// A key that nobody else gets.
#[derive(Deserialize)]
pub struct KeyTaken {
    pub name: String,
    pub private_key: String,
}

async fn accepted(response: Response) -> Result<Response, ApiError> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = response.bytes().await.unwrap_or_default();
    let problem = serde_json::from_slice::<Problem>(&body).unwrap_or_else(|_| Problem {
        detail: format!("the API answers {status}"),
        code: None,
        remedy: "see that it is FluidCloud that listens there".to_owned(),
    });
    let exit = match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT => Exit::Usage,
        StatusCode::SERVICE_UNAVAILABLE => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let fault = Fault::new(exit, problem.detail, problem.remedy);
    Err(match (status, problem.code) {
        (_, Some(Code::UnknownRelocation)) => ApiError::Unknown(fault),
        (StatusCode::SERVICE_UNAVAILABLE, _) => ApiError::Silent(fault),
        _ => ApiError::Refused(fault),
    })
}

/// A stream of notices.
#[derive(Debug)]
pub struct Events {
    response: Response,
    /// What came of a line that is not whole.
    pending: Vec<u8>,
}

impl Events {
    /// The next line; `None` when the stream has ended or was silent for long. Cancel-safe.
    pub async fn next_line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.pending.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line).trim().to_owned();
                if !line.is_empty() {
                    return Some(line);
                }
                continue;
            }
            if self.pending.len() > EVENT_BYTES_MAX {
                return None;
            }
            let chunk = tokio::time::timeout(EVENT_WITHIN, self.response.chunk()).await.ok()?.ok()??;
            self.pending.extend_from_slice(&chunk);
        }
    }

    /// The next notice that is understood.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            let line = self.next_line().await?;
            if let Ok(notice) = serde_json::from_str(&line) {
                return Some(notice);
            }
        }
    }
}
