//! kill -9 of every process on the way, in mid-copy: the relocation ends by itself, exactly one instance runs, the
//! bytes are the same, and what was durable did not cross the line again.

use std::process::Command;

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::rabbitmq::RabbitMq;
use fluidcloud_tests::stack::{MID_COPY_BYTES, Stack};
use serde_json::Value;

use crate::requests::{DATA_MIB, SLOW_BYTES_PER_SEC, data};

/// What may be in flight when an end dies and is sent again: streams times blocks in flight, and what the journal
/// notes once a second. Less than had crossed by then: a copy that starts over is found out.
pub const RESENT_MAX: u64 = 32 << 20;
const _: () = assert!(RESENT_MAX < MID_COPY_BYTES);

struct Story {
    // Dropped in this order: the next story has the lab when nothing of this one runs any more.
    stack: Stack,
    rabbit: RabbitMq,
    lab: Lab,
    id: String,
    source_digest: String,
}

impl Story {
    /// A relocation over RabbitMQ with every part a process of its own, in mid-copy.
    fn in_mid_copy() -> Option<Self> {
        let lab = Lab::empty()?;
        let rabbit = RabbitMq::start()?;
        lab.data_instance("data", DATA_MIB);
        let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
        let stack = Stack::processes(&lab, &rabbit.url());
        let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
        stack.mid_copy(&id);
        Some(Self { lab, rabbit, stack, id, source_digest })
    }

    fn ends_well(self) {
        let status = self.stack.ended(&self.id);
        assert_eq!(status["phase"], "Succeeded", "{status:#}");
        let report = &status["report"];
        let transfer = &report["transfers"][0];
        assert_eq!(transfer["verified"], true, "{transfer:#}");
        let wire = transfer["bytes_on_wire"].as_u64().expect("a number");
        let data = DATA_MIB << 20;
        // What crossed after the last word of a worker that was killed is not counted: it speaks once a second.
        let counted = data - SLOW_BYTES_PER_SEC;
        assert!(wire >= counted, "{wire} bytes cannot hold {data} that do not compress");
        assert!(wire < data + RESENT_MAX, "{wire} bytes crossed for {data}: durable bytes were sent again");
        println!("{} MiB of data, {:.1} MiB on the wire", DATA_MIB, wire as f64 / 1048576.0);
        one_runs_and_is_whole(&self.lab, &self.id, &self.source_digest);
    }
}

/// The source is stopped and kept as it was, the target runs on the same bytes, and nothing else is left.
pub fn one_runs_and_is_whole(lab: &Lab, id: &str, source_digest: &str) {
    assert_eq!(lab.power("a", "data"), "shut off");
    assert_eq!(lab.power("b", "data"), "running");
    assert_eq!(lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2"), source_digest);
    let pool = lab.pool("b");
    assert_eq!(pool.len(), 1, "one disk and nothing beside it: {pool:?}");
    assert!(pool[0].contains(id), "{pool:?}");
    assert_eq!(lab.content("b", &format!("/var/lib/libvirt/images/{}", pool[0]), "raw"), source_digest);
    for cloud in ["a", "b"] {
        assert_eq!(lab.pids(cloud, "viaduct"), Vec::<u32>::new(), "processes left in cloud-{cloud}");
    }
}

/// kill -9 by pid; the processes were found in a namespace that the lab made.
fn kill9(pids: &[u32]) {
    assert!(!pids.is_empty(), "nothing to kill: the copy is not running");
    for pid in pids {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
    }
}

#[test]
fn a_conduit_killed_in_mid_copy_goes_on_when_it_is_started_again() {
    let Some(mut story) = Story::in_mid_copy() else { return };
    story.stack.kill9("conduit");
    story.stack.start("conduit", &["conduit"]);
    story.ends_well();
}

#[test]
fn a_migrator_killed_in_mid_copy_is_replaced_when_it_is_started_again() {
    let Some(mut story) = Story::in_mid_copy() else { return };
    story.stack.kill9("migrator");
    story.stack.start("migrator", &["migrator", "image", "volume", "rewrite"]);
    story.ends_well();
}

#[test]
fn a_sender_killed_in_mid_copy_resumes() {
    let Some(story) = Story::in_mid_copy() else { return };
    kill9(&story.lab.pids("a", " send "));
    story.ends_well();
}

#[test]
fn a_receiver_killed_in_mid_copy_resumes() {
    let Some(story) = Story::in_mid_copy() else { return };
    kill9(&story.lab.pids("b", " receive "));
    story.ends_well();
}

#[test]
fn a_rabbitmq_killed_in_mid_copy_loses_nothing() {
    let Some(mut story) = Story::in_mid_copy() else { return };
    story.rabbit.kill9();
    story.rabbit.start_again();
    story.ends_well();
}

#[test]
fn an_embedded_fluidcloud_killed_in_mid_copy_goes_on_when_it_is_started_again() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let mut stack = Stack::embedded(&lab);
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    stack.mid_copy(&id);
    stack.kill9("up");
    stack.start("up", &["up"]);
    stack.answers();
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    one_runs_and_is_whole(&lab, &id, &source_digest);
}

#[test]
fn the_same_request_twice_is_one_relocation_and_another_body_is_refused() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 8);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    let id = "6f1c6f2e-3c6e-4d36-9e0b-0d7a3f6f1a01";
    let request = crate::requests::with_id(&data(None, "ssh"), id);
    assert_eq!(stack.relocate(&request), id);
    assert_eq!(stack.relocate(&request), id);
    let status = stack.ended(id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let file = stack.request("again.yaml", &request);
    let said = stack.cli(&["relocate", &file, "--wait", "--output", "json"]).succeeded();
    let report: Value = serde_json::from_str(&said).expect("one JSON object");
    assert_eq!(report["id"], id, "a third time is answered from the log");

    let other = stack.request("other.yaml", &request.replace("kind: ssh", "kind: tcp"));
    let said = stack.cli(&["relocate", &other, "--wait", "--output", "json"]);
    assert_ne!(said.code, Some(0), "{said:#?}");
    assert!(said.stderr.contains(id), "{said:#?}");
    one_runs_and_is_whole(&lab, id, &source_digest);
}
