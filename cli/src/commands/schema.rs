//! `fluidcloud schema NAME`: the JSON Schema of a document.

use crate::fault::Fault;

pub fn run(name: &str) -> Result<(), Fault> {
    Err(Fault::usage(format!("there is no schema `{name}`"), ""))
}
