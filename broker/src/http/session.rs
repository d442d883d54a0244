//! The login of the dashboard: a token for a cookie, which lasts for [`SESSION_LASTS`] and which no script can read.

use axum::Extension;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Api;
use super::gate::broken;
use super::problem::Problem;
use crate::access::{Caller, Role, SESSION_LASTS};

const COOKIE: &str = "fluidcloud_session";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    token: String,
}

/// Who is logged in.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Who {
    name: String,
    role: String,
    /// Everybody is let in: this is a development start.
    development: bool,
}

impl Who {
    fn is(api: &Api, caller: &Caller) -> Self {
        let development = api.parts.access.is_development();
        Self { name: caller.name.to_string(), role: caller.role.to_string(), development }
    }
}

pub async fn who(State(api): State<Api>, Extension(caller): Extension<Caller>) -> Json<Who> {
    Json(Who::is(&api, &caller))
}

pub async fn begin(
    State(api): State<Api>,
    login: Result<Json<Login>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(login) = login.map_err(|error| {
        Problem::of(StatusCode::BAD_REQUEST, error.body_text(), "send {\"token\": \"…\"} as application/json")
    })?;
    let caller = api.parts.access.of_token(login.token.trim()).map_err(|error| broken(&error))?;
    let Some(caller) = caller else {
        tracing::warn!("a login with a token that is not known");
        let remedy = "make one with `fluidcloud token create NAME --role viewer|operator|admin`";
        return Err(Problem::unauthorized(
            "this token is not known: mistyped, revoked, or its time is over",
            remedy,
        ));
    };
    tracing::info!(who = %caller.name, role = %caller.role, "session begins");
    let who = Who::is(&api, &caller);
    let id = api.sessions.begin(caller, Instant::now());
    let cookie = set_cookie(&id, SESSION_LASTS.as_secs(), api.secure);
    Ok(([(header::SET_COOKIE, cookie)], Json(who)).into_response())
}

pub async fn end(State(api): State<Api>, headers: HeaderMap) -> Response {
    if let Some(id) = cookie(&headers) {
        api.sessions.end(id);
    }
    (StatusCode::NO_CONTENT, [(header::SET_COOKIE, set_cookie("", 0, api.secure))]).into_response()
}

fn set_cookie(id: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}")
}

pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, id)| *name == COOKIE && !id.is_empty()).map(|(_, id)| id)
}

/// Of who looks.
pub(super) const LOOKS: Role = Role::Viewer;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let headers = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, text.parse().unwrap());
            headers
        };
        assert_eq!(cookie(&headers("a=b; fluidcloud_session=xyz; c=d")), Some("xyz"));
        assert_eq!(cookie(&headers("fluidcloud_session=")), None);
        assert_eq!(cookie(&headers("xfluidcloud_session=1")), None);
        assert_eq!(cookie(&HeaderMap::new()), None);
    }

    #[test]
    fn no_script_and_no_other_site_gets_the_cookie() {
        let told = set_cookie("id", 60, true);
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=60"] {
            assert!(told.contains(part), "{told}");
        }
        assert!(!set_cookie("id", 60, false).contains("Secure"));
    }
}
