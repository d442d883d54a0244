//! What changed, as people read it. It travels in messages and is shown, so it is short and says no secret.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use similar::TextDiff;

/// Of one file; the rest is told by its number of lines.
const DIFF_BYTES_MAX: usize = 32 << 10;
/// After this time the diff may be longer than it need be.
const DIFF_TIME: Duration = Duration::from_secs(1);
/// Few, as a line nearby is not what was asked about.
const CONTEXT_LINES: usize = 1;
/// Longer lines are cut.
const LINE_CHARS_MAX: usize = 400;

/// `key: value` and `key=value` where the key sounds secret, up to the end of its quotes or of the line; and passwords
/// in URLs.
static SECRET: LazyLock<[Regex; 2]> = LazyLock::new(|| {
    let key = r#"(?i)((?:pass(?:word|wd|phrase)?|secret|token|(?:api|access|private)_?-?key|credentials?|authorization)\w*["']?\s*[:=]\s*)(?:"[^"]*"?|'[^']*'?|[^\s"'].*)"#;
    let url = r"(://[^/\s:@]+:)[^/\s@]+@";
    [key, url].map(|pattern| Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}")))
});

pub fn unified(path: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(before, after);
    let name = path.trim_start_matches('/');
    let mut unified = diff.unified_diff();
    let text =
        unified.context_radius(CONTEXT_LINES).header(&format!("a/{name}"), &format!("b/{name}")).to_string();
    let mut shown = String::new();
    let mut hidden = 0_usize;
    for line in text.lines() {
        if hidden > 0 || shown.len() + line.len().min(LINE_CHARS_MAX * 4) > DIFF_BYTES_MAX {
            hidden += 1;
            continue;
        }
        shown.push_str(&masked(line));
        shown.push('\n');
    }
    if hidden > 0 {
        shown.push_str(&format!("… {hidden} more lines\n"));
    }
    shown
}

fn masked(line: &str) -> String {
    let line: String = line.chars().take(LINE_CHARS_MAX).collect();
    let [key, url] = &*SECRET;
    let line = key.replace_all(&line, "${1}***");
    url.replace_all(&line, "${1}***@").into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_the_change_and_little_around_it() {
        let before = "1\n2\n3\nold\n5\n6\n7\n";
        let shown = unified("/etc/app.conf", before, &before.replace("old", "new"));
        assert_eq!(shown, "--- a/etc/app.conf\n+++ b/etc/app.conf\n@@ -3,3 +3,3 @@\n 3\n-old\n+new\n 5\n");
        assert_eq!(unified("/x", before, before), "");
    }

    #[test]
    fn a_secret_beside_the_change_is_not_shown() {
        for secret in [
            "password = hunter2",
            "\"api_key\": \"hunter2\"",
            "DB_PASSWORD=hunter2",
            "url=x://me:hunter2@h/p",
            "\"password\": \"ab,cd hunter2\"",
            "secret = 'a;hunter2'",
            "Authorization: Bearer hunter2",
            "AWS_ACCESS_KEY=hunter2",
            "token: ab,hunter2",
        ] {
            let shown = unified("/x", &format!("{secret}\nold\n"), &format!("{secret}\nnew\n"));
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.contains("***"), "{shown}");
        }
    }

    #[test]
    fn a_large_diff_is_cut_and_says_so() {
        let before: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        let shown = unified("/x", &before, &before.replace("line", "word"));
        assert!(shown.len() < DIFF_BYTES_MAX + 100);
        assert!(shown.ends_with("more lines\n"));
    }
}
