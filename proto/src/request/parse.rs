//! From bytes to a checked request: version first, so that a document of another version is told so instead of
//! failing on some field.

use serde_json::Value;

use super::{RelocationRequest, VERSION, validate};
use crate::failure::{Code, Failure};
use crate::ids::RelocationId;

pub const REQUEST_BYTES_MAX: usize = crate::bus::MESSAGE_BYTES_MAX;

/// A request as it comes over the bus: JSON, complete, with its id.
pub fn from_json(bytes: &[u8]) -> Result<RelocationRequest, Failure> {
    if bytes.len() > REQUEST_BYTES_MAX {
        return Err(invalid(
            format!("request of {} bytes is larger than {REQUEST_BYTES_MAX}", bytes.len()),
            "shorten it",
        ));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        invalid(
            format!("request is not JSON: {error}"),
            "publish one JSON object; see the schema in proto/schema",
        )
    })?;
    from_value(value)
}

/// A request as a user writes it: YAML or JSON; the id may be left out and is then made.
pub fn from_text(text: &str) -> Result<RelocationRequest, Failure> {
    if text.len() > REQUEST_BYTES_MAX {
        return Err(invalid(
            format!("request of {} bytes is larger than {REQUEST_BYTES_MAX}", text.len()),
            "shorten it",
        ));
    }
    let mut value: Value = serde_norway::from_str(text).map_err(|error| {
        invalid(format!("request is neither YAML nor JSON: {error}"), "mend the file at the named line")
    })?;
    if let Some(object) = value.as_object_mut() {
        object.entry("id").or_insert_with(|| Value::String(RelocationId::new().to_string()));
    }
    from_value(value)
}

fn from_value(value: Value) -> Result<RelocationRequest, Failure> {
    let Some(object) = value.as_object() else {
        return Err(invalid("request is not an object".into(), "see the schema in proto/schema"));
    };
    match object.get("version") {
        Some(version) if version.as_u64() == Some(u64::from(VERSION)) => {}
        Some(version) => {
            return Err(Failure::never(
                Code::UnsupportedVersion,
                format!("request has version {version}, this conduit speaks version {VERSION}"),
                format!("write it to version {VERSION} of the schema, or update FluidCloud"),
            ));
        }
        None => {
            return Err(invalid("request has no `version`".into(), "add `version: 1`"));
        }
    }
    let request: RelocationRequest = serde_json::from_value(value).map_err(|error| {
        invalid(format!("request is not valid: {error}"), "see the schema in proto/schema")
    })?;
    validate(&request)?;
    Ok(request)
}

fn invalid(message: String, remedy: &str) -> Failure {
    Failure::never(Code::InvalidRequest, message, remedy)
}
