//! Swift's containers by name and size. A cloud without Swift, or a user who may not see it, has none: that is no error.

use fluidcloud_proto::surroundings::Container;
use serde::Deserialize;

use super::api::{Api, Call, Service};
use crate::error::Error;

/// Containers that are told; a project with more is told so far.
const CONTAINERS_MAX: usize = 10_000;
const PAGE: usize = 1_000;

#[derive(Clone, Debug, Deserialize)]
struct Listed {
    name: String,
    #[serde(default)]
    count: u64,
    #[serde(default)]
    bytes: u64,
}

impl Api {
    pub(super) async fn containers(&self) -> Result<Vec<Container>, Error> {
        let mut all: Vec<Container> = Vec::new();
        while all.len() < CONTAINERS_MAX {
            let mut call = Call::get(Service::ObjectStore, "", "list containers")
                .query("format", "json")
                .query("limit", PAGE.to_string());
            if let Some(last) = all.last() {
                call = call.query("marker", last.name.clone());
            }
            let page = match self.call(call).await {
                Ok(page) => page,
                Err(Error::Config { .. } | Error::Refused { status: 401 | 403 | 404, .. }) => break,
                Err(error) => return Err(error),
            };
            let page: Vec<Listed> = serde_json::from_value(page).unwrap_or_default();
            let last = page.len() < PAGE;
            let told = |it: Listed| Container { name: it.name, objects: it.count, bytes: it.bytes };
            all.extend(page.into_iter().map(told));
            if last {
                break;
            }
        }
        Ok(all)
    }
}
