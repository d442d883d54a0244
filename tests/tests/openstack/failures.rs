//! Whole relocations on bad days: first one that nothing helps, as the target's project is full when it was let in; it is taken
//! back, although that is refused too at first. Then one that meets with all that can be healed, and arrives.

use std::collections::BTreeSet;
use std::time::Duration;

use fluidcloud_providers::openstack::api::{Call, Service};
use fluidcloud_tests::openstack::{Admin, Cloud, Clouds, ENDS_WITHIN, Fault, Gate, Proxy, Server};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::between::{application, outside_of, state_at};
use crate::goods::noise;
use crate::timed::{Timed, steps};

const IMAGE_BYTES: usize = 5_000_000;
/// In the middle of that.
const MIDDLE: usize = 1 << 20;
/// Until a relocation comes to the next place where something waits for it.
const COMES_WITHIN: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(400);
const REQUEST: &str = r#"version: 1
service:
  name: harmed
  provider: cloud-a
  components:
    - {name: web, instance: {id: story-harmed, guest: as_is, shutdown_secs: 20}}
    - {name: base, image: {id: story-harmed-base, target_name: story-harmed-base-moved}}
target: {provider: cloud-b}
verify:
  - component: web
    http: {port: 80, path: /cgi-bin/state, unchanged: state}
"#;

#[test]
fn what_cannot_be_healed_is_taken_back_and_what_can_be_is_healed() {
    let timed = Timed::new("failures");
    let Some(clouds) = Clouds::open() else { return };
    let Some(admin) = clouds.admin() else { return };
    clouds.b.open_group();
    let (config, [at_source, at_target]) = clouds.config_through_proxies();
    let stack = Stack::embedded_with(&config);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let file = dir.path().join("image");
    std::fs::write(&file, noise(11, IMAGE_BYTES)).expect("a writable directory");
    clouds.a.upload_raw_image("story-harmed-base", &file, &[]);
    let server = Server { on_volume: true, script: application(), ..Server::new("story-harmed") };
    let (id, address) = clouds.a.make_server(&server);
    let before = state_at(&address);
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());
    timed.mark("it runs at the source");

    let status = taken_back(&stack, &clouds, &admin, &at_target);
    timed.mark("taken back");
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(status["failure"]["code"], "no_room", "{status:#}");
    println!("{} requests were harmed", at_target.all_done());
    assert_eq!(clouds.b.listing(), listed_b, "the target's project is as it was found");
    assert_eq!(clouds.a.listing(), listed_a, "and so is the source's");
    assert_eq!(clouds.a.power(&id), "ACTIVE");
    assert_eq!(state_at(&address), before);

    let status = healed(&stack, &clouds, &admin, [&at_source, &at_target]);
    timed.mark("healed");
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    println!("{}", steps(&status));
    println!("{} requests were harmed", at_source.all_done() + at_target.all_done());
    assert_eq!(state_at(outside_of(&status)), before, "the same data");
    assert_eq!(clouds.a.power(&id), "SHUTOFF", "the source stays, off");
    assert_eq!(clouds.a.listing(), listed_a, "nothing of the move is left at the source");
    let made: BTreeSet<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    let count = |kind: &str| made.iter().filter(|thing| thing.starts_with(kind)).count();
    let kinds = ["servers ", "volumes ", "images ", "ports ", "floatingips "].map(count);
    assert_eq!(kinds[..3], [1, 1, 1], "nothing was made twice: {made:#?}");
    assert_eq!(made.len(), kinds.iter().sum::<usize>(), "nothing but what moved: {made:#?}");
    let moved = clouds.b.find(Service::Image, "images", "story-harmed-base-moved").expect("the image");
    let source = clouds.a.find(Service::Image, "images", "story-harmed-base").expect("the image");
    assert_eq!(moved["os_hash_value"], source["os_hash_value"]);
    clouds.b.made(Service::Image, format!("/images/{}", moved["id"].as_str().expect("an id")));
    clouds.b.remove_moved(&server.name);
    clouds.b.clear();
    let left = clouds.b.listing();
    assert!(left.is_subset(&listed_b), "{:#?}", left.difference(&listed_b).collect::<Vec<_>>());
}

/// The quota of servers is used up after the relocation was let in, and Nova refuses its helper. What undoes it meets with
/// services that fail for a while, and with refusals to delete.
fn taken_back(stack: &Stack, clouds: &Clouds, admin: &Admin, at_target: &Proxy) -> Value {
    let group = Gate::default();
    at_target.harm("POST", "network", "/security-groups$", 1, Fault::Hold(group.clone()));
    at_target.harm("DELETE", "volumev3", "/volumes/", 2, Fault::Answer(503, "busy"));
    at_target.harm("DELETE", "network", "/security-groups/", 1, Fault::Answer(409, "it is in use"));
    at_target.harm("DELETE", "image", "/images/", 1, Fault::Answer(409, "the image is in use"));
    let id = stack.relocate(REQUEST);
    comes_to(stack, &id, "its helper's security group", &group);
    // Whatever their state: there shall be something to take back.
    wait::until_every(LOOK_EVERY, "its disk and its image are there", COMES_WITHIN, || {
        let image = clouds.b.find(Service::Image, "images", "story-harmed-base-moved");
        (image.is_some() && volume_of(&clouds.b, &id).is_some()).then_some(())
    });
    let full = admin.lower_quota(&clouds.b, servers(&clouds.b).len());
    at_target.harm("GET", "network", "/floatingips", 3, Fault::Answer(500, "Unexpected API Error"));
    group.open();
    let status = stack.ended_within(&id, ENDS_WITHIN);
    drop(full);
    status
}

fn healed(stack: &Stack, clouds: &Clouds, admin: &Admin, [at_source, at_target]: [&Proxy; 2]) -> Value {
    // Asked again at once, and nobody notices.
    at_target.harm("GET", "volumev3", "/volumes/detail", 3, Fault::Answer(503, "busy"));
    at_target.harm("GET", "compute", "/servers/detail", 2, Fault::Answer(502, "bad gateway"));
    at_target.harm("GET", "network", "/security-groups", 1, Fault::Cut(10));
    at_source.harm("GET", "volumev3", "/snapshots", 2, Fault::Answer(500, "Unexpected API Error"));
    at_source.harm("GET", "compute", "/servers/", 1, Fault::Answer(401, "expired"));
    // In the middle of the image, on both sides of it.
    at_source.harm("GET", "image", "/file", 1, Fault::Cut(MIDDLE));
    at_target.harm("PUT", "image", "/file", 1, Fault::AnswerAfter(401, MIDDLE));
    // Made, and who made it does not learn of it.
    at_source.harm("POST", "volumev3", "/snapshots$", 1, Fault::Lose(500));
    at_target.harm("POST", "network", "/ports$", 1, Fault::Lose(500));
    // Removed later.
    at_source.harm("DELETE", "volumev3", "/volumes/", 1, Fault::Answer(400, "volume is in use"));
    let [disk, helper, first_start] = [Gate::default(), Gate::default(), Gate::default()];
    at_target.harm("POST", "volumev3", "/volumes$", 1, Fault::Hold(disk.clone()));
    for gate in [&helper, &first_start] {
        at_target.harm("POST", "compute", "/servers$", 1, Fault::Hold(gate.clone()));
    }

    let id = stack.relocate(REQUEST);
    comes_to(stack, &id, "its disk", &disk);
    let volume = wait::until_every(LOOK_EVERY, "the volume is there", COMES_WITHIN, || {
        volume_of(&clouds.b, &id).filter(|volume| volume["status"] == "available")
    });
    admin.break_volume(volume["id"].as_str().expect("an id"));
    disk.open();
    comes_to(stack, &id, "its helper", &helper);
    let rules = close_helper(&clouds.b, &id);
    println!("injected: {rules} rules of the helper's security group are gone");
    assert!(rules > 0);
    let name = helper_of(&id);
    let found = servers(&clouds.b).into_iter().find(|server| server["name"] == *name).expect("the helper");
    let part = format!("/servers/{}$", found["id"].as_str().expect("an id"));
    at_target.harm("DELETE", "compute", &part, 1, Fault::Answer(409, "it is in task_state deleting"));
    helper.open();
    comes_to(stack, &id, "its first start", &first_start);
    let server = wait::until_every(LOOK_EVERY, "the server runs", COMES_WITHIN, || {
        servers(&clouds.b).into_iter().find(|server| {
            server["name"] == "story-harmed"
                && clouds.b.power(server["id"].as_str().expect("an id")) == "ACTIVE"
        })
    });
    admin.break_server(server["id"].as_str().expect("an id"));
    first_start.open();
    stack.ended_within(&id, ENDS_WITHIN)
}

/// The relocation waits at the gate; or it has ended before, which is said.
fn comes_to(stack: &Stack, id: &str, what: &str, gate: &Gate) {
    wait::until_every(LOOK_EVERY, &format!("it comes to {what}"), COMES_WITHIN, || {
        if gate.is_met() {
            return Some(());
        }
        let status = stack.status(id)?;
        let phase = status["phase"].as_str().unwrap_or_default();
        assert!(!matches!(phase, "Succeeded" | "Failed" | "RolledBack" | "Stuck"), "it ended: {status:#}");
        None
    });
}

fn servers(cloud: &Cloud) -> Vec<Value> {
    let found = cloud.call(Call::get(Service::Compute, "/servers", "list servers"));
    found["servers"].as_array().cloned().unwrap_or_default()
}

/// The relocation's disk.
fn volume_of(cloud: &Cloud, id: &str) -> Option<Value> {
    let found = cloud.call(Call::get(Service::Volume, "/volumes/detail", "list volumes"));
    let ours = |volume: &&Value| {
        volume["metadata"]["fluidcloud_relocation"] == id && volume["metadata"]["fluidcloud_role"] == "disk"
    };
    found["volumes"].as_array()?.iter().find(ours).cloned()
}

fn helper_of(id: &str) -> String {
    format!("fluidcloud-helper-{}", &id[..8])
}

/// All rules of the helper's security group go that let anybody in. Answers how many there were.
fn close_helper(cloud: &Cloud, id: &str) -> usize {
    let call =
        Call::get(Service::Network, "/security-groups", "list security groups").query("name", helper_of(id));
    let found = cloud.call(call);
    let rules = found["security_groups"][0]["security_group_rules"].as_array().expect("the helper's group");
    let rules: Vec<&Value> = rules.iter().filter(|rule| rule["direction"] == "ingress").collect();
    for rule in &rules {
        let path = format!("/security-group-rules/{}", rule["id"].as_str().expect("an id"));
        cloud.call(Call::delete(Service::Network, path, "delete a rule"));
    }
    rules.len()
}
