//! From one project to another, as between two clouds: a server with its volume, and one that boots from a volume.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;

use fluidcloud_tests::cli::Said;
use fluidcloud_tests::openstack::{Clouds, ENDS_WITHIN, Server};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::timed::{Timed, steps};

/// Writes its data at the first boot, and serves a digest of what the disks hold.
const APPLICATION: &str = r#"#!/bin/sh
if [ ! -e /www/mark ]; then
    echo "first boot of $(hostname)" >/www/mark
    [ ! -b /dev/vdb ] || dd if=/dev/urandom of=/dev/vdb bs=1M count=24 seek=7 conv=fsync 2>/dev/null
    cat >/www/cgi-bin/state <<'END'
#!/bin/sh
printf 'Content-type: application/json\r\n\r\n'
[ -b /dev/vdb ] && disk=$(dd if=/dev/vdb bs=1M count=40 2>/dev/null | md5sum | cut -d' ' -f1)
printf '{"state": "%s %s"}\n' "$(md5sum </www/mark | cut -d' ' -f1)" "$disk"
END
    chmod +x /www/cgi-bin/state
    sync
fi
"#;

/// What the application answers at an address.
pub fn state_at(address: &str) -> String {
    let url = format!("http://{address}/cgi-bin/state");
    wait::until("the application answers", Duration::from_secs(180), || {
        let said = Said::of(Command::new("curl").args(["-fsS", "--max-time", "20", &url]));
        let answer: Value = serde_json::from_str(&said.stdout).ok()?;
        answer["state"].as_str().map(str::to_owned)
    })
}

pub fn application() -> String {
    APPLICATION.to_owned()
}

pub fn request(name: &str) -> String {
    format!(
        r#"version: 1
service:
  name: web
  provider: cloud-a
  components:
    - name: web
      instance: {{id: {name}, guest: as_is, shutdown_secs: 20}}
target: {{provider: cloud-b}}
verify:
  - component: web
    http: {{port: 80, path: /cgi-bin/state, unchanged: state}}
"#
    )
}

#[test]
fn a_server_with_its_volume_moves_to_another_project_and_leaves_nothing_else_behind() {
    moves(Server { volume: Some(None), script: application(), ..Server::new("story-web") });
}

#[test]
fn a_server_that_boots_from_a_volume_moves_to_another_project() {
    moves(Server { on_volume: true, script: application(), ..Server::new("story-volume-backed") });
}

fn moves(server: Server) {
    let Some(clouds) = Clouds::open() else { return };
    moves_between(&clouds, &clouds.config(), &server);
}

pub fn moves_between(clouds: &Clouds, config: &str, server: &Server) {
    let timed = Timed::new(&server.name);
    clouds.b.open_group();
    let stack = Stack::embedded_with(config);
    let (id, address) = clouds.a.make_server(server);
    let before = state_at(&address);
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    timed.mark("it runs at the source");
    let relocation = stack.relocate(&request(&server.name));
    let status = stack.ended_within(&relocation, ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    println!("{}", steps(&status));
    timed.mark("moved");
    let report = &status["report"];
    let disks = 1 + usize::from(server.volume.is_some());
    let transfers = report["transfers"].as_array().expect("transfers");
    assert_eq!(transfers.len(), disks, "{report:#}");
    assert!(transfers.iter().all(|transfer| transfer["verified"] == true), "{report:#}");
    assert_eq!(state_at(outside_of(&status)), before, "the same data");
    assert_eq!(clouds.a.power(&id), "SHUTOFF", "the source stays, off");

    assert_eq!(clouds.a.listing(), listed_a, "nothing of the move is left at the source");
    let made: BTreeSet<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    let count = |kind: &str| made.iter().filter(|thing| thing.starts_with(kind)).count();
    let kinds = ["servers ", "volumes ", "ports ", "floatingips "].map(count);
    // A port belongs to the address outside too.
    assert_eq!((kinds[0], kinds[1]), (1, disks), "{made:#?}");
    assert_eq!(made.len(), kinds.iter().sum::<usize>(), "nothing but the server and its own: {made:#?}");
    clouds.b.remove_moved(&server.name);
    clouds.b.clear();
    let left = clouds.b.listing();
    assert!(left.is_subset(&listed_b), "{:#?}", left.difference(&listed_b).collect::<Vec<_>>());
}

/// Where what has moved answers: its own address inside is not reached from here, the one outside is.
pub fn outside_of(status: &Value) -> &str {
    let addresses = status["report"]["target"]["addresses"].as_array().expect("addresses");
    addresses.iter().filter_map(Value::as_str).find(|one| answers(one)).expect("it answers")
}

pub fn answers(address: &str) -> bool {
    let url = format!("http://{address}/cgi-bin/state");
    Said::of(Command::new("curl").args(["-fsS", "--max-time", "20", &url])).code == Some(0)
}
