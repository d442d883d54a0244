//! What the headers of an object say, and which of them belong to it. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::path;
use crate::object_store::{ObjectKind, Segment};
use crate::openstack::api::Answered;

pub(super) const MANIFEST: &str = "x-object-manifest";
const STATIC: &str = "x-static-large-object";
const METADATA: &str = "x-object-meta-";
/// Kept by Swift with the object, beside its metadata.
const KEPT: [&str; 8] = [
    "content-type",
    "content-encoding",
    "content-disposition",
    "content-language",
    "cache-control",
    "expires",
    "x-robots-tag",
    "x-delete-at",
];

pub(super) fn kind(answered: &Answered) -> Result<ObjectKind, String> {
    if answered.get(STATIC).is_some_and(|told| told.eq_ignore_ascii_case("true")) {
        return Ok(ObjectKind::Static);
    }
    let Some(manifest) = answered.get(MANIFEST) else { return Ok(ObjectKind::Plain) };
    match path::of_pair(manifest) {
        Some((container, prefix)) => Ok(ObjectKind::Dynamic { container, prefix }),
        None => Err(format!("its manifest `{manifest}` names no container and prefix")),
    }
}

pub(super) fn kept(answered: &Answered) -> BTreeMap<String, String> {
    let all = answered.headers.iter();
    let kept = all.filter(|(name, value)| {
        (KEPT.contains(&name.as_str()) || name.starts_with(METADATA)) && !value.is_empty()
    });
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A line of a manifest as Swift gives it back for a PUT.
pub(super) fn segment(line: &Value) -> Option<Segment> {
    if let Some(data) = line.get("data") {
        return Some(Segment::Inline(data.as_str()?.to_owned()));
    }
    // Not encoded here.
    let (container, name) = line.get("path")?.as_str()?.trim_start_matches('/').split_once('/')?;
    Some(Segment::Object {
        container: container.to_owned(),
        name: name.to_owned(),
        digest: line.get("etag").and_then(Value::as_str).map(str::to_owned),
        bytes: line.get("size_bytes").and_then(Value::as_u64),
        range: line.get("range").and_then(Value::as_str).map(str::to_owned),
    })
}

pub(super) fn listed(segment: &Segment) -> Value {
    match segment {
        Segment::Inline(data) => json!({"data": data}),
        Segment::Object { container, name, digest, bytes, range } => {
            let mut line = json!({"path": format!("/{container}/{name}")});
            if let Some(digest) = digest {
                line["etag"] = json!(digest);
            }
            if let Some(bytes) = bytes {
                line["size_bytes"] = json!(bytes);
            }
            if let Some(range) = range {
                line["range"] = json!(range);
            }
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(headers: &[(&str, &str)]) -> Answered {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Answered { status: 200, headers: headers.collect() }
    }

    #[test]
    fn only_what_belongs_to_the_object_is_kept() {
        let told = answered(&[
            ("content-type", "text/plain"),
            ("x-object-meta-color", "blau"),
            ("x-object-meta-empty", ""),
            ("x-delete-at", "1893456000"),
            ("x-trans-id", "tx1"),
            ("etag", "abc"),
            ("date", "today"),
        ]);
        let kept: Vec<String> = kept(&told).into_keys().collect();
        assert_eq!(kept, ["content-type", "x-delete-at", "x-object-meta-color"]);
    }

    #[test]
    fn manifests_are_told_from_objects() {
        assert_eq!(kind(&answered(&[("etag", "a")])), Ok(ObjectKind::Plain));
        assert_eq!(kind(&answered(&[(STATIC, "True")])), Ok(ObjectKind::Static));
        let dynamic = kind(&answered(&[(MANIFEST, "c%20d/big%2Fx/")])).unwrap();
        assert_eq!(dynamic, ObjectKind::Dynamic { container: "c d".into(), prefix: "big/x/".into() });
        assert!(kind(&answered(&[(MANIFEST, "nothing")])).is_err());
    }

    #[test]
    fn a_line_of_a_manifest_is_written_as_it_was_read() {
        for line in [
            json!({"path": "/c/a b/1", "etag": "e", "size_bytes": 7}),
            json!({"path": "/c/2", "etag": "e", "size_bytes": 7, "range": "1-3"}),
            json!({"data": "YWJj"}),
        ] {
            assert_eq!(listed(&segment(&line).unwrap()), line);
        }
        assert_eq!(segment(&json!({"path": "nothing"})), None);
    }
}
