//! The main job: the shop of the FluidCloud paper leaves cloud-a, comes up in cloud-b built differently, and comes
//! home again.

use std::process::Command;
use std::time::Duration;

use fluidcloud_tests::cli::{Said, workspace};
use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

fn digest_at(address: &str) -> Value {
    let url = format!("http://{address}:8080/digest");
    wait::until("the shop gives its digest", Duration::from_secs(180), || {
        let said = Said::of(Command::new("curl").args(["-fsS", "--max-time", "60", &url]));
        let answer: Value = serde_json::from_str(&said.stdout).ok()?;
        answer["digest"].is_string().then_some(answer)
    })
}

fn example(name: &str) -> String {
    workspace().join("deploy/examples").join(name).display().to_string()
}

fn report_of(said: Said) -> Value {
    serde_json::from_str(&said.succeeded()).expect("one JSON object on standard output")
}

#[test]
fn the_shop_moves_with_its_data_and_comes_home_again() {
    let Some(lab) = Lab::empty() else { return };
    lab.run(&["shop"]);
    let stack = Stack::embedded(&lab);
    let inspected: Value =
        serde_json::from_str(&stack.cli(&["inspect", "cloud-a", "shop", "--output", "json"]).succeeded())
            .expect("JSON");
    let before =
        digest_at(inspected["instances"][0]["instance"]["addresses"][0].as_str().expect("an address"));

    let report = report_of(stack.cli(&["relocate", &example("shop.yaml"), "--wait", "--output", "json"]));
    assert_eq!(report["state"], "Succeeded", "{report:#}");
    assert_eq!(report["transfers"].as_array().map(Vec::len), Some(2), "{report:#}");
    for transfer in report["transfers"].as_array().expect("transfers") {
        assert_eq!(transfer["verified"], true, "{transfer:#}");
    }
    let address = report["target"]["addresses"][0].as_str().expect("an address").to_owned();
    let after = digest_at(&address);
    assert_eq!(after["digest"], before["digest"]);
    assert_eq!(after["files"], before["files"]);
    assert_eq!(after["object"], before["object"], "the object store stayed and is reachable");
    assert_eq!(after["data"], "/srv/shop/shop");
    assert_eq!(after["interpreter"], "/usr/bin/node");
    assert_ne!(after["data"], before["data"]);
    assert_eq!(lab.power("a", "shop"), "shut off");
    assert_eq!(lab.power("b", "shop"), "running");
    let disks = lab.virsh("b", &["domblklist", "shop", "--details"]);
    assert_eq!(
        disks.matches("disk ").count(),
        1,
        "the volume is gone, its content is in the file system: {disks}"
    );
    assert_eq!(lab.pool("b").len(), 1, "nothing is left beside the disk: {:?}", lab.pool("b"));
    println!("downtime {} s", report["downtime_seconds"]);

    let home = report_of(stack.cli(&["relocate", &example("shop-back.yaml"), "--wait", "--output", "json"]));
    assert_eq!(home["state"], "Succeeded", "{home:#}");
    let back = digest_at(home["target"]["addresses"][0].as_str().expect("an address"));
    assert_eq!(back["digest"], before["digest"]);
    assert_eq!(lab.power("a", "shop-home"), "running");
    assert_eq!(lab.power("b", "shop"), "shut off");
}

#[test]
fn a_rewrite_that_matches_nothing_stops_before_the_source_is_touched() {
    let Some(lab) = Lab::empty() else { return };
    lab.run(&["shop"]);
    let stack = Stack::embedded(&lab);
    let text = std::fs::read_to_string(example("shop.yaml")).expect("the example");
    let id = stack.relocate(&text.replace("/mnt/volume/shop\"'", "/mnt/no-such/shop\"'"));
    let status = stack.ended(&id);
    assert!(matches!(status["phase"].as_str(), Some("Failed" | "RolledBack")), "{status:#}");
    assert_eq!(status["failure"]["code"], "nothing_matched", "{status:#}");
    assert!(
        status["failure"]["message"].as_str().is_some_and(|told| told.contains("/etc/shop/shop.json")),
        "{status:#}"
    );
    assert!(status["report"]["downtime_seconds"].is_null(), "the source never stopped: {status:#}");
    assert_eq!(lab.power("a", "shop"), "running");
    assert_eq!(lab.pool("b"), Vec::<String>::new());
}
