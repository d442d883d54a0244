//! The HTTP API on a real listener, over a memory bus whose other end the test holds.

mod harness;

use fluidcloud_proto::bus::{Queue, receive};
use fluidcloud_proto::command::Control;
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::StepId;
use fluidcloud_proto::status::{Phase, RelocationStatus, StatusDocument, StepState, StepStatus};
use harness::{Harness, request_json, status, worker};
use reqwest::StatusCode;
use reqwest::header;
use serde_json::Value;

async fn problem(response: reqwest::Response) -> (StatusCode, Value) {
    let status = response.status();
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["status"], status.as_u16());
    for member in ["type", "title", "detail", "code", "remedy"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {problem}");
    }
    (status, problem)
}

#[tokio::test]
async fn the_status_shows_relocations_workers_providers_and_queues() {
    let harness = Harness::start().await;
    let id = RelocationId::new();
    harness.notify(Notice::RelocationChanged { status: Box::new(status(id, Phase::Creating)) }).await;
    harness.notify(Notice::WorkerSeen(worker("w1"))).await;
    let document: StatusDocument = harness
        .until(|document: &StatusDocument| {
            let answered = document.providers.iter().filter(|provider| provider.capacity.is_some()).count();
            answered == 2 && document.queues.len() == 5 && !document.workers.is_empty()
        })
        .await;
    assert_eq!(document.relocations[0].id, id);
    assert_eq!(document.workers[0].seen, worker("w1"));
    let providers: Vec<_> = document.providers.iter().map(|one| (one.id.as_str(), one.reachable)).collect();
    assert_eq!(providers, [("cloud-a", true), ("cloud-b", true)]);
    let broker = document.queues.iter().find(|queue| queue.name == "fluidcloud.broker").unwrap();
    assert_eq!(broker.consumers, 1);

    let all: Value = harness.get("/v1/relocations").await.json().await.unwrap();
    assert_eq!(all["items"], serde_json::to_value(&document.relocations).unwrap());
    let one: RelocationStatus = harness.get(&format!("/v1/relocations/{id}")).await.json().await.unwrap();
    assert_eq!(one, document.relocations[0]);
    harness.end().await;
}

#[tokio::test]
async fn lists_have_filters_and_pages() {
    let harness = Harness::start().await;
    for n in 0..5_i64 {
        let phase = if n == 3 { Phase::Stuck } else { Phase::Creating };
        let mut one = status(RelocationId::new(), phase);
        one.created_at += time::Duration::seconds(n);
        harness.notify(Notice::RelocationChanged { status: Box::new(one) }).await;
    }
    let list = async |query: &str| {
        let page: Value = harness.get(&format!("/v1/relocations?{query}")).await.json().await.unwrap();
        let times: Vec<String> =
            page["items"].as_array().unwrap().iter().map(|one| one["created_at"].to_string()).collect();
        (times, page["next"].as_str().map(str::to_owned))
    };
    let (all, next) = list("").await;
    assert_eq!((all.len(), next), (5, None));
    assert!(all.windows(2).all(|two| two[0] > two[1]), "newest first: {all:?}");
    let (first, next) = list("limit=3").await;
    let (rest, end) = list(&format!("limit=3&cursor={}", next.unwrap().replace(' ', "%20"))).await;
    assert_eq!(([first, rest].concat(), end), (all.clone(), None));
    assert_eq!(list("phase=Stuck,Failed").await.0, [all[1].clone()]);
    assert_eq!(list("active=false").await.0, [all[1].clone()]);
    assert_eq!(list("provider=atlantis").await.0, [] as [String; 0]);
    assert_eq!(list("provider=cloud-a&service=shop&active=true").await.0.len(), 4);
    for wrong in ["limit=0", "limit=x", "phase=Gone", "active=maybe"] {
        let refused = harness.get(&format!("/v1/relocations?{wrong}")).await;
        assert_eq!(problem(refused).await.0, StatusCode::BAD_REQUEST, "{wrong}");
    }
    harness.notify(Notice::WorkerSeen(worker("w1"))).await;
    let of_kind = |kind: &str| harness.get_owned(format!("/v1/workers?kind={kind}"));
    let page: Value = of_kind("volume").await.json().await.unwrap();
    assert_eq!(page["items"].as_array().unwrap().len(), 0);
    let page: Value = of_kind("image").await.json().await.unwrap();
    assert_eq!(page["items"][0]["worker"], "w1");
    assert_eq!(problem(of_kind("nothing").await).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(problem(harness.get("/v1/providers/atlantis").await).await.0, StatusCode::NOT_FOUND);
    harness.ask_offers(RelocationId::new(), None).await;
    let offers: Value = harness.get("/v1/offers").await.json().await.unwrap();
    assert_eq!(offers["items"][0]["offers"][0]["provider"], "cloud-b", "{offers}");
    harness.end().await;
}

#[tokio::test]
async fn the_same_key_is_the_same_call() {
    let harness = Harness::start().await;
    let mut requests = harness.bus.subscribe(&Queue::Requests, 1).await.unwrap();
    let mut request: Value = serde_json::from_str(&request_json(RelocationId::new())).unwrap();
    request.as_object_mut().unwrap().remove("id");
    let send = async |key: &str, body: String| {
        let url = format!("{}/v1/relocations", harness.base);
        harness.client.post(url).header("idempotency-key", key).body(body).send().await.unwrap()
    };
    let first: Value = send("k1", request.to_string()).await.json().await.unwrap();
    let again: Value = send("k1", request.to_string()).await.json().await.unwrap();
    assert_eq!(first["id"], again["id"]);
    let published = requests.next().await.unwrap();
    let body: Value = serde_json::from_slice(&published.message.body).unwrap();
    assert_eq!(body["id"], first["id"], "the id is made of the key");
    published.ack().await.unwrap();
    assert_eq!(harness.bus.depth(&Queue::Requests).await.unwrap().ready, 0, "it is published once");
    request["target"] = serde_json::json!({"provider": "cloud-b"});
    request["service"]["name"] = "other".into();
    let (status, _) = problem(send("k1", request.to_string()).await).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let other: Value = send("k2", request.to_string()).await.json().await.unwrap();
    assert_ne!(other["id"], first["id"]);
    harness.end().await;
}

#[tokio::test]
async fn an_unreachable_provider_is_shown_with_the_reason_and_delays_nothing() {
    let harness = Harness::start().await;
    harness.cloud_b.set_reachable(false);
    harness.ask_offers(RelocationId::new(), None).await;
    let document: StatusDocument = harness.get("/v1/status").await.json().await.unwrap();
    let away = document.providers.iter().find(|one| one.id.as_str() == "cloud-b").unwrap();
    assert!(!away.reachable && away.failure.is_some(), "{away:?}");
    harness.end().await;
}

#[tokio::test]
async fn a_posted_request_is_published_as_it_came() {
    let harness = Harness::start().await;
    let mut requests = harness.bus.subscribe(&Queue::Requests, 1).await.unwrap();
    let id = RelocationId::new();
    let body = request_json(id);
    let response = harness.post("/v1/relocations", body.clone()).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.json::<Value>().await.unwrap()["id"], id.to_string());
    assert_eq!(requests.next().await.unwrap().message.body, body.into_bytes());
    harness.end().await;
}

#[tokio::test]
async fn a_wrong_request_is_refused_with_the_remedy_and_published_nowhere() {
    let harness = Harness::start().await;
    for (body, code) in [
        ("{", "invalid_request"),
        (r#"{"version": 7}"#, "unsupported_version"),
        (r#"{"version": 1, "surprise": true}"#, "invalid_request"),
    ] {
        let (status, problem) = problem(harness.post("/v1/relocations", body.to_owned()).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert_eq!(problem["code"], code, "{problem}");
    }
    let large = "x".repeat(fluidcloud_proto::request::REQUEST_BYTES_MAX + 1);
    let (status, _) = problem(harness.post("/v1/relocations", large).await).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(harness.bus.depth(&Queue::Requests).await.unwrap().ready, 0);
    harness.end().await;
}

#[tokio::test]
async fn a_web_page_can_neither_look_nor_post() {
    let harness = Harness::start().await;
    let url = format!("{}/v1/status", harness.base);
    let rebound = harness.client.get(url).header(header::HOST, "evil.example").send().await.unwrap();
    assert_eq!(problem(rebound).await.0, StatusCode::FORBIDDEN);
    let url = format!("{}/v1/relocations", harness.base);
    let body = request_json(RelocationId::new());
    let page = harness.client.post(url).header(header::ORIGIN, "http://evil.example").body(body);
    assert_eq!(problem(page.send().await.unwrap()).await.0, StatusCode::FORBIDDEN);
    assert_eq!(harness.bus.depth(&Queue::Requests).await.unwrap().ready, 0);
    harness.end().await;
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_document_too() {
    let harness = Harness::start().await;
    let id = RelocationId::new();
    let (status, unknown) = problem(harness.get(&format!("/v1/relocations/{id}")).await).await;
    assert_eq!((status, &unknown["code"]), (StatusCode::NOT_FOUND, &"unknown_relocation".into()));
    assert_eq!(problem(harness.get("/v1/relocations/xyz").await).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(problem(harness.get("/v2").await).await.0, StatusCode::NOT_FOUND);
    assert_eq!(problem(harness.get("/v1/events?folow=1").await).await.0, StatusCode::BAD_REQUEST);
    let wrong_method = harness.client.delete(format!("{}/v1/status", harness.base)).send().await.unwrap();
    assert_eq!(problem(wrong_method).await.0, StatusCode::METHOD_NOT_ALLOWED);
    harness.end().await;
}

#[tokio::test]
async fn a_refused_request_is_told_to_who_asks_for_its_id() {
    let harness = Harness::start().await;
    let id = RelocationId::new();
    let failure =
        Failure::never(Code::ConflictingRequest, "another request has this id", "choose another id");
    harness.notify(Notice::RequestRefused { id: Some(id), failure }).await;
    let (status, told) = problem(harness.get(&format!("/v1/relocations/{id}")).await).await;
    assert_eq!((status, &told["code"]), (StatusCode::CONFLICT, &"conflicting_request".into()));
    harness.end().await;
}

#[tokio::test]
async fn cancel_is_passed_on_until_the_point_of_no_return() {
    let mut harness = Harness::start().await;
    let id = RelocationId::new();
    let cancel = format!("/v1/relocations/{id}/cancel");
    assert_eq!(problem(harness.post(&cancel, String::new()).await).await.0, StatusCode::NOT_FOUND);

    harness.notify(Notice::RelocationChanged { status: Box::new(status(id, Phase::Creating)) }).await;
    assert_eq!(harness.post(&cancel, String::new()).await.status(), StatusCode::ACCEPTED);
    let order = receive::<Control>(&mut harness.control).await.unwrap();
    assert_eq!(order.body, Control::Cancel { relocation: id });

    let commit = |state| {
        let seconds = 0.0;
        vec![StepStatus { id: StepId::Commit, state, seconds, attempts: 1, worker: None, failure: None }]
    };
    let steps = commit(StepState::Retrying);
    let committing = RelocationStatus { steps, revision: 2, ..status(id, Phase::Verifying) };
    harness.notify(Notice::RelocationChanged { status: Box::new(committing) }).await;
    assert_eq!(harness.post(&cancel, String::new()).await.status(), StatusCode::ACCEPTED);
    receive::<Control>(&mut harness.control).await.unwrap();

    let steps = commit(StepState::Done);
    let past = RelocationStatus { steps, revision: 3, ..status(id, Phase::Verifying) };
    harness.notify(Notice::RelocationChanged { status: Box::new(past) }).await;
    let (refused, told) = problem(harness.post(&cancel, String::new()).await).await;
    assert_eq!((refused, &told["code"]), (StatusCode::CONFLICT, &"past_no_return".into()));

    let ended = RelocationStatus { revision: 4, ..status(id, Phase::Succeeded) };
    harness.notify(Notice::RelocationChanged { status: Box::new(ended) }).await;
    assert_eq!(problem(harness.post(&cancel, String::new()).await).await.0, StatusCode::CONFLICT);
    harness.end().await;
}

#[tokio::test]
async fn only_a_stuck_relocation_is_tried_again() {
    let mut harness = Harness::start().await;
    let id = RelocationId::new();
    let retry = format!("/v1/relocations/{id}/retry");
    harness.notify(Notice::RelocationChanged { status: Box::new(status(id, Phase::RollingBack)) }).await;
    assert_eq!(problem(harness.post(&retry, String::new()).await).await.0, StatusCode::CONFLICT);
    let stuck = RelocationStatus { revision: 2, ..status(id, Phase::Stuck) };
    harness.notify(Notice::RelocationChanged { status: Box::new(stuck) }).await;
    assert_eq!(harness.post(&retry, String::new()).await.status(), StatusCode::ACCEPTED);
    let order = receive::<Control>(&mut harness.control).await.unwrap();
    assert_eq!(order.body, Control::Retry { relocation: id });
    harness.end().await;
}

#[tokio::test]
async fn approve_pause_and_resume_are_passed_on_while_it_goes_forward() {
    let mut harness = Harness::start().await;
    let relocation = RelocationId::new();
    let orders = [
        ("approve", Control::Approve { relocation }),
        ("pause", Control::Pause { relocation }),
        ("resume", Control::Resume { relocation }),
    ];
    let path = |order: &str| format!("/v1/relocations/{relocation}/{order}");
    for (order, _) in &orders {
        let unknown = harness.post(&path(order), String::new()).await;
        assert_eq!(problem(unknown).await.0, StatusCode::NOT_FOUND, "{order}");
    }
    let waits = status(relocation, Phase::AwaitingCutover);
    harness.notify(Notice::RelocationChanged { status: Box::new(waits) }).await;
    for (order, control) in &orders {
        assert_eq!(harness.post(&path(order), String::new()).await.status(), StatusCode::ACCEPTED, "{order}");
        let told = receive::<Control>(&mut harness.control).await.unwrap();
        assert_eq!(told.body, *control);
        told.delivery.ack().await.unwrap();
    }
    let commit = StepStatus {
        id: StepId::Commit,
        state: StepState::Done,
        seconds: 0.0,
        attempts: 1,
        worker: None,
        failure: None,
    };
    let past = RelocationStatus { steps: vec![commit], revision: 2, ..status(relocation, Phase::Verifying) };
    harness.notify(Notice::RelocationChanged { status: Box::new(past) }).await;
    for order in ["approve", "pause"] {
        let (refused, told) = problem(harness.post(&path(order), String::new()).await).await;
        assert_eq!((refused, &told["code"]), (StatusCode::CONFLICT, &"past_no_return".into()), "{order}");
        assert!(told["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{told}");
    }
    for (revision, phase) in [(3, Phase::RollingBack), (4, Phase::Stuck), (5, Phase::Succeeded)] {
        let turned = RelocationStatus { revision, ..status(relocation, phase) };
        harness.notify(Notice::RelocationChanged { status: Box::new(turned) }).await;
        for (order, _) in &orders {
            let (refused, told) = problem(harness.post(&path(order), String::new()).await).await;
            let expected = (StatusCode::CONFLICT, &"invalid_request".into());
            assert_eq!((refused, &told["code"]), expected, "{order} in {phase:?}");
        }
    }
    harness.end().await;
}

#[tokio::test]
async fn events_come_as_lines_or_as_server_sent_events() {
    let harness = Harness::start().await;
    let id = RelocationId::new();
    harness.notify(Notice::RelocationChanged { status: Box::new(status(id, Phase::Pending)) }).await;
    let kept = harness.get("/v1/events?follow=false&recent=true").await;
    assert_eq!(kept.headers()[header::CONTENT_TYPE], "application/x-ndjson");
    let text = kept.text().await.unwrap();
    let notice: Notice = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert!(matches!(notice, Notice::RelocationChanged { status } if status.id == id));

    let url = format!("{}/v1/events", harness.base);
    let mut sent = harness.client.get(url).header(header::ACCEPT, "text/event-stream").send().await.unwrap();
    harness.notify(Notice::WorkerSeen(worker("w7"))).await;
    let event = String::from_utf8(sent.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(event.starts_with("data: {") && event.contains("w7") && event.ends_with("\n\n"), "{event}");
    harness.end().await;
}

#[tokio::test]
async fn a_key_is_handed_out_once_and_the_status_says_whether_it_was() {
    let harness = Harness::start().await;
    let report = include_str!("../../proto/examples/report.json");
    let id = RelocationId::new();
    let mut ended = status(id, Phase::Succeeded);
    ended.report = Some(serde_json::from_str(report).unwrap());
    harness.notify(Notice::RelocationChanged { status: Box::new(ended) }).await;
    harness.until(|document: &StatusDocument| !document.relocations.is_empty()).await;
    let path = format!("/v1/relocations/{id}");
    let told: RelocationStatus = harness.get(&path).await.json().await.unwrap();
    assert!(told.conditions.iter().any(|told| told.contains("key_waits: app")), "{:?}", told.conditions);

    let unknown = harness.post(&format!("{path}/key?name=other"), String::new()).await;
    assert_eq!(problem(unknown).await.0, StatusCode::NOT_FOUND);
    let first = harness.post(&format!("{path}/key?name=ops%20key"), String::new()).await;
    assert_eq!(
        (first.status().as_u16(), first.headers()[header::CACHE_CONTROL].to_str().unwrap()),
        (200, "no-store")
    );
    let first: Value = first.json().await.unwrap();
    assert_eq!((&first["name"], &first["private_key"]), (&"ops key".into(), &harness::PRIVATE.into()));
    let second = harness.post(&format!("{path}/key"), String::new()).await;
    let (status, told) = problem(second).await;
    assert_eq!((status, &told["code"]), (StatusCode::GONE, &"key_taken".into()));
    assert_eq!(told["remedy"], "ask whoever took it");
    let told: RelocationStatus = harness.get(&path).await.json().await.unwrap();
    assert!(told.report.unwrap().keys[0].taken_at.is_some() && told.conditions.is_empty());
    harness.end().await;
}
