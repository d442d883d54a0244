//! What a service says when it refuses, in one line, and what a person can do about it. Each service has a shape of
//! its own for errors.

use serde_json::Value;

/// Longest message kept.
const MESSAGE_CHARS_MAX: usize = 500;

/// The service's own words.
pub(super) fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Value>(body) {
        Ok(json) => told(&json).unwrap_or_else(|| json.to_string()),
        Err(_) => without_tags(&String::from_utf8_lossy(body)),
    };
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > MESSAGE_CHARS_MAX {
        return line.chars().take(MESSAGE_CHARS_MAX).chain("…".chars()).collect();
    }
    if line.is_empty() { "it gave no reason".to_owned() } else { line }
}

/// `{"itemNotFound": {"message": …}}`, `{"NeutronError": {"message": …}}`, `{"error": {"message": …}}`,
/// `{"errors": [{"detail": …}]}`, `{"message": …}`.
fn told(json: &Value) -> Option<String> {
    let plain = |value: &Value| {
        ["message", "detail", "title"].iter().find_map(|key| value.get(key)?.as_str().map(str::to_owned))
    };
    let inner = || json.as_object()?.values().find_map(|value| plain(value).or_else(|| plain(value.get(0)?)));
    plain(json)
        .or_else(inner)
        .or_else(|| json.as_object()?.values().find_map(|v| v.as_str()).map(str::to_owned))
}

/// Glance and Swift answer in HTML.
fn without_tags(text: &str) -> String {
    let mut plain = String::new();
    let mut inside = false;
    for letter in text.chars() {
        match letter {
            '<' => inside = true,
            '>' => {
                inside = false;
                plain.push(' ');
            }
            letter if !inside => plain.push(letter),
            _ => (),
        }
    }
    plain
}

/// A quota, or a limit, or no host with room.
pub(super) fn is_full(status: u16, message: &str) -> bool {
    let lower = message.to_lowercase();
    let quota = lower.contains("quota") || lower.contains("exceed") || lower.contains("maximum");
    (matches!(status, 403 | 413) && quota) || (status == 409 && lower.contains("quota"))
}

pub(super) fn remedy(status: u16, message: &str, cloud: &str) -> String {
    match status {
        _ if is_full(status, message) => {
            "free what the project does not need, or ask for a larger quota".to_owned()
        }
        401 => format!("check the login of cloud `{cloud}` in clouds.yaml and secure.yaml"),
        403 => format!("give the user of cloud `{cloud}` a role that may do this, such as `member`"),
        404 => "see whether somebody removed it".to_owned(),
        409 => "let what is under way on it end; it is tried again".to_owned(),
        400 | 405 | 413..=415 | 422 => {
            "see what the cloud allows; if it should, report this with the message".to_owned()
        }
        429 => "send fewer requests at once, or ask for a higher rate".to_owned(),
        _ => "see the log of that service at the cloud".to_owned(),
    }
}

/// The same request may succeed later without a person's help.
pub(super) fn heals(status: u16, message: &str) -> bool {
    !is_full(status, message) && (matches!(status, 408 | 409 | 429) || (500..600).contains(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_understood() {
        for (body, expected) in [
            (
                r#"{"itemNotFound": {"message": "Instance x could not be found.", "code": 404}}"#,
                "Instance x could not be found.",
            ),
            (r#"{"NeutronError": {"type": "T", "message": "No more IPs", "detail": ""}}"#, "No more IPs"),
            (
                r#"{"error": {"code": 401, "message": "The request you have made requires authentication."}}"#,
                "The request you have made requires authentication.",
            ),
            (r#"{"errors": [{"status": 409, "detail": "conflict"}]}"#, "conflict"),
            ("<html><head><title>404</title></head><body>No\n image</body></html>", "404 No image"),
            (
                r#"{"message": "The server is currently unavailable.<br /><br />\n\n", "code": "503"}"#,
                "The server is currently unavailable.<br /><br />",
            ),
            ("", "it gave no reason"),
        ] {
            assert_eq!(message(body.as_bytes()), expected);
        }
        assert!(message("x".repeat(10_000).as_bytes()).chars().count() <= MESSAGE_CHARS_MAX + 1);
    }

    #[test]
    fn a_quota_is_told_from_a_missing_role() {
        let nova = "Quota exceeded for cores: Requested 4, but already used 16 of 16 cores";
        assert!(remedy(403, nova, "a").contains("quota") && !heals(403, nova));
        let cinder =
            "VolumeSizeExceedsAvailableQuota: Requested volume or snapshot exceeds allowed gigabytes quota.";
        assert!(is_full(413, cinder));
        let neutron = "Quota exceeded for resources: ['port'].";
        assert!(is_full(409, neutron) && !heals(409, neutron));
        assert!(remedy(403, "Policy doesn't allow os_compute_api", "a").contains("role"));
        assert!(heals(409, "Cannot 'stop' instance while it is in task_state powering-on"));
        assert!(heals(503, "") && !heals(404, "") && !heals(400, ""));
    }
}
