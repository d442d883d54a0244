//! What users get to read when a request does not parse.

use super::{REQUEST_BYTES_MAX, from_json, from_text};
use crate::failure::{Code, Failure};

const JSON: &str = include_str!("../../examples/request.json");

fn told(failure: &Failure) -> String {
    format!("{:?}: {failure}", failure.code)
}

fn refused(json: &str) -> String {
    told(&from_json(json.as_bytes()).expect_err("not a valid request"))
}

/// The example with one text replaced by another.
fn with(from: &str, to: &str) -> String {
    assert!(JSON.contains(from), "the example has no {from}");
    JSON.replace(from, to)
}

#[test]
fn the_example_is_valid() {
    let request = from_json(JSON.as_bytes()).unwrap();
    let again = from_json(&serde_json::to_vec(&request).unwrap()).unwrap();
    assert_eq!(request, again);
}

#[test]
fn yaml_and_json_say_the_same() {
    let request = from_json(JSON.as_bytes()).unwrap();
    assert_eq!(from_text(JSON).unwrap(), request);
    let yaml = serde_norway::to_string(&request).unwrap();
    assert!(!yaml.starts_with('{'), "{yaml}");
    assert_eq!(from_text(&yaml).unwrap(), request);
}

#[test]
fn a_file_may_leave_the_id_out_and_a_message_may_not() {
    let without = with("\"id\": \"7b0c2d0e-6f4f-4d3b-9f53-0b6e0c8f6a11\",\n", "\n");
    let (one, two) = (from_text(&without).unwrap(), from_text(&without).unwrap());
    assert_ne!(one.id, two.id);
    insta::assert_snapshot!(refused(&without), @"InvalidRequest: request is not valid: missing field `id` at line 30 column 1; see the schema in proto/schema/request.json");
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    insta::assert_snapshot!(refused("{\"version\": 1,\n  nonsense"), @"InvalidRequest: request is not JSON: key must be a string at line 2 column 3; publish one JSON object; see the schema in proto/schema");
    insta::assert_snapshot!(refused("[1, 2]"), @"InvalidRequest: request is not an object; see the schema in proto/schema/request.json");
    insta::assert_snapshot!(refused(""), @"InvalidRequest: request is not JSON: EOF while parsing a value at line 1 column 0; publish one JSON object; see the schema in proto/schema");
    insta::assert_snapshot!(told(&from_json(b"{\"version\": 1, \"id\": \"\xff\"}").unwrap_err()), @"InvalidRequest: request is not JSON: invalid unicode code point at line 1 column 23; publish one JSON object; see the schema in proto/schema");
    insta::assert_snapshot!(told(&from_text("version: 1\n  id: [").unwrap_err()), @"InvalidRequest: request is neither YAML nor JSON: mapping values are not allowed in this context at line 2 column 5; mend the file at the named line");
}

#[test]
fn an_unknown_field_is_told_wherever_it_is() {
    insta::assert_snapshot!(refused(&with("\"tenant\"", "\"tennant\"")), @"InvalidRequest: request is not valid: unknown field `tennant`, expected one of `version`, `id`, `tenant`, `service`, `target`, `mode`, `cutover`, `verify`, `transport` at line 4 column 11; see the schema in proto/schema/request.json");
    insta::assert_snapshot!(refused(&with("\"fold_into\"", "\"fold\"")), @"InvalidRequest: request is not valid: unknown field `fold`, expected `disk` or `fold_into` at line 15 column 45; see the schema in proto/schema/request.json");
    insta::assert_snapshot!(refused(&with("\"within_secs\"", "\"timeout\"")), @"InvalidRequest: request is not valid: unknown field `timeout`, expected one of `port`, `path`, `status`, `contains`, `unchanged`, `within_secs` at line 27 column 116; see the schema in proto/schema/request.json");
}

#[test]
fn a_field_given_twice_is_not_half_applied() {
    let twice = with("\"mode\": \"cold\"", "\"mode\": \"cold\", \"mode\": \"cold\"");
    insta::assert_snapshot!(refused(&twice), @"InvalidRequest: request is not valid: duplicate field `mode` at line 25 column 24; see the schema in proto/schema/request.json");
}

#[test]
fn the_version_is_looked_at_before_anything_else() {
    insta::assert_snapshot!(refused(r#"{"version": 2, "of": "another kind"}"#), @"UnsupportedVersion: request has version 2, this FluidCloud speaks version 1; write it to version 1 of the schema, or update FluidCloud");
    insta::assert_snapshot!(refused(r#"{"version": "1"}"#), @r#"UnsupportedVersion: request has version "1", this FluidCloud speaks version 1; write it to version 1 of the schema, or update FluidCloud"#);
    insta::assert_snapshot!(refused(r#"{"service": {}}"#), @"InvalidRequest: request has no `version`; add `version: 1`");
    assert_eq!(from_text("version: 7").unwrap_err().code, Code::UnsupportedVersion);
}

#[test]
fn a_name_that_cannot_be_one_is_told() {
    insta::assert_snapshot!(refused(&with("\"shop-b\"", "\"shop b\"")), @"InvalidRequest: request is not valid: instance `shop b` is not a valid name: use 1 to 63 of a-z A-Z 0-9 . _ - and start with a letter or digit at line 14 column 33; see the schema in proto/schema/request.json");
    insta::assert_snapshot!(refused(&with("\"cloud-b\"", "\"../etc\"")), @"InvalidRequest: request is not valid: provider `../etc` is not a valid name: use 1 to 63 of a-z A-Z 0-9 . _ - and start with a letter or digit at line 24 column 34; see the schema in proto/schema/request.json");
}

#[test]
fn what_is_too_large_or_too_deep_is_refused_before_it_is_understood() {
    let large = format!("{}{}", JSON, " ".repeat(REQUEST_BYTES_MAX));
    insta::assert_snapshot!(refused(&large).replace(&large.len().to_string(), "N"), @"InvalidRequest: request of N bytes is larger than 1048576; shorten it");
    assert_eq!(from_text(&large).unwrap_err().code, Code::InvalidRequest);
    let deep = format!("{{\"version\": 1, \"id\": {}", "[".repeat(100_000));
    insta::assert_snapshot!(refused(&deep), @"InvalidRequest: request is not JSON: recursion limit exceeded at line 1 column 148; publish one JSON object; see the schema in proto/schema");
    assert_eq!(from_text(&deep).unwrap_err().code, Code::InvalidRequest);
    for deep in ["- ", "? ", "a: {"] {
        assert_eq!(from_text(&deep.repeat(100_000)).unwrap_err().code, Code::InvalidRequest, "{deep}");
    }
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
                d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
                g: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\nversion: 1\n";
    assert_eq!(from_text(bomb).unwrap_err().code, Code::InvalidRequest);
}
