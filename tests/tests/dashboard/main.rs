//! The dashboard in a real browser, against a broker that watches a real relocation. What is looked at is told in
//! `tests/dashboard/dashboard.mjs`; here is only what it looks at.

use std::process::Command;

use fluidcloud_tests::cli::workspace;
use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::stack::Stack;

/// Slow enough that the copy is still under way when a browser has come up on a busy machine.
const REQUEST: &str = "version: 1
service:
  name: data
  provider: cloud-a
  components:
    - name: store
      instance: {id: data, guest: as_is, shutdown_secs: 1}
target: {provider: cloud-b}
transport: {kind: tcp, rate_bytes_per_sec: 1048576}
";
const DATA_MIB: u64 = 96;

#[test]
fn a_running_relocation_is_seen_by_who_has_a_token_and_by_nobody_else() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", DATA_MIB);
    let stack = Stack::embedded(&lab);
    let token = stack.cli(&["token", "create", "browser", "--role", "operator"]).succeeded();
    let id = stack.relocate(REQUEST);
    let looked = Command::new(workspace().join("tests/dashboard/run"))
        .arg(stack.url())
        .args(["--wait", "240"])
        .env("FLUIDCLOUD_TOKEN", token.trim())
        .status()
        .expect("tests/dashboard/run starts");
    assert!(looked.success(), "see above");
    stack.cli(&["cancel", &id, "--wait"]);
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Canceled", "{status:#}");
}
