//! A fake cloud: HTTP on loopback that answers as it is told, for failures that no real cloud makes on demand. It keeps
//! nothing and proves nothing about OpenStack.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use serde_json::json;

use super::entry::{Domain, Entry, Login, Project, User};
use super::secret::Secret;
use super::{Api, Service};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: String,
    pub token: String,
    pub range: Option<String>,
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

/// What is answered: status, headers, body.
pub type Told = (u16, Vec<(&'static str, String)>, Vec<u8>);
type Script = Arc<Mutex<dyn FnMut(&Seen) -> Told + Send>>;

/// A header that is not sent: the connection breaks after the body.
pub const CUT: &str = "x-cut";

#[derive(Clone)]
pub struct FakeCloud {
    pub url: String,
    script: Script,
    seen: Arc<Mutex<Vec<Seen>>>,
    logins: Arc<Mutex<u32>>,
}

impl FakeCloud {
    /// `script` answers everything but the login. The n-th login gives the token `t<n>`.
    pub async fn start(script: impl FnMut(&Seen) -> Told + Send + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cloud =
            Self { url, script: Arc::new(Mutex::new(script)), seen: Arc::default(), logins: Arc::default() };
        let app = Router::new().fallback(answer).with_state(cloud.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        cloud
    }

    pub fn api(&self) -> Api {
        Self::api_at(&self.url)
    }

    /// Where nobody may be.
    pub fn api_at(url: &str) -> Api {
        let domain = Domain { id: Some("default".into()), name: None };
        let user = User { id: None, name: Some("u".into()), domain: domain.clone() };
        let project = Project { id: Some("p".into()), name: None, domain };
        let entry = Entry {
            name: "fake".into(),
            auth_url: url.to_owned(),
            login: Login::Password { user, password: Secret::new("pa55"), project },
            region: None,
            interface: "public".into(),
            verify: true,
            cacert: None,
            overrides: BTreeMap::new(),
        };
        Api::new("cloud-x", entry).unwrap()
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn logins(&self) -> u32 {
        *self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_in(&self) -> Response {
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        *logins += 1;
        let served = |service: Service, path: &str| {
            let url = format!("{}{path}", self.url);
            json!({"type": service.to_string(), "endpoints": [{"interface": "public", "region": "r", "url": url}]})
        };
        let catalog = [
            served(Service::Compute, "/compute/v2.1"),
            served(Service::Volume, "/volume/v3"),
            served(Service::Network, "/network"),
            served(Service::Image, "/image"),
            served(Service::ObjectStore, "/object"),
        ];
        let expires_at = "2099-01-01T00:00:00.000000Z";
        let body = json!({"token": {"expires_at": expires_at, "project": {"id": "p"}, "catalog": catalog}});
        let token = format!("t{logins}");
        Response::builder()
            .status(201)
            .header("X-Subject-Token", token)
            .body(body.to_string().into())
            .unwrap()
    }
}

async fn answer(State(cloud): State<FakeCloud>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/v3/auth/tokens" {
        return cloud.log_in();
    }
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut seen = Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        token: header("X-Auth-Token").unwrap_or_default(),
        range: header("Range"),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: Bytes::new(),
    };
    // A cut upload has no body to tell of.
    seen.body = to_bytes(body, 64 << 20).await.unwrap_or_default();
    cloud.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen.clone());
    let (status, headers, body) = (cloud.script.lock().unwrap_or_else(PoisonError::into_inner))(&seen);
    let mut response = Response::builder().status(status);
    if headers.iter().any(|(name, _)| *name == CUT) {
        return response.body(Body::from_stream(cut(body))).unwrap();
    }
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap()
}

/// The body, and then the connection breaks.
fn cut(body: Vec<u8>) -> impl futures::Stream<Item = std::io::Result<Vec<u8>>> {
    futures::stream::unfold(Some(body), |left| async {
        match left {
            Some(body) if !body.is_empty() => Some((Ok(body), Some(Vec::new()))),
            Some(_) => {
                // Let the client have what was sent.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                Some((Err(std::io::Error::other("cut")), None))
            }
            None => None,
        }
    })
}

/// A good answer.
pub fn ok(json: serde_json::Value) -> Told {
    (200, Vec::new(), json.to_string().into_bytes())
}

/// A refusal in Nova's shape.
pub fn refuse(status: u16, message: &str) -> Told {
    let body = json!({"fault": {"message": message, "code": status}});
    (status, vec![("x-openstack-request-id", "req-1".into())], body.to_string().into_bytes())
}
