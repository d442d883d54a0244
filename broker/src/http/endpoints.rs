//! Every path of the API, said once: who may call it, what it takes and answers, and who does it. The router, the gate and
//! the OpenAPI document are made of it.

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};
use fluidcloud_proto::event::Notice;
use fluidcloud_proto::request::RelocationRequest;
use fluidcloud_proto::status::{ProviderStatus, QueueStatus, RelocationStatus, StatusDocument, WorkerStatus};
use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::gate::{Gate, gate};
use super::pages::Page;
use super::{Api, events, keys, lists, openapi, orders, relocations, session, status};
use crate::access::Role;
use crate::audit::AuditLine;

type Describe = fn(&mut SchemaGenerator) -> Schema;

/// What is taken or answered.
#[derive(Clone, Copy)]
pub(super) enum Said {
    Nothing,
    Json(Describe),
    /// One after the other, of a media type.
    Stream(Describe, &'static [&'static str]),
}

pub(super) struct Endpoint {
    pub method: Method,
    pub path: &'static str,
    /// `None`: anybody.
    pub role: Option<Role>,
    pub summary: &'static str,
    /// An object whose properties are the parameters.
    pub query: Option<Describe>,
    pub takes: Said,
    pub answers: (u16, Said),
    pub keyed: bool,
    handler: MethodRouter<Api>,
}

fn json<T: JsonSchema>() -> Said {
    Said::Json(describe::<T>())
}

fn describe<T: JsonSchema>() -> Describe {
    |generator| generator.subschema_for::<T>()
}

/// With all its properties in place: for queries.
fn inline<T: JsonSchema>() -> Option<Describe> {
    Some(|generator| T::json_schema(generator))
}

impl Endpoint {
    fn new<H: Handler<T, Api>, T: 'static>(
        method: &Method,
        path: &'static str,
        role: impl Into<Option<Role>>,
        summary: &'static str,
        handler: H,
    ) -> Self {
        let filter = MethodFilter::try_from(method.clone()).expect("a method that there is");
        Self {
            method: method.clone(),
            path,
            role: role.into(),
            summary,
            query: None,
            takes: Said::Nothing,
            answers: (200, Said::Nothing),
            keyed: false,
            handler: on(filter, handler),
        }
    }

    fn query<T: JsonSchema>(self) -> Self {
        Self { query: inline::<T>(), ..self }
    }

    fn takes(self, takes: Said) -> Self {
        Self { takes, ..self }
    }

    fn answers(self, status: u16, said: Said) -> Self {
        Self { answers: (status, said), ..self }
    }

    fn keyed(self) -> Self {
        Self { keyed: true, ..self }
    }
}

pub(super) fn all() -> Vec<Endpoint> {
    use Role::{Admin, Operator, Viewer};
    vec![
        Endpoint::new(
            &Method::GET,
            "/v1/health",
            None,
            "Whether the broker runs and reaches the bus",
            status::health,
        )
        .answers(200, json::<status::Health>()),
        Endpoint::new(&Method::GET, "/v1/openapi.json", None, "This document", openapi::document),
        Endpoint::new(
            &Method::POST,
            "/v1/session",
            None,
            "Log in: a token for the cookie of a session",
            session::begin,
        )
        .takes(json::<session::Login>())
        .answers(200, json::<session::Who>()),
        Endpoint::new(&Method::GET, "/v1/session", session::LOOKS, "Who is logged in", session::who)
            .answers(200, json::<session::Who>()),
        Endpoint::new(&Method::DELETE, "/v1/session", None, "Log out", session::end)
            .answers(204, Said::Nothing),
        Endpoint::new(&Method::GET, "/v1/status", Viewer, "Everything at once, from memory", status::status)
            .answers(200, json::<StatusDocument>()),
        Endpoint::new(&Method::GET, "/v1/events", Viewer, "Notices as they happen", events::events)
            .query::<events::Wanted>()
            .answers(200, Said::Stream(describe::<Notice>(), &["application/x-ndjson", "text/event-stream"])),
        Endpoint::new(
            &Method::GET,
            "/v1/relocations",
            Viewer,
            "Relocations, newest first",
            relocations::list,
        )
        .query::<relocations::Wanted>()
        .answers(200, json::<Page<RelocationStatus>>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations",
            Operator,
            "Ask for a relocation",
            relocations::submit,
        )
        .takes(json::<RelocationRequest>())
        .answers(202, json::<relocations::Taken>())
        .keyed(),
        Endpoint::new(&Method::GET, "/v1/relocations/{id}", Viewer, "One relocation", relocations::one)
            .answers(200, json::<RelocationStatus>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/cancel",
            Operator,
            "Undo it, and start the source again",
            orders::cancel,
        )
        .answers(202, json::<relocations::Taken>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/retry",
            Operator,
            "Try a stuck one again, after its cause was removed",
            orders::retry,
        )
        .answers(202, json::<relocations::Taken>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/approve",
            Operator,
            "Let its cutover begin: the source stops",
            orders::approve,
        )
        .answers(202, json::<relocations::Taken>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/pause",
            Operator,
            "Bring its copies to rest, and begin nothing more",
            orders::pause,
        )
        .answers(202, json::<relocations::Taken>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/resume",
            Operator,
            "Go on where it was paused",
            orders::resume,
        )
        .answers(202, json::<relocations::Taken>()),
        Endpoint::new(
            &Method::POST,
            "/v1/relocations/{id}/key",
            Operator,
            "The private half of a key pair that it created, once",
            keys::take,
        )
        .query::<keys::Wanted>()
        .answers(200, json::<keys::Taken>()),
        Endpoint::new(
            &Method::GET,
            "/v1/transfers",
            Viewer,
            "Disks on their way, or arrived",
            lists::transfers,
        )
        .query::<lists::Transfers>()
        .answers(200, json::<Page<lists::Transfer>>()),
        Endpoint::new(&Method::GET, "/v1/workers", Viewer, "Workers heard of lately", lists::workers)
            .query::<lists::Workers>()
            .answers(200, json::<Page<WorkerStatus>>()),
        Endpoint::new(
            &Method::GET,
            "/v1/providers",
            Viewer,
            "Providers, and what is free there",
            lists::providers,
        )
        .query::<lists::Providers>()
        .answers(200, json::<Page<ProviderStatus>>()),
        Endpoint::new(&Method::GET, "/v1/providers/{id}", Viewer, "One provider", lists::provider)
            .answers(200, json::<ProviderStatus>()),
        Endpoint::new(&Method::GET, "/v1/queues", Viewer, "Queues, and how full they are", lists::queues)
            .query::<lists::Plain>()
            .answers(200, json::<Page<QueueStatus>>()),
        Endpoint::new(
            &Method::GET,
            "/v1/offers",
            Viewer,
            "What providers answered to relocations",
            lists::offers,
        )
        .query::<lists::OffersOf>()
        .answers(200, json::<Page<lists::Offers>>()),
        Endpoint::new(&Method::GET, "/v1/audit", Admin, "Who changed what, newest first", lists::audit)
            .query::<lists::Audited>()
            .answers(200, json::<Page<AuditLine>>()),
    ]
}

pub(super) fn routes(api: &Api) -> Router<Api> {
    all().into_iter().fold(Router::new(), |router, endpoint| {
        let handler = match endpoint.role {
            Some(role) => {
                let state = Gate { api: api.clone(), role };
                endpoint.handler.layer(middleware::from_fn_with_state(state, gate))
            }
            None => endpoint.handler,
        };
        router.route(endpoint.path, handler)
    })
}
