//! Lists in pages: sorted by a key that never changes, so that nothing is missed or told twice while things come and go.

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::problem::Problem;

/// In a page, when nothing is said.
pub const LIMIT_DEFAULT: usize = 100;
pub const LIMIT_MAX: usize = 1_000;

#[derive(Debug, Serialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; absent in the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Part of every list's query.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
pub struct Paging {
    /// Items in the page, 1 to 1000; 100 when left out.
    #[serde(default)]
    pub limit: Option<usize>,
    /// `next` of the page before.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// A key by which the latest comes first; `rest` tells apart what is of the same moment.
pub fn newest_first(at: OffsetDateTime, rest: &str) -> String {
    let nanos = u128::try_from(at.unix_timestamp_nanos()).unwrap_or(0);
    format!("{:039} {rest}", u128::MAX - nanos)
}

/// The page of `all`, each with its key. Keys are unique.
pub fn page<T>(mut all: Vec<(String, T)>, paging: &Paging) -> Result<Page<T>, Problem> {
    let limit = paging.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        let detail = format!("limit is {limit}");
        return Err(Problem::of(StatusCode::BAD_REQUEST, detail, &format!("use 1 to {LIMIT_MAX}")));
    }
    all.sort_by(|a, b| a.0.cmp(&b.0));
    if let Some(cursor) = &paging.cursor {
        all.retain(|(key, _)| key > cursor);
    }
    let next = (all.len() > limit).then(|| all[limit - 1].0.clone());
    all.truncate(limit);
    Ok(Page { items: all.into_iter().map(|(_, item)| item).collect(), next })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(names: &[&str]) -> Vec<(String, String)> {
        names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect()
    }

    fn paging(limit: usize, cursor: Option<String>) -> Paging {
        Paging { limit: Some(limit), cursor }
    }

    #[test]
    fn pages_tell_all_once_though_things_go_meanwhile() {
        let first = page(keyed(&["d", "a", "c", "b"]), &paging(2, None)).unwrap();
        assert_eq!((first.items, first.next.as_deref()), (vec!["a".into(), "b".into()], Some("b")));
        let second = page(keyed(&["a", "c", "d"]), &paging(2, Some("b".into()))).unwrap();
        assert_eq!((second.items, second.next), (vec!["c".to_owned(), "d".to_owned()], None));
    }

    #[test]
    fn a_limit_out_of_bounds_is_refused() {
        for limit in [0, LIMIT_MAX + 1] {
            assert!(page(keyed(&["a"]), &paging(limit, None)).is_err());
        }
        assert_eq!(page(keyed(&["a"]), &Paging::default()).unwrap().items.len(), 1);
    }
}
