//! Where the time of a story goes.

use std::time::Instant;

use serde_json::Value;

/// Prints the seconds of a story when it ends, however that comes.
pub struct Timed {
    what: String,
    begun: Instant,
}

impl Timed {
    pub fn new(what: &str) -> Self {
        Self { what: what.to_owned(), begun: Instant::now() }
    }

    /// Seconds until here.
    pub fn mark(&self, part: &str) {
        println!("{:6.1} s  {}: {part}", self.begun.elapsed().as_secs_f64(), self.what);
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.mark("in all");
    }
}

/// Seconds of each step, as the report has them.
pub fn steps(status: &Value) -> String {
    let report = &status["report"];
    let mut told = format!("downtime {} s\n", report["downtime_seconds"]);
    for step in report["steps"].as_array().expect("steps") {
        told.push_str(&format!(
            "{:8.1} s  {}\n",
            step["seconds"].as_f64().unwrap_or_default(),
            step["name"].as_str().unwrap_or_default()
        ));
    }
    for transfer in report["transfers"].as_array().into_iter().flatten() {
        told.push_str(&format!(
            "transfer {}: {} bytes, {} on the wire, {} s\n",
            transfer["disk"]["disk"], transfer["bytes_total"], transfer["bytes_on_wire"], transfer["seconds"]
        ));
    }
    told
}

/// What kinds of work the time went into: of steps and disks side by side the slowest counts, so that it adds up to what a
/// watch shows.
pub fn spent(status: &Value) -> String {
    let report = &status["report"];
    let steps = report["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    let longest = |kind: &str| {
        let of_kind =
            steps.iter().filter(|step| step["name"].as_str().is_some_and(|name| name.starts_with(kind)));
        of_kind.filter_map(|step| step["seconds"].as_f64()).fold(0.0, f64::max)
    };
    let transfers = report["transfers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let copied = transfers.iter().filter_map(|one| one["seconds"].as_f64()).fold(0.0, f64::max);
    let before = longest("rehearse").max(longest("prepare")).max(longest("furnish"));
    let parts = [
        ("before the source stops: rehearsal, target's things, helpers", longest("reserve") + before),
        ("the source stops", longest("freeze")),
        ("its disks are made readable: snapshots, copies, attachments", (longest("sync") - copied).max(0.0)),
        ("bytes", copied),
        ("work inside the guest", longest("adapt") + longest("fold") + longest("rewrite")),
        ("the target is made, boots and answers", longest("create") + longest("verify")),
        ("the source is kept, and all that was for the move goes", longest("commit") + longest("tidy")),
    ];
    let whole: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
    let line = |(what, seconds): &(&str, f64)| {
        format!("{seconds:8.1} s  {:3.0} %  {what}\n", 100.0 * seconds / whole.max(f64::EPSILON))
    };
    format!("where the time goes, of {whole:.1} s:\n{}", parts.iter().map(line).collect::<String>())
}
