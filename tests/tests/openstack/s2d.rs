//! One document carries a whole move between two projects with all that its user decides: login, instance and snapshot, target
//! login, image, key pair, launch name, security group, floating IP; and what came of it is read back from the target.

use std::process::Command;
use std::time::Duration;

use fluidcloud_providers::openstack::api::{Call, Service};
use fluidcloud_tests::cli::Said;
use fluidcloud_tests::openstack::{Cloud, Clouds, ENDS_WITHIN, Server};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::{Value, json};

use crate::between::{answers, application, state_at};

const CREATED: &str = r#"version: 1
service:
  name: web
  provider: cloud-a
  components:
    - name: web
      instance:
        id: story-s2d
        target_name: story-s2d-moved
        guest: as_is
        shutdown_secs: 20
        snapshot: story-s2d-before
        image: {name: story-s2d-golden, format: vmdk, visibility: shared}
        launch:
          keypair: {create: story-s2d-key}
          security_group: {new: story-s2d-group}
          floating_ip: free
target: {provider: cloud-b}
verify:
  - component: web
    http: {port: 80, path: /cgi-bin/state, unchanged: state}
"#;

/// The project's own group and an address of its own, a key that the user has, and a root disk that is a volume.
const IMPORTED: &str = r#"version: 1
service:
  name: web
  provider: cloud-a
  components:
    - name: web
      instance:
        id: story-s2d-volume
        guest: as_is
        shutdown_secs: 20
        snapshot: story-s2d-volume-before
        image: {name: story-s2d-raw, format: raw}
        launch:
          keypair: {import: {name: story-s2d-mine, public_key: "@PUBLIC@"}}
          security_group: {into_default: true}
          floating_ip: new
target: {provider: cloud-b}
verify:
  - component: web
    http: {port: 80, path: /cgi-bin/state, unchanged: state}
"#;

/// Nothing is decided by the configuration that the request decides.
fn stack(clouds: &Clouds) -> Stack {
    let config = clouds.config();
    let lines = config.lines().filter(|line| !line.trim_start().starts_with("security_groups:"));
    Stack::embedded_with(&(lines.collect::<Vec<_>>().join("\n") + "\n"))
}

fn overview(stack: &Stack, id: &str) -> Value {
    let said = stack.cli(&["overview", id, "--output", "json"]).succeeded();
    serde_json::from_str(&said).expect("JSON")
}

fn floating(overview: &Value) -> String {
    overview["instances"][0]["nics"][0]["floating"][0].as_str().expect("a floating IP").to_owned()
}

/// What the guest itself says to who has the key.
fn logs_in(key: &str, address: &str) -> String {
    wait::until("the key logs in", Duration::from_secs(120), || {
        let said = Said::of(Command::new("ssh").args([
            "-i",
            key,
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=10",
            &format!("root@{address}"),
            "cat /www/mark",
        ]));
        (said.code == Some(0)).then_some(said.stdout)
    })
}

/// As Neutron writes it: all ports are none.
fn lets_tcp_in(rule: &Value) -> bool {
    rule["direction"] == "ingress" && rule["protocol"] == "tcp"
}

/// What a move has made beside the server, so that it goes when the story ends.
fn remove(cloud: &Cloud, image: &str, key: &str, group: Option<&str>) {
    let found = cloud.find(Service::Image, "images", image).expect("the image");
    cloud.made(Service::Image, format!("/images/{}", found["id"].as_str().expect("an id")));
    cloud.made(Service::Compute, format!("/os-keypairs/{key}"));
    if let Some(group) = group {
        let id = cloud.id_of(Service::Network, "security-groups", group);
        cloud.made(Service::Network, format!("/security-groups/{id}"));
    }
}

/// What stays at the source.
fn remove_kept(cloud: &Cloud, report: &Value) {
    for kept in report["kept"].as_array().expect("a list").iter().filter(|kept| kept["provider"] == "cloud-a")
    {
        let id = kept["id"].as_str().expect("an id");
        match kept["kind"].as_str() {
            Some("image") => cloud.made(Service::Image, format!("/images/{id}")),
            _ => cloud.made(Service::Volume, format!("/snapshots/{id}")),
        }
    }
}

fn free_address(cloud: &Cloud) -> String {
    let outside = std::env::var("FLUIDCLOUD_TEST_FLOATING").unwrap_or_else(|_| "public".to_owned());
    let outside = cloud.id_of(Service::Network, "networks", &outside);
    let body = json!({"floatingip": {"floating_network_id": outside}});
    let made = cloud.call(Call::post(Service::Network, "/floatingips", "allocate a floating IP").json(body));
    cloud.made(
        Service::Network,
        format!("/floatingips/{}", made["floatingip"]["id"].as_str().expect("an id")),
    );
    made["floatingip"]["floating_ip_address"].as_str().expect("an address").to_owned()
}

#[test]
fn one_document_decides_everything_and_what_came_of_it_is_read_back() {
    let Some(clouds) = Clouds::open() else { return };
    let stack = stack(&clouds);
    let free = free_address(&clouds.b);
    let server = Server { volume: Some(None), script: application(), ..Server::new("story-s2d") };
    let (source, address) = clouds.a.make_server(&server);
    let before = state_at(&address);
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    let id = stack.relocate(CREATED);
    let status = stack.ended_within(&id, ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let report = &status["report"];
    remove_kept(&clouds.a, report);
    assert!(status["conditions"].to_string().contains("key_waits"), "{status:#}");

    // Read back from the target: what was asked for is what there is.
    let seen = overview(&stack, &id);
    let one = &seen["instances"][0];
    assert_eq!((&one["name"], &one["status"]), (&json!("story-s2d-moved"), &json!("ACTIVE")), "{seen:#}");
    assert_eq!(one["keypair"]["name"], "story-s2d-key", "{seen:#}");
    assert_eq!(one["security_groups"][0]["name"], "story-s2d-group", "{seen:#}");
    let rules = one["security_groups"][0]["rules"].as_array().expect("rules");
    assert!(rules.iter().any(lets_tcp_in), "{seen:#}");
    assert_eq!(one["volumes"].as_array().map(Vec::len), Some(2), "{seen:#}");
    let outside = floating(&seen);
    assert_eq!(outside, free, "the free one was taken");
    assert_eq!(state_at(&outside), before, "the same data");
    assert_eq!(clouds.a.power(&source), "SHUTOFF");
    let kept: Vec<(&Value, &Value)> = one["kept"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|kept| (&kept["provider"], &kept["name"]))
        .collect();
    for wanted in [
        ("cloud-b", "story-s2d-golden"),
        ("cloud-a", "story-s2d-before"),
        ("cloud-a", "story-s2d-before-vdb"),
    ] {
        let wanted = (&json!(wanted.0), &json!(wanted.1));
        assert!(kept.contains(&wanted), "no {wanted:?}: {seen:#}");
    }
    println!("{}", stack.cli(&["overview", &id]).succeeded());

    let image = clouds.b.find(Service::Image, "images", "story-s2d-golden").expect("the image");
    assert_eq!(
        (&image["disk_format"], &image["visibility"], &image["status"]),
        (&json!("vmdk"), &json!("shared"), &json!("active")),
        "{image:#}"
    );
    let snapshot = clouds.a.find(Service::Image, "images", "story-s2d-before").expect("the snapshot");
    assert_eq!(snapshot["status"], "active", "{snapshot:#}");

    // The private half comes once, and opens the guest.
    let key = stack.dir().join("key").display().to_string();
    let told = stack.cli(&["key", &id, "--output", &key]).succeeded();
    assert!(told.contains("story-s2d-key") && told.contains("cannot be downloaded again"), "{told}");
    assert!(logs_in(&key, &outside).contains("first boot of"));
    let again = stack.cli(&["key", &id]);
    assert!(again.code != Some(0) && again.stderr.contains("was handed out at"), "{again:#?}");
    assert!(again.stdout.is_empty(), "{again:#?}");
    let seen = overview(&stack, &id);
    assert!(seen["instances"][0]["keypair"]["private_half"]["taken_at"].is_string(), "{seen:#}");
    let secret = std::fs::read_to_string(&key).expect("the key");
    let secret = secret.lines().nth(2).expect("a line of it");
    for file in ["up.log", "state/relocations.sqlite", "state/relocations.sqlite-wal"] {
        let bytes = std::fs::read(stack.dir().join(file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{file}");
    }

    let made: Vec<String> = clouds.a.listing().difference(&listed_a).cloned().collect();
    assert_eq!(made.len(), 2, "the image and the snapshot of the volume: {made:#?}");
    let made: Vec<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    let scrap: Vec<&String> = made.iter().filter(|thing| thing.contains("fluidcloud-")).collect();
    // Two disks are called after the relocation.
    assert!(scrap.iter().all(|thing| thing.starts_with("volumes ")) && scrap.len() == 2, "{made:#?}");
    remove(&clouds.b, "story-s2d-golden", "story-s2d-key", Some("story-s2d-group"));
    clouds.b.remove_moved("story-s2d-moved");
    clouds.b.clear();
    let left: Vec<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    assert_eq!(left, [] as [&str; 0]);
}

/// Rules of the project's own group.
fn default_rules(cloud: &Cloud) -> Vec<Value> {
    let found = cloud.call(Call::get(Service::Network, "/security-groups", "list security groups"));
    let all = found["security_groups"].as_array().cloned().unwrap_or_default();
    let own = all.into_iter().find(|group| group["name"] == "default").expect("every project has one");
    own["security_group_rules"].as_array().cloned().unwrap_or_default()
}

#[test]
fn rules_go_into_the_default_group_and_out_again_with_an_undo() {
    let Some(clouds) = Clouds::open() else { return };
    let stack = stack(&clouds);
    let public = std::fs::read_to_string(clouds.key().join("key.pub")).expect("a public key");
    let document = IMPORTED.replace("@PUBLIC@", public.trim());
    let server = Server { on_volume: true, script: application(), ..Server::new("story-s2d-volume") };
    let (source, address) = clouds.a.make_server(&server);
    let before = state_at(&address);
    let rules = default_rules(&clouds.b);
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    let strict = document.replace("unchanged: state", "contains: nowhere, within_secs: 20");
    let status = stack.ended_within(&stack.relocate(&strict), ENDS_WITHIN);
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(status["failure"]["code"], "check_failed", "{status:#}");
    assert_eq!(clouds.b.listing(), listed_b, "the target's project is as it was found");
    assert_eq!(clouds.a.listing(), listed_a, "and so is the source's");
    assert_eq!(default_rules(&clouds.b).len(), rules.len(), "and its own group");
    assert_eq!(state_at(&address), before);

    let id = stack.relocate(&document);
    let status = stack.ended_within(&id, ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    remove_kept(&clouds.a, &status["report"]);
    assert_eq!(clouds.a.power(&source), "SHUTOFF");
    let seen = overview(&stack, &id);
    let one = &seen["instances"][0];
    let added: Vec<Value> = default_rules(&clouds.b)
        .into_iter()
        .filter(|rule| rule["description"].as_str().is_some_and(|told| told.contains(&id)))
        .collect();
    for rule in &added {
        let id = rule["id"].as_str().expect("an id");
        clouds.b.made(Service::Network, format!("/security-group-rules/{id}"));
    }
    assert!(added.iter().any(lets_tcp_in), "{added:#?}");
    assert_eq!(one["security_groups"][0]["name"], "default", "{seen:#}");
    assert_eq!(one["keypair"]["name"], "story-s2d-mine", "{seen:#}");
    let outside = floating(&seen);
    assert!(answers(&outside), "{seen:#}");
    assert!(logs_in(&clouds.key().join("key").display().to_string(), &outside).contains("first boot of"));
    let none = stack.cli(&["key", &id]);
    assert!(none.code != Some(0) && none.stderr.contains("created no key pair"), "{none:#?}");
    let image = clouds.b.find(Service::Image, "images", "story-s2d-raw").expect("the image");
    assert_eq!((&image["disk_format"], &image["visibility"]), (&json!("raw"), &json!("private")));
    remove(&clouds.b, "story-s2d-raw", "story-s2d-mine", None);
    clouds.b.remove_moved("story-s2d-volume");
}
