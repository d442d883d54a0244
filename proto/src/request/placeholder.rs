//! Placeholders in the replacement of a rewrite rule, for what is known only while the move goes on. There is one:
//! `{{address:COMPONENT}}`, the address that a component has at the target; of one that stays, the host part of its URL.
//! Other text in double braces is left as it is: configuration files are full of it.

use std::collections::BTreeSet;

use super::{RelocationRequest, RewriteRule, StaysComponent};
use crate::ids::ComponentName;

const OPEN: &str = "{{address:";
const CLOSE: &str = "}}";

/// The components that a replacement names, or the text that is no name of one.
pub fn addressed(replace: &str) -> Result<Vec<ComponentName>, &str> {
    let parts = pieces(replace).filter_map(|piece| match piece {
        Piece::Address(name) => Some(name.parse().map_err(|_| name)),
        Piece::Text(_) => None,
    });
    parts.collect()
}

/// The rule with addresses in it; the first component for which there is none is the error. A dollar sign would be read as
/// a group of the match.
pub fn fill(
    rule: &RewriteRule,
    address: impl Fn(&ComponentName) -> Option<String>,
) -> Result<RewriteRule, String> {
    let mut replace = String::with_capacity(rule.replace.len());
    for piece in pieces(&rule.replace) {
        match piece {
            Piece::Text(text) => replace.push_str(text),
            Piece::Address(name) => {
                let found = name.parse().ok().and_then(|name| address(&name));
                replace.push_str(&found.ok_or_else(|| name.to_owned())?.replace('$', "$$"));
            }
        }
    }
    Ok(RewriteRule { replace, ..rule.clone() })
}

/// A group such as `$1` right before an address would take the digits of the address for its own.
pub(super) fn follows_a_group(replace: &str) -> bool {
    let mut before = String::new();
    for piece in pieces(replace) {
        match piece {
            Piece::Text(text) => before.push_str(text),
            Piece::Address(_) => {
                let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let rest = before.trim_end_matches(name);
                let dollars = rest.len() - rest.trim_end_matches('$').len();
                if dollars % 2 == 1 {
                    return true;
                }
                before.clear();
            }
        }
    }
    false
}

impl RelocationRequest {
    /// Components that move and whose new address a rule needs: it must be known before the rules are applied.
    pub fn addressed(&self) -> BTreeSet<ComponentName> {
        let moving = || self.service.components.iter().filter(|component| component.instance.is_some());
        let rules = moving().flat_map(|component| component.instance.iter().flat_map(|moved| &moved.rewrite));
        let mut named: BTreeSet<ComponentName> =
            rules.flat_map(|rule| addressed(&rule.replace).unwrap_or_default()).collect();
        named.retain(|name| moving().any(|component| component.name == *name));
        named
    }
}

impl StaysComponent {
    /// The host part of its URL, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        match authority.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
            Some((inner, _)) => inner,
            None => authority.split(':').next().unwrap_or_default(),
        }
    }
}

enum Piece<'a> {
    Text(&'a str),
    Address(&'a str),
}

fn pieces(replace: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = replace;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix(OPEN) {
            // One that is not closed is no name with the brace in front.
            let (name, left) = after.split_once(CLOSE).unwrap_or((rest, ""));
            rest = left;
            return Some(Piece::Address(name));
        }
        let (text, left) = rest.split_at(rest.find(OPEN).unwrap_or(rest.len()));
        rest = left;
        Some(Piece::Text(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(replace: &str) -> RewriteRule {
        RewriteRule { file: "/etc/a".into(), pattern: "x".into(), replace: replace.into() }
    }

    #[test]
    fn addresses_are_filled_in_and_other_braces_stay() {
        let given = "${1}{{address:db}}:5432 {{ host }} {{address:web-1}}";
        let names: Vec<String> = addressed(given).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(names, ["db", "web-1"]);
        let filled = fill(&rule(given), |name| Some(format!("<{name}>"))).unwrap();
        assert_eq!(filled.replace, "${1}<db>:5432 {{ host }} <web-1>");
        assert_eq!(fill(&rule(given), |_| None), Err("db".to_owned()));
    }

    #[test]
    fn what_is_no_name_or_not_closed_is_told() {
        assert_eq!(addressed("{{address:no name}}"), Err("no name"));
        assert_eq!(addressed("{{address:db"), Err("{{address:db"));
        assert_eq!(addressed("{{address:}}"), Err(""));
        assert_eq!(addressed("nothing"), Ok(Vec::new()));
    }

    #[test]
    fn a_group_does_not_swallow_an_address() {
        assert!(follows_a_group("$1{{address:db}}") && follows_a_group("a $name{{address:db}}"));
        for fine in ["${1}{{address:db}}", "$1 {{address:db}}", "$$1{{address:db}}", "1{{address:db}}"] {
            assert!(!follows_a_group(fine), "{fine}");
        }
    }

    #[test]
    fn what_stays_is_reached_by_the_host_of_its_url() {
        let host = |url: &str| StaysComponent { kind: "k".into(), url: url.into() }.host().to_owned();
        assert_eq!(host("http://store.example:9000/bucket"), "store.example");
        assert_eq!(host("postgres://10.0.0.1/shop?x"), "10.0.0.1");
        assert_eq!(host("https://[2001:db8::1]:443/"), "2001:db8::1");
    }
}
