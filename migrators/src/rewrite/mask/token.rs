//! What looks random: keys, digests, identifiers that may be keys. Names and paths are made of words.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// As long as this, what is not made of words is taken for a secret; within a path, where names are told from each
/// other by such things, already at half of it.
const RANDOM_CHARS_MIN: usize = 20;
const RANDOM_IN_PATH_CHARS_MIN: usize = 12;

/// Anything that base64, hexadecimal and the like may be written with; `=` only as padding.
static RUN: LazyLock<Regex> = LazyLock::new(|| pattern(r"[A-Za-z0-9+/_.~-]+={0,2}"));
/// Padding ends nothing but base64: as a value, in quotes, on a line of its own.
static PADDED: LazyLock<Regex> = LazyLock::new(|| {
    let (run, padded) = ("[A-Za-z0-9+/_-]{6,}", "={1,2}");
    pattern(&format!(
        r#"(?P<before>[=:]\s*){run}{padded}(?P<end>[\s,;]|$)|(?P<open>["']){run}{padded}(?P<close>["'])|^\s*{run}==\s*$"#
    ))
});
/// A word, several in camel case, a version, a small number.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"^(?:(?:[A-Z]?[a-z]{2,15}){1,4}\d{0,4}|[A-Z]{1,15}\d{0,4}|[a-z]?\d{1,5}|[a-z])$")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

pub(super) fn masked(line: &str) -> String {
    let line = PADDED.replace_all(line, "${before}${open}***${close}${end}");
    let run = |found: &Captures<'_>| {
        let after = found.get(0).and_then(|run| line[run.end()..].chars().next());
        // A key is followed by its value at once, padding is not.
        let padded = found[0].ends_with('=') && after.is_none_or(|c| !c.is_alphanumeric() && c != '/');
        if padded && is_mixed(&found[0]) && !is_words(found[0].trim_end_matches('=')) {
            "***".to_owned()
        } else {
            run(&found[0])
        }
    };
    RUN.replace_all(&line, run).into_owned()
}

pub(super) fn is_random(text: &str) -> bool {
    text.len() >= RANDOM_CHARS_MIN && is_mixed(text) && !is_words(text)
}

fn run(text: &str) -> String {
    let is_path = text.starts_with('/') || text.starts_with("./") || text.starts_with("~/");
    if !is_path {
        return if is_random(text) { "***".to_owned() } else { text.to_owned() };
    }
    let part = |part: &str| {
        let random = part.len() >= RANDOM_IN_PATH_CHARS_MIN && is_mixed(part) && !is_words(part);
        if random { "***".to_owned() } else { part.to_owned() }
    };
    text.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// Of more than one kind of characters.
fn is_mixed(text: &str) -> bool {
    let has = |kind: fn(&char) -> bool| usize::from(text.chars().any(|c| kind(&c)));
    has(char::is_ascii_lowercase) + has(char::is_ascii_uppercase) + has(char::is_ascii_digit) > 1
}

fn is_words(text: &str) -> bool {
    text.split(['/', '-', '_', '.', '~', '+']).all(|part| part.is_empty() || WORD.is_match(part))
}
