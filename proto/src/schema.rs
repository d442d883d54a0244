//! JSON Schemas of every document that crosses a process, made from the types and checked in under `proto/schema`,
//! so that other clients need no Rust and a change of the wire is seen in review.

use schemars::{JsonSchema, Schema, schema_for};

use crate::command::{BrokerCommand, Control, WorkerCommand};
use crate::event::{Event, Notice};
use crate::overview::Overview;
use crate::plan::Plan;
use crate::report::Report;
use crate::request::RelocationRequest;
use crate::status::StatusDocument;
use crate::task::Task;
use crate::topology::Topology;
use crate::usage::Usage;

/// A schema by the name of its file in `proto/schema`, without `.json`.
#[derive(Clone, Debug)]
pub struct Named {
    pub name: &'static str,
    pub schema: Schema,
}

pub fn all() -> Vec<Named> {
    vec![
        named::<RelocationRequest>("request"),
        named::<Task>("task"),
        named::<Event>("event"),
        named::<Notice>("notice"),
        named::<Control>("control"),
        named::<BrokerCommand>("broker_command"),
        named::<WorkerCommand>("worker_command"),
        named::<StatusDocument>("status"),
        named::<Report>("report"),
        named::<Plan>("plan"),
        named::<Topology>("topology"),
        named::<Usage>("usage"),
        named::<Overview>("overview"),
    ]
}

fn named<T: JsonSchema>(name: &'static str) -> Named {
    Named { name, schema: schema_for!(T) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    use super::*;

    fn path(directory: &str, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(directory).join(format!("{name}.json"))
    }

    fn example(name: &str) -> Value {
        let text = fs::read_to_string(path("examples", name)).expect("an example of each document");
        serde_json::from_str(&text).expect("an example is JSON")
    }

    #[test]
    fn the_schemas_checked_in_are_those_of_the_types() {
        let bless = std::env::var_os("FLUIDCLOUD_BLESS").is_some();
        for Named { name, schema } in all() {
            let made = serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n";
            let path = path("schema", name);
            if bless {
                fs::write(&path, &made).expect("a writable checkout");
            }
            let kept = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                kept == made,
                "{} is not the schema of the type: if the change of the wire is meant, run \
                 `FLUIDCLOUD_BLESS=1 cargo test -p fluidcloud-proto schema` and note it in CHANGELOG.md",
                path.display()
            );
        }
    }

    #[test]
    fn there_is_no_schema_and_no_example_of_what_is_gone() {
        let names: BTreeSet<_> = all().iter().map(|named| format!("{}.json", named.name)).collect();
        for directory in ["schema", "examples"] {
            let files = fs::read_dir(path(directory, "x").with_file_name("")).expect("a directory");
            let files: BTreeSet<_> =
                files.map(|file| file.expect("a file").file_name().to_string_lossy().into_owned()).collect();
            assert_eq!(files, names, "files in {directory}");
        }
    }

    #[test]
    fn the_schema_of_a_request_allows_no_unknown_field_anywhere() {
        let schema = serde_json::to_value(schema_for!(RelocationRequest)).expect("JSON");
        let definitions = schema["$defs"].as_object().expect("definitions");
        let mut objects = 0;
        for (name, part) in definitions.iter().chain([(&"RelocationRequest".to_owned(), &schema)]) {
            if part["type"] == "object" {
                objects += 1;
                assert_eq!(part["additionalProperties"], false, "{name} would take anything");
            }
        }
        assert_eq!(objects, 20, "every struct of a request is looked at");
        assert_eq!(schema["properties"]["version"]["const"], 1);
    }

    /// Parses the example and writes it again: what was on the wire stays on the wire.
    fn wire_is_kept<T: Serialize + DeserializeOwned>(name: &str, example: &Value) {
        let parsed: T =
            serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(&serde_json::to_value(parsed).expect("JSON"), example, "{name} is written otherwise");
    }

    /// An array with at least one example of each variant, which `tag` tells.
    fn variants_are_kept<T: Serialize + DeserializeOwned + JsonSchema>(name: &str, tag: &str) {
        let examples = example(name);
        let examples = examples.as_array().expect("an array of examples");
        examples.iter().for_each(|example| wire_is_kept::<T>(name, example));
        let schema = serde_json::to_value(schema_for!(T)).expect("JSON");
        let known = schema["oneOf"].as_array().expect("variants");
        let known: BTreeSet<_> =
            known.iter().map(|variant| variant["properties"][tag]["const"].to_string()).collect();
        let shown: BTreeSet<_> = examples.iter().map(|example| example[tag].to_string()).collect();
        assert_eq!(shown, known, "variants of {name}");
    }

    #[test]
    fn the_examples_are_on_the_wire_what_they_were() {
        wire_is_kept::<RelocationRequest>("request", &example("request"));
        wire_is_kept::<StatusDocument>("status", &example("status"));
        wire_is_kept::<Report>("report", &example("report"));
        wire_is_kept::<Plan>("plan", &example("plan"));
        wire_is_kept::<Topology>("topology", &example("topology"));
        wire_is_kept::<Usage>("usage", &example("usage"));
        wire_is_kept::<Overview>("overview", &example("overview"));
        variants_are_kept::<Event>("event", "event");
        variants_are_kept::<Notice>("notice", "notice");
        variants_are_kept::<Control>("control", "control");
        variants_are_kept::<BrokerCommand>("broker_command", "ask");
        variants_are_kept::<WorkerCommand>("worker_command", "order");
        let tasks = example("task");
        tasks.as_array().expect("an array").iter().for_each(|task| wire_is_kept::<Task>("task", task));
    }

    #[test]
    fn the_example_of_a_task_shows_each_kind_of_work_and_that_of_an_event_each_output() {
        let shown = |document: &str, pointer: &str| -> BTreeSet<String> {
            let examples = example(document);
            let examples = examples.as_array().expect("an array").clone();
            examples.iter().filter_map(|example| example.pointer(pointer)).map(Value::to_string).collect()
        };
        let known = |schema: Schema, tag: &str| -> BTreeSet<String> {
            let schema = serde_json::to_value(schema).expect("JSON");
            let variants = schema["oneOf"].as_array().expect("variants").clone();
            variants.iter().map(|variant| variant["properties"][tag]["const"].to_string()).collect()
        };
        assert_eq!(shown("task", "/work/do"), known(schema_for!(crate::task::Work), "do"));
        assert_eq!(shown("event", "/output/done"), known(schema_for!(crate::task::Output), "done"));
    }
}
