//! Hides secrets in the lines of configuration files, of whatever format. It cannot know what is one, so it hides what
//! may be: values of keys that sound secret, whatever such a key has below it, logins in URLs, PEM blocks, and whatever
//! looks random. What is left must still show a person which path, name or number a rule has changed.

mod token;

use std::sync::LazyLock;

use regex::{Captures, Regex};

const MASK: &str = "***";

/// In a key, wherever it stands there.
const KEYWORDS: &str = r"pass|pwd|secret|token|cred|auth|private|signature|cookie|session|salt|hmac|psk|dsn|seed|bearer|encrypt|community|connection_?string|identified\s+by|key\b|keys\b|\bpw\b|_pw\b|\bpin\b|_pin\b|otp\b|sig\b|jwt";

static SECRET_KEY: LazyLock<Regex> = LazyLock::new(|| {
    // Up to where the value begins: quotes and brackets of the key, then what separates it from its value.
    pattern(&format!(
        r#"(?i)(?P<key>(?:[\w.\-]*(?:{KEYWORDS})[\w.\-]*)["'\])]*\s*(?:=>|:=|[:=,>]|\s)\s*)(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|.*)"#
    ))
});
/// `name: DB_PASSWORD`, whose value is said beside or below it.
static SECRET_NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(r#"(?i)\b(?:name|key|id)["']?\s*[:=]\s*["']?[\w.\-]*(?:{KEYWORDS})[\w.\-]*["']?"#))
});
static VALUE: LazyLock<Regex> = LazyLock::new(|| pattern(r#"(?i)(\bvalue["']?\s*[:=]\s*).*"#));
static SECTION: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\s*\[+\s*([^\[\]]+?)\s*\]+\s*$"));
static SECRET_WORD: LazyLock<Regex> = LazyLock::new(|| pattern(&format!("(?i)(?:{KEYWORDS})")));
static PEM: LazyLock<Regex> = LazyLock::new(|| pattern(r"(-----BEGIN [A-Z0-9 ]*-----).*"));
/// Files whose name says that they hold little but secrets, in forms of their own.
static SECRET_FILE: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(
        r"(?i)(?:{KEYWORDS}|shadow|netrc|htpasswd|keytab|wallet|vault|id_[a-z0-9]+$|\.(?:pem|key|p12|jks)$)"
    ))
});
/// `-ppassword` and `-u user:password` of commands, `host:port:database:user:password`, `scheme://user:password@`,
/// `user:password@`, `https://token@`, `Bearer …`, in this order.
static LOGINS: LazyLock<[(Regex, &str); 7]> = LazyLock::new(|| {
    [
        (pattern(r"(\s-p)\S+"), "${1}***"),
        (pattern(r#"(\s(?:-u|--user)[\s=]*[\w.@+-]+:)\S+"#), "${1}***"),
        (pattern(r"^(\s*[^:\s]+:(?:\d+|\*):[^:\s]*:[^:\s]*:).+"), "${1}***"),
        (pattern(r#"(://[^/\s:@"']*:)[^\s"']+@"#), "${1}***@"),
        (pattern(r#"([\w.+%-]+:)[^\s"'/][^\s"']*@"#), "${1}***@"),
        (pattern(r#"(?i)(https?://)[^\s/@:"']+@"#), "${1}***@"),
        (pattern(r"(?i)\b(bearer|basic|digest)(\s+)[A-Za-z0-9+/=._~-]{6,}"), "${1}${2}***"),
    ]
});
/// The part of a line that names what it is about.
static KEY: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r#"^\s*(?:#|;|//)?\s*(?:-\s+)?(?:export\s+)?["']?(?P<name>[\w.\-]{1,40})["']?\s*(?:[:=]|=>)"#)
});
static BRACKETS: LazyLock<Regex> = LazyLock::new(|| pattern(r"^[\s\[\]{}(),;]*$"));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Every line of a file with its secrets hidden.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut masker = Masker::default();
    text.lines().map(|line| masker.line(line)).collect()
}

/// Whether nothing of the file's values may be shown.
pub(super) fn is_secret_file(path: &str) -> bool {
    SECRET_FILE.is_match(path.rsplit('/').next().unwrap_or(path))
}

/// Of a line that is shown for orientation only: what it is about, and nothing of what it says.
pub(super) fn key_only(line: &str) -> String {
    if BRACKETS.is_match(line) {
        return line.to_owned();
    }
    if SECTION.is_match(line) {
        return token::masked(line);
    }
    let shown = KEY.captures(line).filter(|found| !token::is_random(&found["name"]));
    let indent = &line[..line.len() - line.trim_start().len()];
    shown.map_or_else(|| format!("{indent}…"), |found| format!("{} …", &found[0]))
}

/// What the lines before have begun.
#[derive(Debug, Default)]
struct Masker {
    within: Within,
    /// In a section that sounds secret, no value is shown.
    secret_section: bool,
    /// The line before has named something secret; its value follows.
    value_follows: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Within {
    #[default]
    Nothing,
    Pem,
    /// Lines further in than this.
    Indent(usize),
    /// So many brackets are open.
    Brackets(i64),
    Quote(char),
    /// The line before ended in a backslash.
    Continued,
}

impl Masker {
    fn line(&mut self, line: &str) -> String {
        if self.goes_on(line) {
            return MASK.to_owned();
        }
        if let Some(section) = SECTION.captures(line) {
            self.secret_section = SECRET_WORD.is_match(&section[1]);
            return token::masked(line);
        }
        if self.secret_section && !line.trim().is_empty() {
            return key_only(line).replace('…', MASK);
        }
        let mut masked = line.to_owned();
        if PEM.is_match(line) {
            if !line.contains("-----END") {
                self.within = Within::Pem;
            }
            masked = PEM.replace(&masked, "${1}***").into_owned();
        }
        let named = SECRET_NAME.is_match(line);
        if named || std::mem::take(&mut self.value_follows) {
            self.value_follows = named && !VALUE.is_match(line);
            masked = VALUE.replace(&masked, "${1}***").into_owned();
        }
        // A name that is told by its own key is no secret.
        if !named {
            masked = self.values(line, &masked);
        }
        for (login, shown) in LOGINS.iter() {
            masked = login.replace_all(&masked, *shown).into_owned();
        }
        token::masked(&masked)
    }

    fn values(&mut self, line: &str, masked: &str) -> String {
        let mut begun = None;
        let indent = indent(line);
        let now = SECRET_KEY.replace_all(masked, |found: &Captures<'_>| {
            let value = &found["value"];
            begun = begins(value, indent).or(begun.take());
            if value.trim().is_empty() { found[0].to_owned() } else { format!("{}{MASK}", &found["key"]) }
        });
        // `passwords:` alone, with all of them below it.
        let bare = line.trim_end().trim_end_matches(':');
        if begun.is_none() && bare != line.trim_end() && SECRET_WORD.is_match(bare) && !bare.contains(": ") {
            begun = Some(Within::Indent(indent));
        }
        if let (Some(begun), Within::Nothing) = (begun, &self.within) {
            self.within = begun;
        }
        now.into_owned()
    }

    /// Whether the line belongs to what was begun before it.
    fn goes_on(&mut self, line: &str) -> bool {
        let over = match &mut self.within {
            Within::Nothing => return false,
            Within::Pem => line.contains("-----END"),
            Within::Indent(at) if line.trim().is_empty() || indent(line) > *at => false,
            Within::Indent(_) => {
                self.within = Within::Nothing;
                return false;
            }
            Within::Brackets(open) => {
                *open += opened(line);
                *open <= 0
            }
            Within::Quote(quote) => line.contains(*quote),
            Within::Continued => !line.trim_end().ends_with('\\'),
        };
        if over {
            self.within = Within::Nothing;
        }
        true
    }
}

/// What a value goes on with in the lines below, if it does.
fn begins(value: &str, indent: usize) -> Option<Within> {
    let value = value.trim();
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    if value.ends_with('\\') {
        return Some(Within::Continued);
    }
    if let Some(quote) = quote {
        return (value.matches(quote).count() % 2 == 1).then_some(Within::Quote(quote));
    }
    if opened(value) > 0 {
        return Some(Within::Brackets(opened(value)));
    }
    (value.is_empty() || value.starts_with(['|', '>'])).then_some(Within::Indent(indent))
}

fn opened(text: &str) -> i64 {
    let count = |brackets: &[char]| i64::try_from(text.matches(brackets).count()).unwrap_or(i64::MAX);
    count(&['[', '{', '(']) - count(&[']', '}', ')'])
}

/// A YAML list's dash counts as indentation.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t', '-']).len()
}

#[cfg(test)]
mod tests;
