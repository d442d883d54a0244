//! What changed, as people read it. It travels in messages and is shown, so it is short and says no secret.

use std::time::Duration;

use similar::{ChangeTag, TextDiff};

use super::mask;

/// Of one file; the rest is told by its number of lines.
const DIFF_BYTES_MAX: usize = 32 << 10;
/// After this time the diff may be longer than it need be.
const DIFF_TIME: Duration = Duration::from_secs(1);
/// Few, as a line nearby is not what was asked about; of these only the keys are shown.
const CONTEXT_LINES: usize = 1;
/// Longer lines are cut.
const LINE_CHARS_MAX: usize = 400;

pub fn unified(path: &str, before: &str, after: &str) -> String {
    let diff = TextDiff::configure().timeout(DIFF_TIME).diff_lines(before, after);
    // What a line may show depends on those before it, also on those that are not shown.
    let (old, new) = match mask::is_secret_file(path) {
        true => (keys(before), keys(after)),
        false => (mask::lines(before), mask::lines(after)),
    };
    let line =
        |lines: &[String], at: Option<usize>| at.and_then(|at| lines.get(at)).cloned().unwrap_or_default();
    let mut unified = diff.unified_diff();
    let mut lines = Vec::new();
    for hunk in unified.context_radius(CONTEXT_LINES).iter_hunks() {
        lines.push(hunk.header().to_string());
        lines.extend(hunk.iter_changes().map(|change| match change.tag() {
            ChangeTag::Equal => format!(" {}", mask::key_only(&line(&old, change.old_index()))),
            ChangeTag::Delete => format!("-{}", line(&old, change.old_index())),
            ChangeTag::Insert => format!("+{}", line(&new, change.new_index())),
        }));
    }
    if lines.is_empty() {
        return String::new();
    }
    let name = path.trim_start_matches('/');
    bounded(std::iter::once(format!("--- a/{name}\n+++ b/{name}")).chain(lines))
}

fn keys(text: &str) -> Vec<String> {
    text.lines().map(mask::key_only).collect()
}

fn bounded(lines: impl Iterator<Item = String>) -> String {
    let mut shown = String::new();
    let mut hidden = 0_usize;
    for line in lines {
        if hidden > 0 || shown.len() + line.len().min(LINE_CHARS_MAX * 4) > DIFF_BYTES_MAX {
            hidden += 1;
            continue;
        }
        shown.extend(line.chars().take(LINE_CHARS_MAX));
        shown.push('\n');
    }
    if hidden > 0 {
        shown.push_str(&format!("… {hidden} more lines\n"));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_the_change_and_little_around_it() {
        let before = "1\n2\n3\nold\n5\n6\n7\n";
        let shown = unified("/etc/app.conf", before, &before.replace("old", "new"));
        assert_eq!(shown, "--- a/etc/app.conf\n+++ b/etc/app.conf\n@@ -3,3 +3,3 @@\n …\n-old\n+new\n …\n");
        assert_eq!(unified("/x", before, before), "");
        // chap-secrets has no form by which a password could be told from a name.
        let shown = unified("/etc/ppp/chap-secrets", "client old hunter2 *\n", "client new hunter2 *\n");
        assert!(shown.ends_with("-…\n+…\n"), "{shown}");
    }

    #[test]
    fn a_secret_beside_the_change_or_on_its_line_is_not_shown() {
        let before = "key1 = 1\npassword = hunter2\npath = /old, token = hunter2\nplain hunter2\n";
        let shown = unified("/x", before, &before.replace("/old", "/new"));
        let expected = " password = …\n-path = /old, token = ***\n+path = /new, token = ***\n …\n";
        assert!(shown.ends_with(expected), "{shown}");
        // It is known where it began, though that is not shown.
        let pem = "-----BEGIN KEY-----\nhunter2\nhunter2\nold\nhunter2\n-----END KEY-----\n";
        let shown = unified("/x", pem, &pem.replace("old", "new"));
        assert!(shown.ends_with(" …\n-***\n+***\n …\n"), "{shown}");
    }

    #[test]
    fn a_large_diff_is_cut_and_says_so() {
        let before: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
        let shown = unified("/x", &before, &before.replace("line", "word"));
        assert!(shown.len() < DIFF_BYTES_MAX + 100);
        assert!(shown.ends_with("more lines\n"));
    }
}
