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
    for name in ["shop.yaml", "shop-back.yaml", "goods.yaml", "s2d.yaml"] {
        from_text(&example(name)).unwrap_or_else(|failure| panic!("{name}: {failure}"));
    }
}

#[test]
fn the_document_of_a_whole_move_has_all_its_decisions() {
    let request = from_text(&example("s2d.yaml")).expect("valid YAML");
    let instance = request.service.components[0].instance.as_ref().expect("an instance");
    assert!(instance.snapshot.is_some() && instance.image.is_some() && instance.target_name.is_some());
    let launch = &instance.launch;
    assert!(launch.keypair.is_some() && launch.security_group.is_some() && launch.floating_ip.is_some());
    assert!(request.target.provider.is_some());
}

#[test]
fn the_shop_is_the_same_request_in_yaml_and_in_json() {
    let json = from_json(example("shop.json").as_bytes()).expect("valid JSON with its id");
    let mut yaml = from_text(&example("shop.yaml")).expect("valid YAML");
    yaml.id = json.id;
    assert_eq!(yaml, json);
}
