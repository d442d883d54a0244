//! Lets a caller through to an endpoint, or tells why not: by a token (`Authorization: Bearer …`), by the cookie of a session, or
//! at a development start without either. A mutating call is written down before it is passed on.

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fluidcloud_proto::failure::{Code, Failure};
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::Api;
use super::guard::same_origin;
use super::listener::Peer;
use super::problem::Problem;
use super::session::cookie;
use crate::access::{Access, Caller, Role};
use crate::audit::AuditLine;

/// What an endpoint asks of its callers.
#[derive(Clone, Debug)]
pub(super) struct Gate {
    pub api: Api,
    pub role: Role,
}

pub(super) async fn gate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    match admit(&gate, &request) {
        Ok(caller) => {
            request.extensions_mut().insert(caller.clone());
            if is_look(request.method()) {
                return next.run(request).await;
            }
            written_down(&gate.api, &caller, request, next).await
        }
        Err(problem) => {
            if !is_look(request.method()) {
                let (method, path) = (request.method(), request.uri().path());
                tracing::warn!(%method, path, "a call was refused");
            }
            problem.into_response()
        }
    }
}

pub(super) fn is_look(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

fn admit(gate: &Gate, request: &Request) -> Result<Caller, Problem> {
    let (access, headers) = (&gate.api.parts.access, request.headers());
    let known = match bearer(headers)? {
        Some(token) => access.of_token(token).map_err(|error| broken(&error))?,
        None => match access.of_nobody() {
            Some(caller) => Some(caller),
            None => by_session(gate, request)?,
        },
    };
    let caller = known.ok_or_else(|| unknown(headers))?;
    if caller.role >= gate.role {
        return Ok(caller);
    }
    let detail = format!("`{}` has the role {}, and this takes {}", caller.name, caller.role, gate.role);
    Err(Problem::forbidden(detail, "ask somebody with that role, or use a token that has it"))
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    token.map(Some).ok_or_else(|| unknown(headers))
}

/// The cookie comes along whoever makes the browser call, so a change must come from a page of ours.
fn by_session(gate: &Gate, request: &Request) -> Result<Option<Caller>, Problem> {
    let Some(id) = cookie(request.headers()) else { return Ok(None) };
    if !is_look(request.method()) && !same_origin(request.headers()) {
        let remedy = "use the dashboard of this very broker, or a token";
        return Err(Problem::forbidden("the request comes from a page of another origin", remedy));
    }
    let Some(caller) = gate.api.sessions.caller(id, Instant::now()) else { return Ok(None) };
    let still = gate.api.parts.access.still(&caller).map_err(|error| broken(&error))?;
    Ok(still.then_some(caller))
}

fn unknown(headers: &HeaderMap) -> Problem {
    let detail = match headers.get(header::AUTHORIZATION).is_some() || cookie(headers).is_some() {
        true => "the token or session is not known: it was revoked, or its time is over",
        false => "the API takes a token",
    };
    let remedy = "make one with `fluidcloud token create NAME --role viewer|operator|admin`, and send it as \
                  `Authorization: Bearer TOKEN` (the command line reads FLUIDCLOUD_TOKEN)";
    Problem::new(StatusCode::UNAUTHORIZED, Failure::never(Code::Unauthorized, detail, remedy))
}

pub(super) fn broken(error: &crate::access::Error) -> Problem {
    tracing::error!(%error, "nobody can be let in");
    let remedy = "see the broker's log; tokens are in its state directory";
    let failure = Failure::later(Code::Internal, "the tokens cannot be read", remedy);
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, failure)
}

async fn written_down(api: &Api, caller: &Caller, request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<Peer>>();
    let from = from.map_or_else(|| "unknown".to_owned(), |ConnectInfo(Peer(address))| address.to_string());
    let line = AuditLine {
        at: OffsetDateTime::now_utc(),
        call: Uuid::new_v4(),
        who: caller.name.to_string(),
        role: caller.role.to_string(),
        from,
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        outcome: None,
    };
    if let Err(problem) = note(api, line.clone()).await {
        return problem.into_response();
    }
    let response = next.run(request).await;
    let ended =
        AuditLine { at: OffsetDateTime::now_utc(), outcome: Some(response.status().as_u16()), ..line };
    // It is done: that it was asked for is on record, and what came of it is in the log.
    if note(api, ended).await.is_err() {
        tracing::warn!(status = %response.status(), "the outcome of a call is missing in the audit log");
    }
    response
}

async fn note(api: &Api, line: AuditLine) -> Result<(), Problem> {
    let Some(audit) = api.parts.audit.clone() else { return Ok(()) };
    let path = audit.path().display().to_string();
    let noted = tokio::task::spawn_blocking(move || audit.note(line)).await;
    let error = match noted {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(path, error, "the audit log cannot be written");
    let failure = Failure::later(
        Code::Internal,
        "the call cannot be written down in the audit log, so it was not passed on",
        "make room on the broker's disk, and send it again",
    );
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, failure))
}

impl Api {
    /// Whether who was let in would be let in again.
    pub(super) fn still(&self, caller: &Caller) -> bool {
        let session = caller.session.as_deref();
        let lasts = session.is_none_or(|id| self.sessions.caller(id, Instant::now()).is_some());
        lasts && self.parts.access.still(caller).unwrap_or(false)
    }
}

impl Access {
    /// For the start: who may listen where.
    pub fn is_development(&self) -> bool {
        matches!(self, Self::Development)
    }
}
