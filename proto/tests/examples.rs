//! The requests that the documents show are valid, and say the same in YAML and in JSON.

use std::fs;
use std::path::Path;

use fluidcloud_proto::request::{from_json, from_text};

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn the_example_requests_are_valid() {
    for name in ["shop.yaml", "shop-back.yaml", "goods.yaml"] {
        from_text(&example(name)).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

#[test]
fn the_shop_is_the_same_request_in_yaml_and_in_json() {
    let json = from_json(example("shop.json").as_bytes()).expect("valid JSON with its id");
    let mut yaml = from_text(&example("shop.yaml")).expect("valid YAML");
    yaml.id = json.id;
    assert_eq!(yaml, json);
}
