//! The dashboard: plain files out of this binary. What they show they ask the API for, so they are for everybody; a browser
//! runs nothing that is not from here.

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::Embed;

use super::problem::Problem;

#[derive(Embed)]
#[folder = "dashboard/"]
struct Files;

const INDEX: &str = "index.html";
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub async fn index(headers: HeaderMap) -> Response {
    file(INDEX, &headers)
}

pub async fn one(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(found) = Files::get(name) else { return Problem::no_such_path().into_response() };
    let hash: String = found.metadata.sha256_hash().iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{hash}\"");
    let told = [
        (header::CONTENT_TYPE, kind(name).to_owned()),
        (header::CONTENT_SECURITY_POLICY, POLICY.to_owned()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (header::REFERRER_POLICY, "no-referrer".to_owned()),
        // Asked for every time, and sent again only when this binary is another.
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::ETAG, tag.clone()),
    ];
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    match known.is_some_and(|known| known.split(',').any(|known| known.trim() == tag)) {
        true => (StatusCode::NOT_MODIFIED, told).into_response(),
        false => (told, found.data.into_owned()).into_response(),
    }
}

fn kind(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_kind_and_what_a_page_leads_to_is_there() {
        assert!(Files::iter().count() > 10);
        for name in Files::iter() {
            assert_ne!(kind(&name), "application/octet-stream", "{name}");
        }
        let page = Files::get(INDEX).unwrap();
        let page = String::from_utf8(page.data.into_owned()).unwrap();
        let linked = page.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css"));
        let linked: Vec<&str> = linked.collect();
        assert!(linked.len() > 2, "{linked:?}");
        for name in linked {
            assert!(Files::get(name).is_some(), "{name}");
        }
    }

    #[tokio::test]
    async fn a_file_that_a_browser_has_is_not_sent_again() {
        let first = index(HeaderMap::new()).await;
        assert_eq!(first.status(), StatusCode::OK);
        let policy = first.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, first.headers()[header::ETAG].clone());
        assert_eq!(index(headers).await.status(), StatusCode::NOT_MODIFIED);
        let missing = one(Path("../Cargo.toml".to_owned()), HeaderMap::new()).await;
        assert_eq!(missing.status(), StatusCode::NOT_FOUND);
    }
}
