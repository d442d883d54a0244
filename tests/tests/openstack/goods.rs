//! What moves without an instance, from one project to another: a detached volume, an image, a container with large objects.

use std::fs;
use std::time::Duration;

use fluidcloud_providers::openstack::api::Service;
use fluidcloud_tests::openstack::{Cloud, Clouds, ENDS_WITHIN, image};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::json;

use crate::timed::Timed;

const OBJECTS: usize = 60;
const IMAGE_BYTES: usize = 5_000_000;

const REQUEST: &str = r#"version: 1
service:
  name: goods
  provider: cloud-a
  components:
    - {name: archive, volume: {id: story-archive, target_name: story-archive-moved}}
    - {name: base, image: {id: story-base, target_name: story-base-moved}}
    - {name: photos, container: {id: story-photos, target_name: story-pictures}}
target: {provider: cloud-b}
"#;

/// Bytes that do not repeat soon.
pub fn noise(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_769).max(1);
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        })
        .collect()
}

fn fill(cloud: &Cloud) {
    cloud.make_container("story-photos_segments", &[]);
    for (at, name) in ["one", "two", "three"].into_iter().enumerate() {
        cloud.put_object(&format!("story-photos_segments/{name}"), &noise(at as u32 + 100, 300_000), &[]);
    }
    cloud.make_container("story-photos", &[("color", "blue")]);
    for at in 0..OBJECTS {
        let headers = [("x-object-meta-number", &*at.to_string())];
        cloud.put_object(&format!("story-photos/dir/{at:02}"), &noise(at as u32, 1000 + at), &headers);
    }
    cloud.put_object("story-photos/gr%C3%B6%C3%9Fe%20%25%3F", b"name", &[]);
    cloud.put_object("story-photos/a%2F..%2Fb", b"dots", &[]);
    let leads_to = ("x-object-manifest", "story-photos_segments/t");
    cloud.put_object("story-photos/dynamic", b"", &[leads_to]);
    cloud.put_manifest("story-photos/static", &["story-photos_segments/one", "story-photos_segments/two"]);
}

fn remove(cloud: &Cloud) {
    for name in ["story-pictures", "story-pictures_segments"] {
        cloud.remove_container(name);
    }
    for (service, key, name) in
        [(Service::Image, "images", "story-base-moved"), (Service::Volume, "volumes", "story-archive-moved")]
    {
        if let Some(found) = cloud.find(service, key, name) {
            cloud.made(service, format!("/{key}/{}", found["id"].as_str().expect("an id")));
        }
    }
    cloud.clear();
}

fn upload(clouds: &Clouds) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("image");
    fs::write(&file, noise(7, IMAGE_BYTES)).expect("a writable directory");
    clouds.a.upload_raw_image("story-base", &file, &[("hw_disk_bus", "scsi"), ("mine", "stays")]);
}

#[test]
fn goods_move_although_everything_is_killed_in_the_middle() {
    let _timed = Timed::new("goods");
    let Some(clouds) = Clouds::open() else { return };
    let mut stack = Stack::embedded_with(&clouds.config());
    fill(&clouds.a);
    upload(&clouds);
    let of = clouds.a.id_of(Service::Image, "images", &image());
    clouds.a.make_volume(json!({"size": 1, "imageRef": of, "name": "story-archive"}));
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    let id = stack.relocate(REQUEST);
    wait::until("objects are on their way", Duration::from_secs(120), || {
        clouds.b.objects("story-pictures").filter(|objects| !objects.is_empty())
    });
    stack.kill9("up");
    stack.start("up", &["up"]);
    let status = stack.ended_within(&id, ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");

    assert_eq!(clouds.b.objects("story-pictures"), clouds.a.objects("story-photos"), "the same objects");
    assert_eq!(clouds.b.objects("story-pictures_segments"), clouds.a.objects("story-photos_segments"));
    for object in ["static", "dynamic", "a%2F..%2Fb", "gr%C3%B6%C3%9Fe%20%25%3F"] {
        let there = clouds.b.object(&format!("story-pictures/{object}"));
        assert_eq!(there, clouds.a.object(&format!("story-photos/{object}")), "{object}");
    }
    let report = &status["report"];
    let container = &report["containers"][0];
    assert_eq!(container["objects"], OBJECTS + 4, "{report:#}");
    assert_eq!(report["images"][0]["bytes"], IMAGE_BYTES, "{report:#}");
    assert_eq!(report["transfers"][0]["verified"], true, "{report:#}");

    let base = clouds.b.find(Service::Image, "images", "story-base-moved").expect("the image");
    let source = clouds.a.find(Service::Image, "images", "story-base").expect("the image");
    assert_eq!((&base["os_hash_value"], &base["visibility"]), (&source["os_hash_value"], &json!("private")));
    assert_eq!((&base["hw_disk_bus"], base.get("mine")), (&json!("scsi"), None));
    let volume = clouds.b.find(Service::Volume, "volumes", "story-archive-moved").expect("the volume");
    assert_eq!(volume["status"], "available", "nothing of the move uses it any more");
    assert_eq!(clouds.a.listing(), listed_a, "the source is as it was");
    assert_eq!(clouds.b.listing().difference(&listed_b).count(), 2, "an image and a volume");
    remove(&clouds.b);
}

#[test]
fn what_cannot_arrive_whole_leaves_nothing() {
    let _timed = Timed::new("goods that cannot arrive");
    let Some(clouds) = Clouds::open() else { return };
    let stack = Stack::embedded_with(&clouds.config());
    fill(&clouds.a);
    upload(&clouds);
    let listed_b = clouds.b.listing();
    // Members may not make public images.
    let public = REQUEST.replace("target_name: story-base-moved}", "visibility: public}").replace(
        "    - {name: archive, volume: {id: story-archive, target_name: story-archive-moved}}\n",
        "",
    );
    let status = stack.ended_within(&stack.relocate(&public), ENDS_WITHIN);
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(clouds.b.objects("story-pictures"), None);
    assert_eq!(clouds.b.objects("story-pictures_segments"), None);
    assert_eq!(clouds.b.listing(), listed_b, "the target's project is as it was found");

    clouds.b.make_container("story-pictures", &[]);
    let status = stack.ended_within(&stack.relocate(&public), ENDS_WITHIN);
    assert_eq!((&status["phase"], &status["failure"]["code"]), (&json!("Failed"), &json!("name_taken")));
    assert_eq!(clouds.b.objects("story-pictures"), Some(Vec::new()), "somebody else's is as it was");
}
