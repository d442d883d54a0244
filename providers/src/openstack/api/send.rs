//! One request to its end: token, endpoint, attempts, and what a refusal means.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{RequestBuilder, Response, StatusCode};
use time::OffsetDateTime;

use super::retry::{Outcome, Repeat, again};
use super::secret::Secret;
use super::token::Token;
use super::{ANSWER_BYTES_MAX, Api, CALL_MAX, Call, refusal, token};
use crate::error::Error;

const TOKEN: &str = "X-Auth-Token";
const NEW_TOKEN: &str = "X-Subject-Token";
const MICROVERSION: &str = "OpenStack-API-Version";
/// Each service's own name for the same, for messages.
const REQUEST_ID: [&str; 3] = ["x-openstack-request-id", "x-compute-request-id", "x-trans-id"];

impl Api {
    /// The body of a good answer.
    pub(super) async fn send(&self, call: &Call) -> Result<Vec<u8>, Error> {
        Ok(self.answered(call).await?.body)
    }

    /// A good answer.
    pub(super) async fn answered(&self, call: &Call) -> Result<Answer, Error> {
        let mut renewed = false;
        let mut attempt = 1;
        loop {
            let token = self.token().await?;
            let request = self.request(call, &token)?.timeout(CALL_MAX);
            let outcome = match request.send().await {
                Err(error) => Err(error),
                Ok(answer) => read(answer).await,
            };
            let (outcome, error) = match outcome {
                Ok(answer) if answer.status.is_success() => return Ok(answer),
                Ok(answer) if answer.status == StatusCode::UNAUTHORIZED && !renewed => {
                    renewed = true;
                    self.spoil(&token).await;
                    continue;
                }
                Ok(answer) => self.refused(&call.what, &answer),
                Err(cause) => {
                    let outcome = if cause.is_connect() { Outcome::NotSent } else { Outcome::Lost };
                    (outcome, self.silent(&call.what, cause))
                }
            };
            let Some(pause) = again(outcome, call.repeat, attempt, jitter()) else { return Err(error) };
            tracing::debug!(provider = %self.provider, attempt, %error, "sent again");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    pub(super) fn request(&self, call: &Call, token: &Token) -> Result<RequestBuilder, Error> {
        let base = token.catalog.endpoint(call.service, &self.entry);
        let base = base.map_err(|what| Error::Config { provider: self.provider.to_string(), what })?;
        let mut request = self
            .client
            .request(call.method.clone(), format!("{base}{}", call.path))
            .header(TOKEN, sensitive(&token.value))
            .query(&call.query);
        if let Some(microversion) = call.service.microversion() {
            request = request.header(MICROVERSION, microversion);
        }
        for (name, value) in &call.headers {
            // Bytes, as metadata may be in any language.
            let value = HeaderValue::from_bytes(value.as_bytes());
            let value = value.map_err(|cause| Error::Driver {
                provider: self.provider.to_string(),
                what: format!("{}, as header {name} cannot be sent", call.what),
                cause: cause.into(),
            })?;
            request = request.header(name, value);
        }
        if let Some(json) = &call.json {
            request = request.json(json);
        }
        Ok(request)
    }

    /// A token that is good for a while.
    pub(super) async fn token(&self) -> Result<Arc<Token>, Error> {
        let mut held = self.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.is_fresh(OffsetDateTime::now_utc())) {
            return Ok(token.clone());
        }
        let token = Arc::new(self.log_in().await?);
        *held = Some(token.clone());
        Ok(token)
    }

    /// Refused although it should be good: revoked, or the cloud's clock is another. Unless somebody else renewed it
    /// already.
    pub(super) async fn spoil(&self, token: &Arc<Token>) {
        let mut held = self.token.lock().await;
        if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, token)) {
            *held = None;
        }
    }

    async fn log_in(&self) -> Result<Token, Error> {
        let what = format!("log in to cloud `{}`", self.entry.name);
        let body = token::body(&self.entry.login);
        let mut attempt = 1;
        loop {
            let request = self.client.post(token::url(&self.entry)).json(&body).timeout(CALL_MAX);
            let answer = match request.send().await {
                Ok(answer) => read(answer).await,
                Err(error) => Err(error),
            };
            let (outcome, error) = match answer {
                Ok(answer) if answer.status.is_success() => return self.logged_in(&what, answer),
                Ok(answer) => self.refused(&what, &answer),
                Err(cause) => (Outcome::Lost, self.silent(&what, cause)),
            };
            let Some(pause) = again(outcome, Repeat::Safe, attempt, jitter()) else { return Err(error) };
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    fn logged_in(&self, what: &str, answer: Answer) -> Result<Token, Error> {
        let wrong = |cause: String| Error::Driver {
            provider: self.provider.to_string(),
            what: what.to_owned(),
            cause: cause.into(),
        };
        let value = answer.headers.get(NEW_TOKEN).and_then(|value| value.to_str().ok());
        let value = value.ok_or_else(|| wrong("its answer has no token".into()))?;
        Token::parse(Secret::new(value), &answer.body, OffsetDateTime::now_utc()).map_err(wrong)
    }

    /// What an answer other than a good one means: for another attempt, and as an error if there is none.
    pub(super) fn refused(&self, what: &str, answer: &Answer) -> (Outcome, Error) {
        let status = answer.status.as_u16();
        let mut message = refusal::message(&answer.body);
        let (remedy, retryable) =
            (refusal::remedy(status, &message, &self.entry.name), refusal::heals(status, &message));
        let full = refusal::is_full(status, &message);
        if let Some(id) = &answer.request_id {
            message.push_str(&format!(" [{id}]"));
        }
        let (provider, what) = (self.provider.to_string(), what.to_owned());
        let outcome = Outcome::Status { code: status, retry_after: answer.retry_after };
        (outcome, Error::Refused { provider, what, status, message, remedy, full, retryable })
    }

    pub(super) fn silent(&self, what: &str, cause: reqwest::Error) -> Error {
        // Its address may hold a token, as in temporary URLs.
        let cause = cause.without_url();
        if cause.is_timeout() && !cause.is_connect() {
            let what = format!("to {what} at provider `{}`", self.provider);
            return Error::TimedOut { what, secs: CALL_MAX.as_secs() };
        }
        let what = format!("provider `{}`, asked to {what},", self.provider);
        Error::Unreachable { what, cause: cause.into() }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub retry_after: Option<Duration>,
    pub request_id: Option<String>,
}

pub(super) async fn read(mut answer: Response) -> Result<Answer, reqwest::Error> {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let retry_after = text(RETRY_AFTER.as_str()).and_then(|secs| secs.parse().ok()).map(Duration::from_secs);
    let request_id = REQUEST_ID.iter().find_map(|name| text(name)).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = ANSWER_BYTES_MAX.saturating_sub(body.len());
        // What is longer does not parse, and says so.
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if room == 0 {
            break;
        }
    }
    Ok(Answer { status, headers, body, retry_after, request_id })
}

/// Not shown when headers are logged.
fn sensitive(token: &Secret) -> HeaderValue {
    let value = HeaderValue::from_str(token.reveal());
    let mut value = value.unwrap_or_else(|_| HeaderValue::from_static("invalid"));
    value.set_sensitive(true);
    value
}

/// From 0 to 1: spreads those who wait for the same thing.
pub(super) fn jitter() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    f64::from(since.subsec_nanos() % 1000) / 1000.0
}
