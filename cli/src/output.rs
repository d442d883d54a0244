//! Standard output. A reader that has gone ends the command instead of breaking it.

use std::io::{ErrorKind, Write};

use serde::Serialize;

use crate::fault::{Exit, Fault};

pub fn line(text: impl AsRef<str>) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Fault::quiet(Exit::BrokenPipe),
        _ => Fault::failed(format!("cannot write to standard output: {error}"), "see where it goes to"),
    })
}

/// One JSON object, on as many lines as make it readable.
pub fn json<T: Serialize>(value: &T) -> Result<(), Fault> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Fault::failed(format!("cannot write JSON: {error}"), "report this"))?;
    line(text)
}

/// For progress and remarks; lost when nobody reads.
pub fn remark(text: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", text.as_ref());
}
