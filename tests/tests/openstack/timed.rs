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
