//! A request from a file or standard input, YAML or JSON, checked.

use std::io::Read;
use std::path::Path;

use fluidcloud_proto::request::{REQUEST_BYTES_MAX, RelocationRequest, from_text};

use crate::fault::Fault;

pub fn read(file: &Path) -> Result<RelocationRequest, Fault> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let cannot = |error: std::io::Error| {
        Fault::usage(
            format!("cannot read the request {name}: {error}"),
            "name a file that exists, or - for standard input",
        )
    };
    let mut text = String::new();
    // One byte more than is allowed, so that what is too long is seen to be.
    let most = REQUEST_BYTES_MAX as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().take(most).read_to_string(&mut text).map_err(cannot)?;
    } else {
        std::fs::File::open(file).map_err(cannot)?.take(most).read_to_string(&mut text).map_err(cannot)?;
    }
    from_text(&text).map_err(|failure| {
        let fault = Fault::from(failure);
        Fault { what: format!("{name}: {}", fault.what), ..fault }
    })
}
