//! The address of what stays behind: `scheme://host[:port][/...]`, without a credential.

use std::net::Ipv6Addr;

use super::{TEXT_BYTES_MAX, has_blank, invalid, shown};
use crate::failure::Failure;
use crate::ids::ComponentName;

pub(super) fn check(component: &ComponentName, url: &str) -> Result<(), Failure> {
    let remedy = "write it like http://store.example:9000/bucket";
    // A credential must not come back in an error either, so the url is shown only when it surely has none.
    if url.contains('@') {
        return Err(invalid(
            format!("the `url` of component `{component}` holds a user or a password"),
            "leave them out: a request never holds a credential; write a plain @ as %40",
        ));
    }
    let bad = |fault: &str| {
        Err(invalid(format!("the `url` of component `{component}` is `{}`, {fault}", shown(url)), remedy))
    };
    if url.len() > TEXT_BYTES_MAX || has_blank(url) {
        return bad("too long or with blanks in it");
    }
    let Some((scheme, rest)) = url.split_once("://") else { return bad("without a scheme") };
    let starts_well = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    if !starts_well || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
        return bad("with a scheme that is none");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match split_port(authority) {
        Some((host, port)) if is_host(host) && port.is_none_or(is_port) => Ok(()),
        Some((host, _)) if is_host(host) => bad("with a port that is none"),
        _ => bad("without a valid host"),
    }
}

/// Host and port; brackets of an IPv6 address stay with the host.
fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        let (host, rest) = authority.split_at(end);
        return match rest {
            "" => Some((host, None)),
            _ => Some((host, Some(rest.strip_prefix(':')?))),
        };
    }
    match authority.split_once(':') {
        Some((host, port)) => Some((host, Some(port))),
        None => Some((authority, None)),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c))
}

fn is_port(port: &str) -> bool {
    port.parse::<u16>().is_ok_and(|port| port != 0) && port.bytes().all(|b| b.is_ascii_digit())
}
