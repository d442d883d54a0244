//! What persons hold back: a copy that is paused in its middle goes on where it was, and a source runs until its cutover is
//! approved.

use std::time::Duration;

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::stack::{ENDS_WITHIN, Stack};
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::kills::{RESENT_MAX, one_runs_and_is_whole};
use crate::requests::{DATA_MIB, SLOW_BYTES_PER_SEC, data};

/// A worker that is told to stop leaves no process behind within this.
const RESTS_WITHIN: Duration = Duration::from_secs(60);
/// Longer than anything goes on by itself that should not.
const A_WHILE: Duration = Duration::from_secs(15);

fn has(status: &Value, condition: &str) -> bool {
    status["conditions"].as_array().is_some_and(|all| all.iter().any(|told| told == condition))
}

fn no_viaduct_runs(lab: &Lab) -> bool {
    ["a", "b"].iter().all(|cloud| lab.pids(cloud, "viaduct").is_empty())
}

fn paused_in_mid_copy(lab: &Lab) -> (Stack, String) {
    let stack = Stack::embedded(lab);
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    let status = stack.mid_copy(&id);
    assert!(status["rate_bytes_per_sec"].as_u64().is_some_and(|rate| rate > 0), "{status:#}");
    assert!(status["eta_seconds"].is_u64(), "{status:#}");
    stack.cli(&["pause", &id]).succeeded();
    wait::until("nothing of it runs at the sites", RESTS_WITHIN, || no_viaduct_runs(lab).then_some(()));
    (stack, id)
}

#[test]
fn a_copy_that_is_paused_in_its_middle_rests_and_sends_nothing_again_that_was_durable() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let (stack, id) = paused_in_mid_copy(&lab);
    let steps = |status: &Value| status["steps"].clone();
    // The worker has still to say that it has stopped.
    let at_rest = wait::until("its copy is at rest", RESTS_WITHIN, || {
        let status = stack.status(&id)?;
        let runs = status["steps"].as_array()?.iter().any(|step| step["state"] == "running");
        (!runs).then_some(status)
    });
    assert!(has(&at_rest, "paused") && at_rest["eta_seconds"].is_null(), "{at_rest:#}");
    std::thread::sleep(A_WHILE);
    let later = stack.status(&id).expect("a status");
    assert_eq!(steps(&later), steps(&at_rest), "nothing is begun, and nothing counts");
    assert!(no_viaduct_runs(&lab));
    assert!(stack.cli(&["status", &id]).succeeded().contains(&format!("fluidcloud resume {id}")));

    stack.cli(&["resume", &id]).succeeded();
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let transfer = &status["report"]["transfers"][0];
    let (wire, bytes) = (transfer["bytes_on_wire"].as_u64().expect("a number"), DATA_MIB << 20);
    // A worker tells once a second: what it moved between its last word and its end is missing in the sum.
    assert!(wire + SLOW_BYTES_PER_SEC >= bytes, "{wire} bytes cannot hold {bytes} that do not compress");
    assert!(wire < bytes + RESENT_MAX, "{wire} bytes crossed for {bytes}: durable bytes were sent again");
    println!("{DATA_MIB} MiB of data, {:.1} MiB on the wire", wire as f64 / 1048576.0);
    one_runs_and_is_whole(&lab, &id, &source_digest);
}

#[test]
fn a_paused_copy_is_still_paused_after_kill_9_and_a_cancel_of_it_starts_the_source_again() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let (mut stack, id) = paused_in_mid_copy(&lab);
    stack.kill9("up");
    stack.start("up", &["up"]);
    stack.answers();
    let status = wait::until("the relocation is known again", ENDS_WITHIN, || stack.status(&id));
    assert!(has(&status, "paused"), "{status:#}");
    std::thread::sleep(A_WHILE);
    assert!(no_viaduct_runs(&lab));
    stack.cli(&["cancel", &id]).succeeded();
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Canceled", "{status:#}");
    assert_eq!((lab.power("a", "data").as_str(), lab.power("b", "data").as_str()), ("running", ""));
    assert_eq!(lab.pool("b"), Vec::<String>::new(), "the target is as it was found");
}

#[test]
fn a_source_runs_until_its_cutover_is_approved() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 8);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    let id = stack.relocate(&format!("{}cutover: manual\n", data(None, "tcp")));
    let status = wait::until("everything is ready", ENDS_WITHIN, || {
        let status = stack.status(&id)?;
        (status["phase"] == "AwaitingCutover").then_some(status)
    });
    assert!(status["eta_seconds"].is_null(), "{status:#}");
    assert_eq!(status["parts"][0]["name"], "data", "{status:#}");
    assert_eq!(lab.pool("b").len(), 1, "its disk is prepared");
    std::thread::sleep(A_WHILE);
    assert_eq!(lab.power("a", "data"), "running");
    assert_eq!(stack.status(&id).expect("a status")["phase"], "AwaitingCutover");
    assert!(stack.cli(&["status"]).succeeded().contains(&format!("fluidcloud approve {id}")));

    stack.cli(&["approve", &id]).succeeded();
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    one_runs_and_is_whole(&lab, &id, &source_digest);
}
