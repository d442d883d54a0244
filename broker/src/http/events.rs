//! `GET /v1/events`: notices as they happen, one JSON object per line, or as server-sent events for who accepts
//! `text/event-stream`. `recent=true` begins with those kept, `follow=false` ends after them.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream, StreamExt};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

use super::Api;
use super::problem::Problem;
use crate::access::Caller;

/// Event streams open at the same time; fewer than connections, so that they never take all of them.
pub const STREAMS_MAX: usize = 32;
/// An empty line (or comment) is sent when nothing happened for so long, so that both ends see the other is there.
pub const SIGN_OF_LIFE_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    #[serde(default = "yes")]
    /// Go on with what happens from now on; `true` when left out.
    follow: bool,
    #[serde(default)]
    /// Begin with the latest that were kept.
    recent: bool,
}

fn yes() -> bool {
    true
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Lines,
    ServerSent,
}

pub async fn events(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Query(wanted) = wanted.map_err(|error| {
        Problem::of(StatusCode::BAD_REQUEST, error.body_text(), "use follow=true|false and recent=true|false")
    })?;
    let Ok(permit) = api.streams.clone().try_acquire_owned() else {
        let detail = format!("{STREAMS_MAX} event streams are open already");
        return Err(Problem::of(
            StatusCode::SERVICE_UNAVAILABLE,
            detail,
            "close one, or ask for the status instead",
        ));
    };
    let accepts = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let form = if accepts.contains("text/event-stream") { Form::ServerSent } else { Form::Lines };

    let (kept, live) = api.parts.feed.recent_and_live();
    let kept = if wanted.recent { kept } else { Vec::new() };
    let first = stream::iter(kept).map(move |line| form.notice(&line));
    let body = if wanted.follow {
        Body::from_stream(
            first.chain(follow(live, form, permit, api.clone(), caller)).map(Ok::<_, std::io::Error>),
        )
    } else {
        Body::from_stream(first.map(Ok::<_, std::io::Error>))
    };
    let headers = [(header::CONTENT_TYPE, form.content_type()), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, body).into_response())
}

fn follow(
    live: Receiver<Arc<str>>,
    form: Form,
    permit: OwnedSemaphorePermit,
    api: Api,
    caller: Caller,
) -> impl Stream<Item = String> {
    stream::unfold((live, permit, Instant::now()), move |(mut live, permit, mut asked)| {
        let (shutdown, api, caller) = (api.shutdown.clone(), api.clone(), caller.clone());
        async move {
            // Tokens are revoked and sessions end while streams last.
            if asked.elapsed() >= SIGN_OF_LIFE_EVERY {
                if !api.still(&caller) {
                    return None;
                }
                asked = Instant::now();
            }
            let heard = tokio::select! {
                heard = tokio::time::timeout(SIGN_OF_LIFE_EVERY, live.recv()) => heard,
                () = shutdown.cancelled() => return None,
            };
            let said = match heard {
                Ok(Ok(line)) => form.notice(&line),
                Ok(Err(RecvError::Lagged(_))) | Err(_) => form.sign_of_life(),
                Ok(Err(RecvError::Closed)) => return None,
            };
            Some((said, (live, permit, asked)))
        }
    })
}

impl Form {
    fn content_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::ServerSent => "text/event-stream",
        }
    }

    fn notice(self, json: &str) -> String {
        match self {
            Self::Lines => format!("{json}\n"),
            Self::ServerSent => format!("data: {json}\n\n"),
        }
    }

    fn sign_of_life(self) -> String {
        match self {
            Self::Lines => "\n".to_owned(),
            Self::ServerSent => ":\n\n".to_owned(),
        }
    }
}
