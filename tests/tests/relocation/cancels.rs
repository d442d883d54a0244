//! A cancel at any moment: what was begun is undone, the target is as it was found, and the source runs.

use std::time::Duration;

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::requests::{DATA_MIB, SLOW_BYTES_PER_SEC, data};

fn nothing_moved(lab: &Lab, source_digest: &str) {
    assert_eq!(lab.power("a", "data"), "running");
    assert_eq!(lab.power("b", "data"), "");
    assert_eq!(lab.pool("b"), Vec::<String>::new(), "the target is as it was found");
    assert_eq!(lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2"), source_digest);
}

#[test]
fn a_cancel_in_mid_copy_starts_the_source_again_and_leaves_nothing() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    lab.virsh("a", &["autostart", "data"]);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    stack.mid_copy(&id);
    assert_eq!(lab.power("a", "data"), "shut off");
    assert!(!starts_by_itself(&lab), "should its host reboot now, it must not run beside the target");
    stack.cli(&["cancel", &id]).succeeded();
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Canceled", "{status:#}");
    nothing_moved(&lab, &source_digest);
    assert!(starts_by_itself(&lab), "as before");
    assert!(status["report"]["downtime_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{status:#}");
}

fn starts_by_itself(lab: &Lab) -> bool {
    let info = lab.virsh("a", &["dominfo", "data"]);
    info.lines().any(|line| line.starts_with("Autostart:") && line.ends_with("enable"))
}

#[test]
fn a_source_that_ran_and_wrote_in_mid_copy_undoes_the_relocation() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    stack.mid_copy(&id);
    // As a guest that somebody started and stopped again: written to, though what is there is the same.
    lab.host(
        "a",
        "cd /var/lib/libvirt/images && dd if=data.qcow2 of=data.qcow2 bs=1 count=4 conv=notrunc status=none",
    );
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(status["failure"]["code"], "source_changed", "{status:#}");
    nothing_moved(&lab, &source_digest);
}

#[test]
fn a_cancel_right_after_the_request_leaves_everything_as_it_was() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 8);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    let id = stack.relocate(&data(None, "tcp"));
    wait::until("the cancel is taken", Duration::from_secs(20), || {
        (stack.cli(&["cancel", &id]).code == Some(0)).then_some(())
    });
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Canceled", "{status:#}");
    nothing_moved(&lab, &source_digest);
}

#[test]
fn a_target_disk_that_fills_up_undoes_the_relocation() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::embedded(&lab);
    // A pool with room for less than the data, which is seen at once, then one that only fills up later.
    let small = SmallPool::mounted(&lab);
    let id = stack.relocate(&data(None, "tcp"));
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Failed", "{status:#}");
    assert_eq!(status["failure"]["code"], "no_offer", "{status:#}");
    nothing_moved(&lab, &source_digest);

    lab.host("b", "mount -o remount,size=130M /var/lib/libvirt/images && virsh pool-refresh default");
    // The broker looks at what is free every few seconds.
    wait::until("the broker sees the room", Duration::from_secs(60), || {
        let status = stack.cli(&["status", "--output", "json"]).succeeded();
        let status: Value = serde_json::from_str(&status).expect("JSON");
        let providers = status["providers"].as_array().expect("providers");
        let target = providers.iter().find(|provider| provider["id"] == "cloud-b").expect("cloud-b");
        target["capacity"]["disk_bytes"].as_u64().is_some_and(|free| free > (DATA_MIB << 20)).then_some(())
    });
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    stack.mid_copy(&id);
    lab.host("b", "dd if=/dev/zero of=/var/lib/libvirt/images/other bs=1M 2>/dev/null; true");
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "RolledBack", "{status:#}");
    assert_eq!(status["failure"]["code"], "no_room", "{status:#}");
    lab.host("b", "rm /var/lib/libvirt/images/other");
    nothing_moved(&lab, &source_digest);
    drop(small);
}

/// A small file system over cloud-b's pool, gone when dropped.
struct SmallPool<'a>(&'a Lab);

impl<'a> SmallPool<'a> {
    fn mounted(lab: &'a Lab) -> Self {
        lab.host(
            "b",
            "mount -t tmpfs -o size=64M small /var/lib/libvirt/images && virsh pool-refresh default",
        );
        Self(lab)
    }
}

impl Drop for SmallPool<'_> {
    fn drop(&mut self) {
        self.0.host("b", "umount -l /var/lib/libvirt/images; virsh pool-refresh default");
    }
}
