//! Where the next page of a list is. Services say it in three ways; each is followed at our own endpoint, as what they
//! write there is often the address they have behind a proxy.

use reqwest::Url;
use serde_json::Value;

/// Pages of one list, at most.
pub(super) const PAGES_MAX: usize = 10_000;

/// The query of the next page.
pub(super) fn next(answer: &Value, key: &str) -> Option<Vec<(String, String)>> {
    let href = linked(answer.get(format!("{key}_links")))
        .or_else(|| answer.get("next").and_then(Value::as_str))
        .or_else(|| answer.get("links")?.get("next")?.as_str())?;
    let base = Url::parse("http://any/").ok()?;
    let url = base.join(href).ok()?;
    let pairs: Vec<_> = url.query_pairs().map(|(name, value)| (name.into(), value.into())).collect();
    (!pairs.is_empty()).then_some(pairs)
}

/// Nova, Cinder and Neutron: `servers_links: [{rel: next, href: …}]`.
fn linked(links: Option<&Value>) -> Option<&str> {
    let links = links?.as_array()?;
    links.iter().find(|link| link["rel"] == "next")?.get("href")?.as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_three_ways_are_followed() {
        let marker =
            Some(vec![("limit".to_owned(), "2".to_owned()), ("marker".to_owned(), "b c".to_owned())]);
        let nova = json!({"servers": [], "servers_links": [
            {"rel": "previous", "href": "http://x"}, {"rel": "next", "href": "http://inside:8774/v2.1/servers?limit=2&marker=b%20c"}]});
        assert_eq!(next(&nova, "servers"), marker);
        assert_eq!(next(&json!({"next": "/v2/images?limit=2&marker=b%20c"}), "images"), marker);
        assert_eq!(
            next(&json!({"links": {"next": "http://k/v3/users?limit=2&marker=b+c"}}), "users"),
            marker
        );
    }

    #[test]
    fn the_last_page_has_no_next() {
        for last in [
            json!({}),
            json!({"next": null}),
            json!({"links": {"next": null, "self": "x"}}),
            json!({"a_links": []}),
        ] {
            assert_eq!(next(&last, "a"), None, "{last}");
        }
    }
}
