//! Rules applied to texts: pure. Each rule sees what the ones before it have left.

use fluidcloud_proto::request::RewriteRule;
use fluidcloud_proto::task::FileDiff;
use regex::{Regex, RegexBuilder};

use super::{Error, diff};
use crate::guest::session::FILE_BYTES_MAX;

/// Memory that one compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 4 << 20;

/// One file before and after all rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub path: String,
    pub before: String,
    pub after: String,
    pub matches: u64,
}

impl Rewritten {
    pub fn to_diff(&self) -> FileDiff {
        FileDiff {
            file: self.path.clone(),
            matches: self.matches,
            diff: diff::unified(&self.path, &self.before, &self.after),
        }
    }
}

/// The files that rules are about, each once, in order.
pub fn files(rules: &[RewriteRule]) -> Vec<String> {
    let mut files: Vec<String> = Vec::new();
    for rule in rules {
        if !files.contains(&rule.file) {
            files.push(rule.file.clone());
        }
    }
    files
}

pub fn compile(rules: &[RewriteRule]) -> Result<Vec<Regex>, Error> {
    let one = |rule: &RewriteRule| {
        let built = RegexBuilder::new(&rule.pattern).size_limit(PATTERN_BYTES_MAX).build();
        built.map_err(|cause| Error::InvalidPattern {
            file: rule.file.clone(),
            pattern: rule.pattern.clone(),
            cause: Box::new(cause),
        })
    };
    rules.iter().map(one).collect()
}

/// Every rule must match something; then every file as it shall be.
pub fn apply(rules: &[RewriteRule], originals: &[(String, Vec<u8>)]) -> Result<Vec<Rewritten>, Error> {
    let mut files = Vec::new();
    for (path, content) in originals {
        let text = std::str::from_utf8(content).map_err(|_| Error::NotText { file: path.clone() })?;
        let (before, after) = (text.to_owned(), text.to_owned());
        files.push(Rewritten { path: path.clone(), before, after, matches: 0 });
    }
    for (rule, pattern) in rules.iter().zip(compile(rules)?) {
        let file = files.iter_mut().find(|file| file.path == rule.file);
        let file = file.ok_or_else(|| Error::FileMissing { file: rule.file.clone() })?;
        let matches = pattern.find_iter(&file.after).count() as u64;
        if matches == 0 {
            return Err(Error::NothingMatched { file: rule.file.clone(), pattern: rule.pattern.clone() });
        }
        let removed: usize = pattern.find_iter(&file.after).map(|found| found.len()).sum();
        let left = (file.after.len() - removed) as u64;
        // What is too large is not made first; groups (`$1`) are known only afterwards.
        if !rule.replace.contains('$') {
            check_size(&rule.file, left.saturating_add(matches.saturating_mul(rule.replace.len() as u64)))?;
        }
        file.after = pattern.replace_all(&file.after, rule.replace.as_str()).into_owned();
        check_size(&rule.file, file.after.len() as u64)?;
        file.matches += matches;
    }
    Ok(files)
}

fn check_size(file: &str, bytes: u64) -> Result<(), Error> {
    if bytes <= FILE_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Grown { file: file.to_owned(), bytes, max: FILE_BYTES_MAX })
}

#[cfg(test)]
mod tests {
    use fluidcloud_proto::failure::Code;

    use super::*;

    fn rule(file: &str, pattern: &str, replace: &str) -> RewriteRule {
        RewriteRule { file: file.into(), pattern: pattern.into(), replace: replace.into() }
    }

    fn one(text: &str) -> Vec<(String, Vec<u8>)> {
        vec![("/etc/a".into(), text.as_bytes().to_vec())]
    }

    #[test]
    fn rules_apply_in_order_with_groups() {
        let rules = [
            rule("/etc/a", r#""data": "([^"]*)""#, r#""data": "/srv$1""#),
            rule("/etc/a", "/srv/mnt", "/srv"),
        ];
        let done = apply(&rules, &one("{\"data\": \"/mnt/x\"}\n")).unwrap();
        assert_eq!(done[0].after, "{\"data\": \"/srv/x\"}\n");
        assert_eq!(done[0].matches, 2);
    }

    #[test]
    fn lines_match_when_the_pattern_says_so() {
        assert!(matches!(
            apply(&[rule("/etc/a", "^b$", "c")], &one("a\nb\n")),
            Err(Error::NothingMatched { .. })
        ));
        assert_eq!(apply(&[rule("/etc/a", "(?m)^b$", "c")], &one("a\nb\n")).unwrap()[0].after, "a\nc\n");
    }

    #[test]
    fn what_is_wrong_names_the_file_and_the_pattern() {
        let error = apply(&[rule("/etc/a", "nothing here", "x")], &one("text")).unwrap_err();
        assert_eq!(error.to_string(), "rule for /etc/a: `nothing here` matches nothing in it");
        let error = apply(&[rule("/etc/a", "(", "x")], &one("text")).unwrap_err();
        let failure = error.to_failure();
        assert_eq!(failure.code, Code::InvalidPattern);
        assert!(failure.message.contains("/etc/a") && failure.message.contains("unclosed"), "{failure:?}");
        assert!(matches!(apply(&[rule("/b", "x", "y")], &one("x")), Err(Error::FileMissing { .. })));
        let binary = vec![("/etc/a".to_owned(), vec![0xff, 0xfe])];
        assert!(matches!(apply(&[rule("/etc/a", "x", "y")], &binary), Err(Error::NotText { .. })));
    }

    #[test]
    fn a_later_rule_that_fails_leaves_nothing_done() {
        let rules = [rule("/etc/a", "a", "b"), rule("/etc/a", "a", "b")];
        assert!(matches!(apply(&rules, &one("a")), Err(Error::NothingMatched { .. })));
    }

    #[test]
    fn a_file_does_not_grow_without_bound() {
        let text = "a".repeat(1 << 19);
        assert!(matches!(apply(&[rule("/etc/a", "a", "aaaa")], &one(&text)), Err(Error::Grown { .. })));
    }
}
