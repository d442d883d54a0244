//! Stands between the driver and a real cloud and does harm as it is told: answers in the service's place, loses answers, cuts
//! connections, waits. The catalog that Keystone gives is pointed here, so that all services are reached through it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures::StreamExt;
use serde_json::Value;
use tokio::sync::watch;

/// Requests up to this size are passed on whole.
const SMALL_BYTES: u64 = 1 << 20;
/// Keystone's place here; the other services have the name of their type.
const IDENTITY: &str = "identity";
const HOP_BY_HOP: [&str; 4] = ["host", "connection", "content-length", "transfer-encoding"];
/// An answer that is held longer counts as lost; a client waits a minute for one.
const HELD_MAX: Duration = Duration::from_secs(55);

#[derive(Clone, Debug)]
pub enum Fault {
    /// In the service's place, which never hears of it.
    Answer(u16, &'static str),
    /// The same, after so many bytes of what is sent.
    AnswerAfter(u16, usize),
    /// The service does it; its answer is lost.
    Lose(u16),
    /// The service does it; its answer breaks off after so many bytes.
    Cut(usize),
    Delay(Duration),
    /// The service does it; its answer waits until the gate is opened.
    Hold(Gate),
}

/// Lets a test do something between what a service has done and the answer that tells of it.
#[derive(Clone)]
pub struct Gate {
    met: Arc<watch::Sender<bool>>,
    open: Arc<watch::Sender<bool>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { met: Arc::new(watch::Sender::new(false)), open: Arc::new(watch::Sender::new(false)) }
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_met() { "a gate, met" } else { "a gate" })
    }
}

impl Gate {
    /// Whether somebody waits at it, or has.
    pub fn is_met(&self) -> bool {
        *self.met.borrow()
    }

    pub fn open(&self) {
        self.open.send_replace(true);
    }

    async fn pass(&self) {
        self.met.send_replace(true);
        let mut open = self.open.subscribe();
        let opened = open.wait_for(|open| *open);
        if tokio::time::timeout(HELD_MAX, opened).await.is_err() {
            println!("a gate was not opened within {HELD_MAX:?}");
        }
    }
}

/// What is done to the next requests that it is about.
#[derive(Clone, Debug)]
pub struct Rule {
    method: &'static str,
    service: &'static str,
    /// In the path; at its end, if this ends with `$`.
    part: String,
    times: u32,
    fault: Fault,
}

#[derive(Clone, Debug)]
pub struct Proxy {
    pub url: String,
    client: reqwest::Client,
    /// Where each service really is.
    origins: Arc<Mutex<BTreeMap<String, String>>>,
    rules: Arc<Mutex<Vec<Rule>>>,
    /// Requests that harm was done to.
    done: Arc<Mutex<u32>>,
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Proxy {
    /// In front of the cloud whose Keystone is there.
    async fn start(auth_url: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let policy = reqwest::redirect::Policy::none();
        let client = reqwest::Client::builder().no_proxy().redirect(policy).build().unwrap();
        let identity = (IDENTITY.to_owned(), origin(auth_url).0.to_owned());
        let origins = Arc::new(Mutex::new(BTreeMap::from([identity])));
        let proxy = Self { url, client, origins, rules: Arc::default(), done: Arc::default() };
        let app = Router::new().fallback(pass).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        proxy
    }

    /// In front of a cloud of clouds.yaml. The same entry, which leads through here, is written to `file`: it holds the
    /// login, so its directory must be one that only its owner reads.
    pub async fn before(cloud: &str, file: &Path) -> Self {
        let known = std::fs::read_to_string(clouds_file()).unwrap();
        let mut clouds: Value = serde_norway::from_str(&known).unwrap();
        let auth = &mut clouds["clouds"][cloud]["auth"];
        let auth_url = auth["auth_url"].as_str().expect("an auth_url").to_owned();
        let proxy = Self::start(&auth_url).await;
        auth["auth_url"] = format!("{}/{IDENTITY}{}", proxy.url, origin(&auth_url).1).into();
        std::fs::write(file, serde_norway::to_string(&clouds).unwrap()).unwrap();
        proxy
    }

    /// `service` is a type of the catalog, such as `compute`, `volumev3`, `network`, `image`.
    pub fn harm(&self, method: &'static str, service: &'static str, part: &str, times: u32, fault: Fault) {
        lock(&self.rules).push(Rule { method, service, part: part.to_owned(), times, fault });
    }

    /// All that was to be done was done. Answers how many requests were met.
    #[track_caller]
    pub fn all_done(&self) -> u32 {
        let left: Vec<Rule> = lock(&self.rules).drain(..).filter(|rule| rule.times > 0).collect();
        assert!(left.is_empty(), "nobody met {left:?}");
        std::mem::take(&mut *lock(&self.done))
    }

    fn fault(&self, method: &str, service: &str, path: &str) -> Option<Fault> {
        let mut rules = lock(&self.rules);
        let is_there = |part: &str| match part.strip_suffix('$') {
            Some(end) => path.ends_with(end),
            None => path.contains(part),
        };
        let met = rules.iter_mut().find(|rule| {
            rule.times > 0 && rule.method == method && rule.service == service && is_there(&rule.part)
        })?;
        met.times -= 1;
        *lock(&self.done) += 1;
        println!("injected: {method} {service} {path}: {:?}", met.fault);
        Some(met.fault.clone())
    }

    /// Endpoints of the catalog become ours.
    fn point_here(&self, body: &[u8]) -> Option<Vec<u8>> {
        let mut token: Value = serde_json::from_slice(body).ok()?;
        for served in token["token"]["catalog"].as_array_mut()? {
            let kind = served["type"].as_str()?.to_owned();
            for endpoint in served["endpoints"].as_array_mut()? {
                let given = endpoint["url"].as_str()?.to_owned();
                let (origin, path) = origin(&given);
                lock(&self.origins).insert(kind.clone(), origin.to_owned());
                endpoint["url"] = format!("{}/{kind}{path}", self.url).into();
            }
        }
        serde_json::to_vec(&token).ok()
    }

    async fn forward(&self, to: String, head: axum::http::request::Parts, body: Body) -> Response {
        let small = head.headers.get("content-length").is_none_or(|length| {
            length
                .to_str()
                .ok()
                .and_then(|length| length.parse::<u64>().ok())
                .is_some_and(|length| length <= SMALL_BYTES)
        });
        let chunked = head.headers.contains_key("transfer-encoding");
        let mut request = self.client.request(head.method.clone(), to);
        for (name, value) in head.headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str())) {
            request = request.header(name, value);
        }
        request = match small && !chunked {
            true => match axum::body::to_bytes(body, SMALL_BYTES as usize).await {
                Ok(bytes) if bytes.is_empty() => request,
                Ok(bytes) => request.body(bytes),
                Err(_) => return answer(502, "the request broke off"),
            },
            false => request.body(reqwest::Body::wrap_stream(body.into_data_stream())),
        };
        let Ok(answered) = request.send().await else { return answer(502, "the service does not answer") };
        let mut response = Response::builder().status(answered.status());
        for (name, value) in
            answered.headers().iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()))
        {
            response = response.header(name, value);
        }
        response.body(Body::from_stream(answered.bytes_stream())).unwrap()
    }
}

/// As openstack's own clients find it.
pub fn clouds_file() -> PathBuf {
    let given = std::env::var_os("OS_CLIENT_CONFIG_FILE").map(PathBuf::from);
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/openstack/clouds.yaml"));
    let usual = [Some("clouds.yaml".into()), home, Some("/etc/openstack/clouds.yaml".into())];
    let mut all = std::iter::once(given).chain(usual).flatten();
    all.find(|path: &PathBuf| path.is_file()).expect("a clouds.yaml")
}

async fn pass(State(proxy): State<Proxy>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let (service, rest) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let Some(origin) = lock(&proxy.origins).get(service).cloned() else {
        return answer(404, "no such service");
    };
    let to = format!("{origin}/{rest}");
    let fault = proxy.fault(head.method.as_str(), service, &path);
    match fault {
        Some(Fault::Answer(status, text)) => return answer(status, text),
        Some(Fault::AnswerAfter(status, bytes)) => {
            let mut pieces = body.into_data_stream();
            let mut read = 0;
            while read < bytes
                && let Some(Ok(piece)) = pieces.next().await
            {
                read += piece.len();
            }
            return answer(status, "in the middle");
        }
        Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
        Some(Fault::Lose(_) | Fault::Cut(_) | Fault::Hold(_)) | None => (),
    }
    let logs_in = service == IDENTITY && head.method == "POST" && head.uri.path().ends_with("/auth/tokens");
    let response = proxy.forward(to, head, body).await;
    let (head, body) = response.into_parts();
    match fault {
        Some(Fault::Lose(status)) => answer(status, "its answer is lost"),
        Some(Fault::Hold(gate)) => {
            gate.pass().await;
            Response::from_parts(head, body)
        }
        Some(Fault::Cut(bytes)) => {
            let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let length = whole.len();
            let kept = whole.slice(..bytes.min(length));
            // As long as it was to be: who reads it knows that it is not whole.
            let response = Response::builder().status(head.status).header("content-length", length);
            response.body(Body::from_stream(broken(kept))).unwrap()
        }
        _ if logs_in => {
            let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
            let pointed = proxy.point_here(&whole).unwrap_or(whole.to_vec());
            Response::from_parts(head, Body::from(pointed))
        }
        _ => Response::from_parts(head, body),
    }
}

fn answer(status: u16, text: &str) -> Response {
    let body = serde_json::json!({"fault": {"message": text, "code": status}}).to_string();
    Response::builder().status(status).body(body.into()).unwrap()
}

/// The bytes, and then the connection breaks.
fn broken(bytes: Bytes) -> impl futures::Stream<Item = std::io::Result<Bytes>> {
    let end = async {
        // Let the client have what was sent.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(std::io::Error::other("cut"))
    };
    futures::stream::once(async { Ok(bytes) }).chain(futures::stream::once(end))
}

/// `http://host:port` and the rest of a URL.
fn origin(url: &str) -> (&str, &str) {
    let begin = url.find("://").map_or(0, |at| at + 3);
    url.split_at(url[begin..].find('/').map_or(url.len(), |at| begin + at))
}
