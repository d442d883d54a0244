//! What there is, in lists with filters: transfers, workers, providers, queues, offers, and who did what.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use fluidcloud_proto::failure::{Code, Failure};
use fluidcloud_proto::ids::{ProviderId, RelocationId};
use fluidcloud_proto::offer::Offer;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::status::{ProviderStatus, QueueStatus, TransferStatus, WorkerStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Api;
use super::pages::{Page, Paging, newest_first, page};
use super::problem::Problem;
use super::relocations::is_at;
use crate::audit::AuditLine;

pub type Asked<T> = Result<Query<T>, axum::extract::rejection::QueryRejection>;

pub fn asked<T>(query: Asked<T>) -> Result<T, Problem> {
    query.map(|Query(query)| query).map_err(|error| {
        Problem::of(StatusCode::BAD_REQUEST, error.body_text(), "see the parameters in /v1/openapi.json")
    })
}

/// One disk on its way, or arrived.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Transfer {
    pub relocation: RelocationId,
    pub source: ProviderId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<ProviderId>,
    #[serde(flatten)]
    pub status: TransferStatus,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Transfers {
    #[serde(default)]
    relocation: Option<RelocationId>,
    /// At either end.
    #[serde(default)]
    provider: Option<ProviderId>,
    /// Such as `running`.
    #[serde(default)]
    state: Option<String>,
    #[serde(flatten)]
    paging: Flat,
}

/// Numbers in a query are text to whoever flattens them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Flat {
    /// Items in the page, 1 to 1000; 100 when left out.
    #[serde(default)]
    limit: Option<String>,
    /// `next` of the page before.
    #[serde(default)]
    cursor: Option<String>,
}

impl Flat {
    pub fn paging(&self) -> Result<Paging, Problem> {
        let wrong = |limit: &String| {
            let shown: String = limit.chars().take(32).collect();
            Problem::of(StatusCode::BAD_REQUEST, format!("limit is `{shown}`"), "use a number, 1 to 1000")
        };
        let limit = self.limit.as_ref().map(|limit| limit.parse().map_err(|_| wrong(limit))).transpose()?;
        Ok(Paging { limit, cursor: self.cursor.clone() })
    }
}

pub async fn transfers(
    State(api): State<Api>,
    query: Asked<Transfers>,
) -> Result<Json<Page<Transfer>>, Problem> {
    let query = asked(query)?;
    let relocations = api.parts.view().relocations();
    let mut all = Vec::new();
    for one in relocations {
        let at = |provider| is_at(&one, provider);
        let fits = query.relocation.is_none_or(|id| id == one.id) && query.provider.as_ref().is_none_or(at);
        for status in one.transfers.iter().filter(|_| fits) {
            let state = serde_json::to_value(status.state).unwrap_or_default();
            if query.state.as_deref().is_some_and(|wanted| state != wanted) {
                continue;
            }
            let key = format!("{} {}", one.id, status.disk);
            let (source, target) = (one.source.clone(), one.target.clone());
            all.push((key, Transfer { relocation: one.id, source, target, status: status.clone() }));
        }
    }
    page(all, &query.paging.paging()?).map(Json)
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Workers {
    #[serde(default)]
    kind: Option<MigratorKind>,
    #[serde(default)]
    site: Option<ProviderId>,
    #[serde(flatten)]
    paging: Flat,
}

pub async fn workers(
    State(api): State<Api>,
    query: Asked<Workers>,
) -> Result<Json<Page<WorkerStatus>>, Problem> {
    let query = asked(query)?;
    let mut all = api.workers();
    all.retain(|worker| {
        query.kind.is_none_or(|kind| worker.seen.kinds.contains(&kind))
            && query.site.as_ref().is_none_or(|site| worker.seen.sites.contains(site))
    });
    let keyed = all.into_iter().map(|worker| (worker.seen.worker.to_string(), worker)).collect();
    page(keyed, &query.paging.paging()?).map(Json)
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Providers {
    #[serde(default)]
    driver: Option<String>,
    #[serde(flatten)]
    paging: Flat,
}

pub async fn providers(
    State(api): State<Api>,
    query: Asked<Providers>,
) -> Result<Json<Page<ProviderStatus>>, Problem> {
    let query = asked(query)?;
    let mut all = api.parts.survey.statuses();
    all.retain(|provider| query.driver.as_ref().is_none_or(|driver| *driver == provider.driver));
    let keyed = all.into_iter().map(|provider| (provider.id.to_string(), provider)).collect();
    page(keyed, &query.paging.paging()?).map(Json)
}

pub async fn provider(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<ProviderStatus>, Problem> {
    let found = api.parts.survey.statuses().into_iter().find(|provider| provider.id.as_str() == id);
    found.map(Json).ok_or_else(|| {
        let shown: String = id.chars().take(64).collect();
        let failure = Failure::never(
            Code::UnknownProvider,
            format!("there is no provider `{shown}`"),
            "use one of /v1/providers, or add it to the configuration",
        );
        Problem::new(StatusCode::NOT_FOUND, failure)
    })
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Plain {
    #[serde(flatten)]
    paging: Flat,
}

pub async fn queues(State(api): State<Api>, query: Asked<Plain>) -> Result<Json<Page<QueueStatus>>, Problem> {
    let query = asked(query)?;
    let keyed = api.parts.queues.statuses().into_iter().map(|queue| (queue.name.clone(), queue)).collect();
    page(keyed, &query.paging.paging()?).map(Json)
}

/// What providers answered to the need of a relocation, best first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Offers {
    pub relocation: RelocationId,
    pub offers: Vec<Offer>,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct OffersOf {
    #[serde(default)]
    relocation: Option<RelocationId>,
    #[serde(flatten)]
    paging: Flat,
}

pub async fn offers(State(api): State<Api>, query: Asked<OffersOf>) -> Result<Json<Page<Offers>>, Problem> {
    let query = asked(query)?;
    let all = api.parts.view().offers();
    let fits = |id: &RelocationId| query.relocation.is_none_or(|wanted| wanted == *id);
    let keyed = all
        .into_iter()
        .filter(|(id, _)| fits(id))
        .map(|(relocation, offers)| (relocation.to_string(), Offers { relocation, offers }));
    page(keyed.collect(), &query.paging.paging()?).map(Json)
}

#[derive(Debug, Deserialize, JsonSchema)]
pub struct Audited {
    /// The name that a token was made for.
    #[serde(default)]
    who: Option<String>,
    #[serde(flatten)]
    paging: Flat,
}

/// Newest first, of the last thousand lines.
pub async fn audit(
    State(api): State<Api>,
    query: Asked<Audited>,
) -> Result<Json<Page<Arc<AuditLine>>>, Problem> {
    let query = asked(query)?;
    let Some(audit) = &api.parts.audit else { return page(Vec::new(), &Paging::default()).map(Json) };
    let mut lines = audit.recent();
    lines.retain(|line| query.who.as_ref().is_none_or(|who| *who == line.who));
    let key = |line: &AuditLine| newest_first(line.at, &format!("{} {}", line.call, line.outcome.is_none()));
    page(lines.into_iter().map(|line| (key(&line), line)).collect(), &query.paging.paging()?).map(Json)
}

impl Api {
    pub(super) fn workers(&self) -> Vec<WorkerStatus> {
        let workers = self.parts.view().workers(Instant::now());
        let with_pid = |worker: WorkerStatus| WorkerStatus {
            pid: self.parts.placement.pid(&worker.seen.worker),
            ..worker
        };
        workers.into_iter().map(with_pid).collect()
    }
}
