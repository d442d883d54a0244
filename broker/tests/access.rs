//! Who is let in, and what is written down of it.

mod harness;

use std::path::Path;

use fluidcloud_broker::access::{Access, Role, Tokens};
use fluidcloud_broker::audit::AuditLine;
use fluidcloud_proto::bus::Queue;
use fluidcloud_proto::bus::memory::MemoryBus;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::status::Phase;
use harness::{Harness, request_json, status};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

struct Guarded {
    harness: Harness,
    tokens: Tokens,
    dir: tempfile::TempDir,
}

impl Guarded {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let access = Access::Tokens(Tokens::at(&path));
        let audit = dir.path().join("audit.jsonl");
        let harness = Harness::start_with(MemoryBus::new(), access, Some(audit)).await;
        Self { harness, tokens: Tokens::at(path), dir }
    }

    fn token(&self, name: &str, role: Role) -> String {
        self.tokens.make(name, role, None).unwrap().reveal().to_owned()
    }

    async fn call(&self, token: Option<&str>, method: Method, path: &str, body: String) -> StatusCode {
        let call = self.harness.client.request(method, format!("{}{path}", self.harness.base)).body(body);
        let call = match token {
            Some(token) => call.bearer_auth(token),
            None => call,
        };
        call.send().await.unwrap().status()
    }

    async fn look(&self, token: Option<&str>, path: &str) -> StatusCode {
        self.call(token, Method::GET, path, String::new()).await
    }

    fn audit(&self) -> Vec<AuditLine> {
        let text = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn nobody_without_a_token_sees_more_than_that_it_runs() {
    let guarded = Guarded::start().await;
    for path in ["/v1/status", "/v1/events", "/v1/relocations", "/v1/audit", "/v1/session"] {
        assert_eq!(guarded.look(None, path).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(guarded.look(Some("fct_0"), path).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let body = request_json(RelocationId::new());
    let refused = guarded.call(None, Method::POST, "/v1/relocations", body).await;
    assert_eq!(refused, StatusCode::UNAUTHORIZED);
    assert_eq!(guarded.harness.bus.depth(&Queue::Requests).await.unwrap().ready, 0);
    for path in ["/v1/health", "/v1/openapi.json"] {
        assert_eq!(guarded.look(None, path).await, StatusCode::OK, "{path}");
    }
    let told = guarded.harness.get("/v1/status").await;
    assert!(told.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Bearer"));
    let told: Value = told.json().await.unwrap();
    assert!(told["remedy"].as_str().unwrap().contains("fluidcloud token create"), "{told}");
    guarded.harness.end().await;
}

#[tokio::test]
async fn each_role_may_do_what_it_is_for() {
    let guarded = Guarded::start().await;
    let tokens = Role::ALL.map(|role| guarded.token(role.as_str(), role));
    let body = || request_json(RelocationId::new());
    let expected = [
        ("/v1/status", Method::GET, [StatusCode::OK; 3]),
        (
            "/v1/relocations",
            Method::POST,
            [StatusCode::FORBIDDEN, StatusCode::ACCEPTED, StatusCode::ACCEPTED],
        ),
        ("/v1/audit", Method::GET, [StatusCode::FORBIDDEN, StatusCode::FORBIDDEN, StatusCode::OK]),
    ];
    for (path, method, answers) in expected {
        for (token, answer) in tokens.iter().zip(answers) {
            assert_eq!(guarded.call(Some(token), method.clone(), path, body()).await, answer, "{path}");
        }
    }
    guarded.tokens.revoke("viewer").unwrap();
    assert_eq!(guarded.look(Some(&tokens[0]), "/v1/status").await, StatusCode::UNAUTHORIZED);
    guarded.harness.end().await;
}

#[tokio::test]
async fn what_changes_something_is_written_down_before_and_after() {
    let guarded = Guarded::start().await;
    let (ops, admin) = (guarded.token("ops", Role::Operator), guarded.token("boss", Role::Admin));
    guarded.look(Some(&ops), "/v1/status").await;
    let asked = guarded.call(Some(&ops), Method::POST, "/v1/relocations", request_json(RelocationId::new()));
    assert_eq!(asked.await, StatusCode::ACCEPTED);
    let cancel = format!("/v1/relocations/{}/cancel", RelocationId::new());
    let refused = guarded.call(Some(&ops), Method::POST, &cancel, String::new()).await;
    assert_eq!(refused, StatusCode::NOT_FOUND);
    let told: Vec<_> = guarded
        .audit()
        .into_iter()
        .map(|line| (line.who, line.path, line.outcome, line.from.starts_with("127.0.0.1:")))
        .collect();
    let line = |path: &str, outcome| ("ops".to_owned(), path.to_owned(), outcome, true);
    let expected = [
        line("/v1/relocations", None),
        line("/v1/relocations", Some(202)),
        line(&cancel, None),
        line(&cancel, Some(404)),
    ];
    assert_eq!(told, expected);
    let url = format!("{}/v1/audit?who=ops&limit=1", guarded.harness.base);
    let page = guarded.harness.client.get(url).bearer_auth(&admin).send().await.unwrap();
    let page: Value = page.json().await.unwrap();
    assert_eq!((&page["items"][0]["path"], &page["items"][0]["outcome"]), (&json!(cancel), &json!(404)));
    guarded.harness.end().await;
}

#[tokio::test]
async fn what_cannot_be_written_down_is_not_done() {
    let guarded = Guarded::start().await;
    let ops = guarded.token("ops", Role::Operator);
    // A device that is always full stands for the disk.
    let path = guarded.dir.path().join("full.jsonl");
    std::os::unix::fs::symlink(Path::new("/dev/full"), &path).unwrap();
    let access = Access::Tokens(Tokens::at(guarded.dir.path().join("tokens.json")));
    let full = Harness::start_with(MemoryBus::new(), access, Some(path)).await;
    let url = format!("{}/v1/relocations", full.base);
    let call = full.client.post(url).bearer_auth(&ops).body(request_json(RelocationId::new()));
    assert_eq!(call.send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(full.bus.depth(&Queue::Requests).await.unwrap().ready, 0);
    full.end().await;
    guarded.harness.end().await;
}

#[tokio::test]
async fn a_session_lets_its_own_pages_in_and_no_others() {
    let guarded = Guarded::start().await;
    let base = &guarded.harness.base;
    let ops = guarded.token("ops", Role::Operator);
    let client = &guarded.harness.client;
    let login = async |token: &str| {
        client.post(format!("{base}/v1/session")).json(&json!({"token": token})).send().await.unwrap()
    };
    assert_eq!(login("fct_wrong").await.status(), StatusCode::UNAUTHORIZED);
    let begun = login(&ops).await;
    let set = begun.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let cookie = set.split(';').next().unwrap().to_owned();
    let who: Value = begun.json().await.unwrap();
    assert_eq!(who, json!({"name": "ops", "role": "operator", "development": false}));

    let get = async |path: &str| {
        let call = client.get(format!("{base}{path}")).header(header::COOKIE, &cookie);
        call.send().await.unwrap().status()
    };
    let id = RelocationId::new();
    let post = async |origin: Option<&str>| {
        let url = format!("{base}/v1/relocations/{id}/cancel");
        let call = client.post(url).header(header::COOKIE, &cookie);
        let call = match origin {
            Some(origin) => call.header(header::ORIGIN, origin),
            None => call,
        };
        call.send().await.unwrap().status()
    };
    assert_eq!(get("/v1/status").await, StatusCode::OK);
    assert_eq!(post(Some("http://evil.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(post(None).await, StatusCode::FORBIDDEN, "browsers say where a page is from");
    assert_eq!(post(Some(base)).await, StatusCode::NOT_FOUND, "let in: there is no such relocation");
    guarded.tokens.revoke("ops").unwrap();
    assert_eq!(get("/v1/status").await, StatusCode::UNAUTHORIZED, "its token is gone");

    let again = guarded.token("ops2", Role::Viewer);
    let set = login(&again).await.headers()[header::SET_COOKIE].to_str().unwrap().to_owned();
    let cookie = set.split(';').next().unwrap().to_owned();
    let end = client.delete(format!("{base}/v1/session")).header(header::COOKIE, &cookie);
    assert_eq!(end.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let call = client.get(format!("{base}/v1/status")).header(header::COOKIE, &cookie);
    assert_eq!(call.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    guarded.harness.end().await;
}

#[tokio::test]
async fn a_page_that_is_only_looked_at_from_elsewhere_needs_its_token_too() {
    let guarded = Guarded::start().await;
    let notice = Notice::RelocationChanged { status: Box::new(status(RelocationId::new(), Phase::Pending)) };
    fluidcloud_proto::bus::publish_notice(&*guarded.harness.bus, &notice).await.unwrap();
    // Also by a name that was made to lead here.
    let call = guarded.harness.client.get(format!("{}/v1/status", guarded.harness.base));
    let call = call.header(header::HOST, "evil.example");
    assert_eq!(call.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    guarded.harness.end().await;
}
