//! Keeps web pages out where no token is asked for: a page in a browser on this host must not reach the API, neither by a
//! name that was made to resolve to 127.0.0.1 (the Host header gives it away), nor by a form or script of another
//! origin (the Origin header does).

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, header, uri::Authority};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::problem::Problem;

pub(super) async fn guard(State(api): State<Api>, request: Request, next: Next) -> Response {
    let problem = match api.parts.access.is_development() {
        true => refuse(request.method(), request.headers()),
        false => None,
    };
    match problem {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refuse(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        let detail = format!("the Host header `{host}` does not name this host's loopback");
        return Some(Problem::forbidden(detail, "call the API as 127.0.0.1, [::1] or localhost"));
    }
    if *method == Method::GET || *method == Method::HEAD {
        return None;
    }
    headers.get(header::ORIGIN)?;
    let same = same_origin(headers);
    let remedy = "call the API from a program, not from a page of another origin";
    (!same).then(|| Problem::forbidden("the request comes from a page of another origin", remedy))
}

/// The page that made the browser call comes from here. Programs send no Origin, browsers always do with what changes something.
pub(super) fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    origin.is_some() && origin == text(header::HOST)
}

fn is_loopback(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    if host.contains('@') {
        return false;
    }
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(method: Method, headers: &[(header::HeaderName, &str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        refuse(&method, &headers).is_none()
    }

    #[test]
    fn loopback_names_pass_with_and_without_a_port() {
        for host in ["localhost", "LocalHost:7411", "127.0.0.1:7411", "127.9.9.9", "[::1]:7411", "[::1]"] {
            assert!(verdict(Method::GET, &[(header::HOST, host)]), "{host}");
        }
    }

    #[test]
    fn any_other_name_is_refused_even_to_look() {
        for host in
            ["evil.example", "localhost.evil.example:7411", "10.0.0.1", "x@127.0.0.1", "", "127.0.0.1 x"]
        {
            assert!(!verdict(Method::GET, &[(header::HOST, host)]), "{host}");
        }
        assert!(!verdict(Method::GET, &[]));
    }

    #[test]
    fn a_post_of_another_origin_is_refused() {
        let host = (header::HOST, "127.0.0.1:7411");
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "127.0.0.1:7411"] {
            assert!(!verdict(Method::POST, &[host.clone(), (header::ORIGIN, origin)]), "{origin}");
        }
        assert!(verdict(Method::POST, &[host.clone(), (header::ORIGIN, "http://127.0.0.1:7411")]));
        assert!(verdict(Method::POST, &[host]), "programs send no Origin");
    }
}
