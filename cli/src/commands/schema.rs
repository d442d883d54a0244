//! `fluidcloud schema NAME`: the JSON Schema of a document.

use fluidcloud_proto::schema;

use crate::fault::Fault;
use crate::output;

pub fn run(name: &str) -> Result<(), Fault> {
    let all = schema::all();
    match all.iter().find(|known| known.name == name) {
        Some(known) => output::json(&known.schema),
        None => {
            let names: Vec<&str> = all.iter().map(|known| known.name).collect();
            Err(Fault::usage(
                format!("there is no schema `{name}`"),
                format!("use one of {}", names.join(", ")),
            ))
        }
    }
}
