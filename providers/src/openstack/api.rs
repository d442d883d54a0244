//! The HTTP side of an OpenStack cloud: logs in, finds endpoints, sends, retries, follows pages. It knows no resource.
//! No token and no password leaves it but to the cloud itself.

pub(crate) mod catalog;
pub(crate) mod entry;
#[cfg(test)]
pub(crate) mod fake_cloud;
mod page;
mod pour;
mod refusal;
mod retry;
pub(crate) mod secret;
mod send;
mod stream;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::error::Error;
pub use catalog::Service;
pub use entry::CLOUD;
pub(crate) use entry::Entry;
pub(crate) use pour::Answered;
pub use retry::Repeat;
pub use stream::Opened;
use token::Token;

const CONNECT: Duration = Duration::from_secs(10);
/// For one call that carries no bulk data, answer included.
const CALL_MAX: Duration = Duration::from_secs(60);
/// Largest answer that is held in memory.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Items a page is asked for; a service may give fewer.
const PAGE: &str = "500";

/// A cloud to talk to. Cheap to clone; logs in when first used.
#[derive(Clone, Debug)]
pub struct Api {
    provider: Arc<str>,
    entry: Arc<Entry>,
    client: reqwest::Client,
    /// Held while logging in, so that many calls log in once.
    token: Arc<Mutex<Option<Arc<Token>>>>,
}

/// One request. `what` says what it is for, as it goes on after "refused to": `delete volume x`.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) what: String,
    pub(super) method: Method,
    pub(super) service: Service,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) json: Option<Value>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) repeat: Repeat,
}

impl Call {
    fn new(method: Method, service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        let repeat = if method == Method::POST { Repeat::Once } else { Repeat::Safe };
        let (what, path) = (what.into(), path.into());
        Self { what, method, service, path, query: Vec::new(), json: None, headers: Vec::new(), repeat }
    }

    pub fn get(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::GET, service, path, what)
    }

    pub fn delete(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::DELETE, service, path, what)
    }

    pub fn put(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::PUT, service, path, what)
    }

    /// Sets what is named, so that twice is the same as once.
    pub fn patch(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::PATCH, service, path, what)
    }

    /// Makes something, so it is not sent again when its fate is unknown; see [`Call::safe`].
    pub fn post(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::POST, service, path, what)
    }

    /// Only what is there is asked for, and its headers.
    pub fn head(service: Service, path: impl Into<String>, what: impl Into<String>) -> Self {
        Self::new(Method::HEAD, service, path, what)
    }

    pub fn what(&self) -> &str {
        &self.what
    }

    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    pub fn json(mut self, json: Value) -> Self {
        self.json = Some(json);
        self
    }

    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Doing it twice is not the same as once, although it is no POST.
    pub fn once(mut self) -> Self {
        self.repeat = Repeat::Once;
        self
    }

    /// Doing it twice is the same as once, although it is a POST.
    pub fn safe(mut self) -> Self {
        self.repeat = Repeat::Safe;
        self
    }
}

impl Api {
    pub(crate) fn new(provider: &str, entry: Entry) -> Result<Self, Error> {
        let config = |what: String| Error::Config { provider: provider.to_owned(), what };
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            // A redirect could carry the token to another host.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("fluidcloud/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &entry.cacert {
            let unreadable = |cause: String| config(format!("cacert {}: {cause}", path.display()));
            let pem = std::fs::read(path).map_err(|cause| unreadable(cause.to_string()))?;
            let certs = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|_| unreadable("it holds no certificate: give a PEM file".into()))?;
            builder = builder.tls_certs_merge(certs);
        }
        if !entry.verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let client = builder.build().map_err(|cause| config(format!("cannot set up TLS: {cause}")))?;
        Ok(Self { provider: provider.into(), entry: Arc::new(entry), client, token: Arc::default() })
    }

    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    /// The answer as JSON; `null` where there is none.
    pub async fn call(&self, call: Call) -> Result<Value, Error> {
        let body = self.send(&call).await?;
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|cause| self.unreadable(&call.what, cause))
    }

    /// The headers of the answer, by lower-case name, with its status.
    pub(crate) async fn headers(&self, call: &Call) -> Result<Answered, Error> {
        let answer = self.answered(call).await?;
        Ok(Answered::of(answer.status.as_u16(), &answer.headers))
    }

    /// One thing below `key` of the answer.
    pub(crate) async fn one<T: DeserializeOwned>(&self, call: Call, key: &str) -> Result<T, Error> {
        let what = call.what.clone();
        let mut answer = self.call(call).await?;
        serde_json::from_value(answer[key].take()).map_err(|cause| self.unreadable(&what, cause))
    }

    /// Same, `None` where there is no such thing.
    pub(crate) async fn find<T: DeserializeOwned>(&self, call: Call, key: &str) -> Result<Option<T>, Error> {
        absent(self.one(call, key).await)
    }

    /// The project that all calls are about.
    pub(crate) async fn project(&self) -> Result<String, Error> {
        Ok(self.token().await?.project.clone())
    }

    /// All things of a list, page by page.
    pub(crate) async fn list<T: DeserializeOwned>(&self, call: Call, key: &str) -> Result<Vec<T>, Error> {
        self.pages(call, key, |answer| answer[key].take()).await
    }

    /// Same, for a list that lies deeper than below `key`, after which the links to further pages are named.
    pub(crate) async fn pages<T: DeserializeOwned>(
        &self,
        call: Call,
        key: &str,
        list: impl Fn(&mut Value) -> Value + Send,
    ) -> Result<Vec<T>, Error> {
        let first = call.query.clone();
        let mut call = call.query("limit", PAGE);
        let mut all = Vec::new();
        for _ in 0..page::PAGES_MAX {
            let mut answer = self.call(call.clone()).await?;
            let items: Vec<T> = serde_json::from_value(list(&mut answer))
                .map_err(|cause| self.unreadable(&call.what, cause))?;
            let last = items.is_empty();
            all.extend(items);
            match page::next(&answer, key) {
                // A service that gives the same page again and again would go on for ever.
                Some(query) if !last && query != call.query => {
                    call.query = query;
                    // Some drop the filters from what they link to.
                    for (name, value) in &first {
                        if !call.query.iter().any(|(known, _)| known == name) {
                            call.query.push((name.clone(), value.clone()));
                        }
                    }
                }
                _ => return Ok(all),
            }
        }
        Ok(all)
    }

    /// Removes a thing; one that is not there is no error.
    pub(crate) async fn remove(&self, call: Call) -> Result<(), Error> {
        absent(self.send(&call).await).map(drop)
    }

    fn unreadable(&self, what: &str, cause: serde_json::Error) -> Error {
        Error::Driver { provider: self.provider.to_string(), what: what.to_owned(), cause: cause.into() }
    }
}

/// `None` for what is not there.
pub(crate) fn absent<T>(done: Result<T, Error>) -> Result<Option<T>, Error> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(Error::Refused { status: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
