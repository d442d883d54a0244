//! `GET /v1/openapi.json`: OpenAPI 3.1, made of the table of endpoints and of the types that they speak in.

use std::sync::OnceLock;

use axum::http::header;
use axum::response::IntoResponse;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::endpoints::{Endpoint, Said, all};
use super::idempotency;
use super::problem::Problem;
use super::status::VERSION;

pub async fn document() -> impl IntoResponse {
    static MADE: OnceLock<String> = OnceLock::new();
    let made = MADE.get_or_init(|| made().to_string());
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], made.as_str())
}

/// The same for everybody, whatever they may do.
pub(super) fn made() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in all() {
        let operation = operation(&endpoint, &mut generator);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_lowercase()] = operation;
    }
    let problem = generator.subschema_for::<Problem>();
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "FluidCloud",
            "version": VERSION,
            "description": "Moves running services between clouds. Every mutating call is passed on by message, and answered when \
                            the message is safe; what came of it is told by `/v1/events` and `/v1/relocations/{id}`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "responses": {"Problem": {
                "description": "What went wrong (RFC 9457), with a stable code and what to do about it",
                "content": {"application/problem+json": {"schema": problem}},
            }},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "fluidcloud_session"},
            },
        },
    })
}

fn operation(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Value {
    let (status, said) = endpoint.answers;
    let mut answer = json!({"description": endpoint.summary});
    if let Some(content) = content(said, generator) {
        answer["content"] = content;
    }
    let mut operation = json!({
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "responses": {status.to_string(): answer, "default": {"$ref": "#/components/responses/Problem"}},
    });
    let parameters = parameters(endpoint, generator);
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(content) = content(endpoint.takes, generator) {
        operation["requestBody"] = json!({"required": true, "content": content});
    }
    match endpoint.role {
        Some(role) => {
            operation["security"] = json!([{"token": []}, {"session": []}]);
            operation["description"] = format!("Takes the role {role}.").into();
        }
        None => operation["security"] = json!([]),
    }
    operation
}

/// Such as `post_relocations_id_cancel`.
fn operation_id(endpoint: &Endpoint) -> String {
    let words = endpoint.path.trim_start_matches("/v1").replace(['{', '}'], "").replace(['/', '.'], "_");
    format!("{}{words}", endpoint.method.as_str().to_lowercase())
}

fn content(said: Said, generator: &mut SchemaGenerator) -> Option<Value> {
    match said {
        Said::Nothing => None,
        Said::Json(describe) => Some(json!({"application/json": {"schema": describe(generator)}})),
        Said::Stream(describe, kinds) => {
            let schema = describe(generator);
            Some(
                kinds
                    .iter()
                    .map(|kind| ((*kind).to_owned(), json!({"schema": schema})))
                    .collect::<Map<_, _>>()
                    .into(),
            )
        }
    }
}

fn parameters(endpoint: &Endpoint, generator: &mut SchemaGenerator) -> Vec<Value> {
    let mut all = Vec::new();
    for part in endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')) {
        let name = part.trim_end_matches('}');
        all.push(json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    }
    let query = endpoint.query.map(|describe| describe(generator).to_value()).unwrap_or_default();
    let required: Vec<&Value> = query["required"].as_array().into_iter().flatten().collect();
    for (name, schema) in query["properties"].as_object().into_iter().flatten() {
        let mut parameter = json!({"name": name, "in": "query", "schema": schema});
        parameter["required"] = required.iter().any(|it| *it == name).into();
        if let Some(told) = schema["description"].as_str() {
            parameter["description"] = told.into();
        }
        all.push(parameter);
    }
    if endpoint.keyed {
        all.push(json!({
            "name": idempotency::HEADER, "in": "header", "required": false, "schema": {"type": "string"},
            "description": "The same key again is the same call, and is answered the same. The id of a request that has none is \
                            made of it.",
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    match (key.as_str(), value) {
                        ("$ref", Value::String(to)) => drop(found.insert(to.clone())),
                        _ => references(value, found),
                    }
                }
            }
            Value::Array(all) => all.iter().for_each(|value| references(value, found)),
            _ => (),
        }
    }

    #[test]
    fn the_document_describes_every_endpoint_and_leads_nowhere_else() {
        let made = made();
        for endpoint in all() {
            let operation = &made["paths"][endpoint.path][endpoint.method.as_str().to_lowercase()];
            assert!(operation["summary"].is_string(), "{} {}", endpoint.method, endpoint.path);
        }
        let mut found = BTreeSet::new();
        references(&made, &mut found);
        assert!(found.len() > 10, "{found:?}");
        for to in found {
            let pointer = to.strip_prefix('#').expect("within the document");
            assert!(made.pointer(pointer).is_some(), "{to}");
        }
    }

    #[test]
    fn operations_have_names_of_their_own() {
        let names: BTreeSet<String> = all().iter().map(operation_id).collect();
        assert_eq!(names.len(), all().len());
        assert!(names.contains("post_relocations_id_cancel"), "{names:?}");
    }

    #[test]
    fn the_parameters_of_a_list_are_told_with_their_meaning() {
        let made = made();
        let parameters = made["paths"]["/v1/transfers"]["get"]["parameters"].as_array().unwrap();
        let names: Vec<&str> = parameters.iter().filter_map(|it| it["name"].as_str()).collect();
        for name in ["relocation", "provider", "state", "limit", "cursor"] {
            assert!(names.contains(&name), "{name} in {names:?}");
        }
    }
}
