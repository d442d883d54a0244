//! From bytes to a checked request: version first, so that a document of another version is told so instead of
//! failing on some field.

use serde_json::Value;

use super::{RelocationRequest, VERSION, validate};
use crate::failure::{Code, Failure};
use crate::ids::RelocationId;

pub const REQUEST_BYTES_MAX: usize = crate::bus::MESSAGE_BYTES_MAX;

/// Brackets open at once in a file. The YAML parser takes time that grows with their square, so it must not see more.
const BRACKETS_OPEN_MAX: usize = 256;

const SEE_SCHEMA: &str = "see the schema in proto/schema/request.json";

/// A request as it comes over the bus: JSON, complete, with its id.
pub fn from_json(bytes: &[u8]) -> Result<RelocationRequest, Failure> {
    check_size(bytes.len())?;
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        invalid(
            format!("request is not JSON: {error}"),
            "publish one JSON object; see the schema in proto/schema",
        )
    })?;
    check_version(&value)?;
    // From the text again, not from the value: this way an error names line and column, and a field given twice
    // is one.
    checked(serde_json::from_slice(bytes).map_err(|error| not_valid(&error)))
}

/// A request as a user writes it: YAML or JSON; the id may be left out and is then made.
pub fn from_text(text: &str) -> Result<RelocationRequest, Failure> {
    check_size(text.len())?;
    check_brackets(text)?;
    let mut value: Value = serde_norway::from_str(text).map_err(|error| {
        invalid(format!("request is neither YAML nor JSON: {error}"), "mend the file at the named line")
    })?;
    check_version(&value)?;
    match value.as_object_mut() {
        Some(object) if !object.contains_key("id") => {
            object.insert("id".to_owned(), Value::String(RelocationId::new().to_string()));
            checked(serde_json::from_value(value).map_err(|error| not_valid(&error)))
        }
        _ => checked(serde_norway::from_str(text).map_err(|error| not_valid(&error))),
    }
}

fn checked(parsed: Result<RelocationRequest, Failure>) -> Result<RelocationRequest, Failure> {
    let request = parsed?;
    validate(&request)?;
    Ok(request)
}

fn check_size(bytes: usize) -> Result<(), Failure> {
    if bytes > REQUEST_BYTES_MAX {
        return Err(invalid(
            format!("request of {bytes} bytes is larger than {REQUEST_BYTES_MAX}"),
            "shorten it",
        ));
    }
    Ok(())
}

/// Brackets inside of strings count too; nobody has so many unpaired ones there.
fn check_brackets(text: &str) -> Result<(), Failure> {
    let mut open: usize = 0;
    for byte in text.bytes() {
        match byte {
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open > BRACKETS_OPEN_MAX {
            return Err(invalid(
                format!("request opens more than {BRACKETS_OPEN_MAX} brackets in each other"),
                SEE_SCHEMA,
            ));
        }
    }
    Ok(())
}

fn check_version(value: &Value) -> Result<(), Failure> {
    let Some(object) = value.as_object() else {
        return Err(invalid("request is not an object".into(), SEE_SCHEMA));
    };
    match object.get("version") {
        Some(version) if version.as_u64() == Some(u64::from(VERSION)) => Ok(()),
        Some(version) => Err(Failure::never(
            Code::UnsupportedVersion,
            format!("request has version {}, this FluidCloud speaks version {VERSION}", short(version)),
            format!("write it to version {VERSION} of the schema, or update FluidCloud"),
        )),
        None => Err(invalid("request has no `version`".into(), "add `version: 1`")),
    }
}

/// What a request holds may be long; an error need not repeat all of it.
fn short(what: &dyn std::fmt::Display) -> String {
    const SHOWN_CHARS: usize = 500;
    what.to_string().chars().take(SHOWN_CHARS).collect()
}

fn not_valid(error: &dyn std::fmt::Display) -> Failure {
    // What is not valid is repeated in logs and answers; this must not be.
    if error.to_string().contains("PRIVATE KEY") {
        let remedy = "give `import: {name, public_key}` with the line of the `.pub` file, and make a new pair: this one was sent around";
        return invalid("request holds a private key where none belongs".into(), remedy);
    }
    invalid(format!("request is not valid: {}", short(error)), SEE_SCHEMA)
}

fn invalid(message: String, remedy: &str) -> Failure {
    Failure::never(Code::InvalidRequest, message, remedy)
}
