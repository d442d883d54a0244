//! Tells the caller: JSON lines on stdout for programs, or a line that moves on stderr for people. Errors go to stderr too.

use crate::args::ReportFormat;
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use viaduct::{Area, Error, Event, Failure, Progress, Summary};

#[derive(Debug)]
pub struct Report {
    format: ReportFormat,
    /// Where JSON goes where stdout is taken.
    on_stderr: bool,
    /// Whether a progress line stands on the terminal, to be written over.
    line: Mutex<bool>,
}

#[derive(Serialize)]
struct Failed<'a> {
    event: &'static str,
    #[serde(flatten)]
    failure: &'a Failure,
}

impl Report {
    pub fn new(format: ReportFormat, on_stderr: bool) -> Report {
        Report { format, on_stderr, line: Mutex::new(false) }
    }

    pub fn event(&self, event: Event) {
        match self.format {
            ReportFormat::Json => self.json(&event),
            ReportFormat::Text => self.text(&event),
        }
    }

    pub fn failed(&self, error: &Error) {
        let failure = error.failure();
        if self.format == ReportFormat::Json {
            self.json(&Failed { event: "failed", failure: &failure });
        }
        if !self.on_stderr || self.format == ReportFormat::Text {
            self.finish_line();
            eprintln!("viaduct: {}", failure.message);
            eprintln!("  remedy: {}", failure.remedy);
        }
    }

    fn text(&self, event: &Event) {
        if let Event::Progress(progress) = event {
            // Into a file or a pipe, a line that moves would only be noise.
            if std::io::stderr().is_terminal() {
                eprint!("\r{}\x1b[K", progress_line(progress));
                *self.line() = true;
            }
            return;
        }
        self.finish_line();
        match event {
            Event::Listening { address } => eprintln!("listening on {address}"),
            Event::Refused { message, .. } => eprintln!("refused: {message}"),
            Event::Interrupted { message, .. } => eprintln!("interrupted: {message}"),
            Event::Finished(summary) => eprintln!("{}", summary_line(summary)),
            Event::Found(area) => eprintln!("{}", area_line(area)),
            Event::Checked { how, bytes_checked, bytes_holes } => eprintln!(
                "checked: {} by {how}; {} are holes of a new file",
                size(*bytes_checked),
                size(*bytes_holes)
            ),
            Event::Converted { path, format, bytes } => {
                eprintln!("made {path}: {format}, {}, compared with the disk", size(*bytes));
            }
            Event::Progress(_) => {}
        }
    }

    fn json(&self, line: &impl Serialize) {
        let Ok(mut text) = serde_json::to_string(line) else { return };
        text.push('\n');
        // A reader that went away is no reason to stop carrying the disk.
        let _ = if self.on_stderr {
            std::io::stderr().lock().write_all(text.as_bytes())
        } else {
            let mut stdout = std::io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        };
    }

    fn finish_line(&self) {
        if std::mem::take(&mut *self.line()) {
            eprintln!();
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, bool> {
        self.line.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn progress_line(progress: &Progress) -> String {
    let percent = (progress.bytes_done * 100).checked_div(progress.bytes_total).unwrap_or(0);
    let eta = progress.eta_seconds.map_or("?".to_owned(), |secs| format!("{}:{:02}", secs / 60, secs % 60));
    format!(
        "{percent:3} %  {} of {}, {} zero, {} reused, {} on the wire, {}/s, {eta} left",
        size(progress.bytes_done),
        size(progress.bytes_total),
        size(progress.bytes_zero),
        size(progress.bytes_reused),
        size(progress.bytes_on_wire),
        size(progress.rate_bps)
    )
}

fn summary_line(summary: &Summary) -> String {
    format!(
        "{} in {:.1} s: {} read, {} zero, {} reused, {} on the wire; {} {}",
        size(summary.bytes_total),
        summary.seconds,
        size(summary.bytes_read),
        size(summary.bytes_zero),
        size(summary.bytes_reused),
        size(summary.bytes_on_wire),
        summary.digest,
        if summary.verified { "verified" } else { "read; what became of it is not known here" }
    )
}

fn area_line(area: &Area) -> String {
    let read = match &area.whole_because {
        Some(why) => format!("read whole: {why}"),
        None => format!("{} free, not read", size(area.bytes_free)),
    };
    format!("{} at {}, {}: {read}", area.content, size(area.start), size(area.length))
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut number = bytes as f64;
    while number >= 1024.0 && unit + 1 < UNITS.len() {
        number /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{number:.1} {}", UNITS[unit]) }
}
