//! What a viaduct says on its standard output: one JSON object per line. Unknown events are skipped, so that a newer
//! viaduct can say more.

use fluidcloud_proto::progress::Area;
use serde::Deserialize;

/// One line of the report.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Said {
    Listening {
        address: String,
    },
    Progress(Counts),
    Found(Found),
    Finished(Finished),
    Failed {
        code: String,
        message: String,
        remedy: String,
        retryable: bool,
    },
    Refused {
        code: String,
        message: String,
    },
    Interrupted {
        code: String,
        message: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub(super) struct Counts {
    pub bytes_total: u64,
    #[serde(default)]
    pub bytes_done: u64,
    pub bytes_read: u64,
    pub bytes_zero: u64,
    pub bytes_reused: u64,
    pub bytes_on_wire: u64,
    #[serde(default)]
    pub rate_bps: u64,
    #[serde(default)]
    pub eta_seconds: Option<u64>,
}

impl Counts {
    /// What is known after the other end, or the same one later, has said `newer`.
    pub fn with(self, newer: Self) -> Self {
        Self {
            bytes_total: self.bytes_total.max(newer.bytes_total),
            bytes_done: self.bytes_done.max(newer.bytes_done),
            bytes_read: self.bytes_read.max(newer.bytes_read),
            bytes_zero: self.bytes_zero.max(newer.bytes_zero),
            bytes_reused: self.bytes_reused.max(newer.bytes_reused),
            bytes_on_wire: self.bytes_on_wire.max(newer.bytes_on_wire),
            rate_bps: newer.rate_bps,
            eta_seconds: newer.eta_seconds,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Finished {
    #[serde(flatten)]
    pub counts: Counts,
    pub digest: String,
    pub verified: bool,
    /// Told by the sender, which alone knows.
    #[serde(default)]
    pub bytes_free: Option<u64>,
}

/// A part of the source, before anything is sent.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub(super) struct Found {
    start: u64,
    length: u64,
    content: String,
    bytes_free: u64,
    #[serde(default)]
    whole_because: Option<String>,
}

impl From<Found> for Area {
    fn from(found: Found) -> Self {
        let Found { start, length, content, bytes_free, whole_because } = found;
        Self { start_bytes: start, length_bytes: length, content, bytes_free, whole_because }
    }
}

/// `None` for a line that is no report, such as a warning of a library.
pub(super) fn parse(line: &str) -> Option<Said> {
    serde_json::from_str(line).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_protocol_are_read() {
        let listening = r#"{"event":"listening","address":"10.0.0.1:4711"}"#;
        assert_eq!(parse(listening), Some(Said::Listening { address: "10.0.0.1:4711".into() }));
        let progress = r#"{"event":"progress","bytes_total":10,"bytes_done":5,"bytes_read":4,"bytes_zero":1,
            "bytes_reused":0,"bytes_on_wire":3,"rate_bps":7,"eta_seconds":null}"#;
        let Some(Said::Progress(counts)) = parse(progress) else { panic!("not read as progress") };
        assert_eq!((counts.bytes_done, counts.bytes_on_wire, counts.eta_seconds), (5, 3, None));
        let found = r#"{"event":"found","start":1,"length":9,"content":"ext4","bytes_free":5}"#;
        let Some(Said::Found(found)) = parse(found) else { panic!("not read as found") };
        let area = Area::from(found);
        assert_eq!((area.start_bytes, area.length_bytes, area.bytes_free), (1, 9, 5));
        assert_eq!((area.content.as_str(), area.whole_because), ("ext4", None));
        let finished = r#"{"event":"finished","bytes_total":10,"bytes_read":4,"bytes_zero":1,"bytes_reused":5,
            "bytes_on_wire":3,"bytes_free":1,"seconds":1.5,"digest":"abc","verified":true}"#;
        let Some(Said::Finished(finished)) = parse(finished) else { panic!("not read as finished") };
        assert_eq!(
            (finished.digest.as_str(), finished.verified, finished.counts.bytes_reused),
            ("abc", true, 5)
        );
        assert_eq!(finished.bytes_free, Some(1));
        let failed = r#"{"event":"failed","code":"no-room","message":"m","remedy":"r","retryable":false}"#;
        assert!(
            matches!(parse(failed), Some(Said::Failed { code, retryable: false, .. }) if code == "no-room")
        );
    }

    #[test]
    fn a_newer_event_is_skipped_and_noise_is_no_report() {
        assert_eq!(parse(r#"{"event":"weather","degrees":20}"#), Some(Said::Other));
        assert_eq!(parse("libfoo: warning"), None);
        assert_eq!(parse(""), None);
    }
}
