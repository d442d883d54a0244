//! Two servers that depend on each other move as one: each finds the other by an address in its configuration, which is another
//! one at the target.

use std::collections::BTreeSet;
use std::process::Command;
use std::thread;
use std::time::Duration;

use fluidcloud_tests::cli::Said;
use fluidcloud_tests::openstack::{Clouds, ENDS_WITHIN, Server};
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;
use serde_json::Value;

use crate::timed::Timed;

const NAMES: [&str; 2] = ["front", "back"];

/// Made at the first boot: data of its own, the other's address in a configuration file, and a page that answers with both
/// data, or not well as long as the other is not reached. Nothing else in the guest knows an address.
const APPLICATION: &str = r#"#!/bin/sh
[ ! -e /etc/pair.conf ] || exit 0
printf 'NAME="Guest of a pair"\nID=pair\n' >/etc/os-release
dd if=/dev/urandom of=/www/data bs=64k count=32 2>/dev/null
cat >/www/cgi-bin/state <<'END'
#!/bin/sh
peer=$(sed -n 's/^peer = //p' /etc/pair.conf)
theirs=$(mktemp /tmp/theirs.XXXXXX)
if timeout 8 wget -q -O "$theirs" "http://$peer/data"; then
    printf 'Content-type: application/json\r\n\r\n'
else
    printf 'Status: 503 Service Unavailable\r\nContent-type: application/json\r\n\r\n'
fi
digest() { md5sum <"$1" | cut -d' ' -f1; }
printf '{"state": "%s %s", "peer": "%s"}\n' "$(digest /www/data)" "$(digest "$theirs")" "$peer"
rm -f "$theirs"
END
chmod +x /www/cgi-bin/state
cat >/etc/pair.conf <<'END'
# Where the other one is.
peer = @PEER@
END
sync
"#;

const REQUEST: &str = r#"version: 1
service:
  name: pair
  provider: cloud-a
  components:
    - name: front
      instance:
        id: story-front
        guest: as_is
        shutdown_secs: 20
        rewrite: [{file: /etc/pair.conf, match: '(?m)^(peer = ).*$', replace: '${1}{{address:back}}'}]
    - name: back
      instance:
        id: story-back
        guest: as_is
        shutdown_secs: 20
        rewrite: [{file: /etc/pair.conf, match: '(?m)^(peer = ).*$', replace: '${1}{{address:front}}'}]
target: {provider: cloud-b}
verify:
  - {component: front, http: {port: 80, path: /cgi-bin/state, unchanged: state}}
  - {component: back, http: {port: 80, path: /cgi-bin/state, unchanged: state}}
"#;

/// What one of them answers, when it has reached the other.
fn answer(address: &str) -> Value {
    let url = format!("http://{address}/cgi-bin/state");
    wait::until("it has reached the other one", Duration::from_secs(180), || {
        let said = Said::of(Command::new("curl").args(["-fsS", "--max-time", "20", &url]));
        (said.code == Some(0)).then(|| serde_json::from_str(&said.stdout).expect("JSON"))
    })
}

/// Address of each outside, and its digests with the other's address inside.
struct Seen {
    own: [String; 2],
    of_the_other: [String; 2],
    peer: [String; 2],
}

impl Seen {
    fn at(outside: &[String; 2]) -> Self {
        let [front, back] = [answer(&outside[0]), answer(&outside[1])];
        let text = |value: &Value, key: &str| value[key].as_str().expect("a text").to_owned();
        let digests = |value: &Value| {
            let (own, other) =
                text(value, "state").split_once(' ').map(|(a, b)| (a.into(), b.into())).expect("two");
            (own, other)
        };
        let ((own_front, back_by_front), (own_back, front_by_back)) = (digests(&front), digests(&back));
        Self {
            own: [own_front, own_back],
            of_the_other: [back_by_front, front_by_back],
            peer: [text(&front, "peer"), text(&back, "peer")],
        }
    }

    /// Each has the other's data, not its own.
    fn holds(&self) {
        assert_ne!(self.own[0], self.own[1]);
        assert_eq!((&self.of_the_other[0], &self.of_the_other[1]), (&self.own[1], &self.own[0]));
    }
}

#[test]
fn two_servers_that_depend_on_each_other_move_as_one_and_find_each_other_again() {
    let _timed = Timed::new("two servers as one");
    let Some(clouds) = Clouds::open() else { return };
    clouds.b.open_group();
    let stack = Stack::embedded_with(&clouds.config());
    let ports = [clouds.a.make_port(), clouds.a.make_port()];
    let servers: Vec<Server> = (0..2)
        .map(|at| Server {
            on_volume: true,
            script: APPLICATION.replace("@PEER@", &ports[1 - at].1),
            port: Some(ports[at].0.clone()),
            ..Server::new(&format!("story-{}", NAMES[at]))
        })
        .collect();
    let made: Vec<(String, String)> = thread::scope(|scope| {
        let all: Vec<_> = servers.iter().map(|server| scope.spawn(|| clouds.a.make_server(server))).collect();
        all.into_iter().map(|one| one.join().expect("a server")).collect()
    });
    let before = Seen::at(&[made[0].1.clone(), made[1].1.clone()]);
    before.holds();
    let (listed_a, listed_b) = (clouds.a.listing(), clouds.b.listing());

    let status = stack.ended_within(&stack.relocate(REQUEST), ENDS_WITHIN);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let report = &status["report"];
    println!("{}", crate::timed::steps(&status));
    let transfers = report["transfers"].as_array().expect("transfers");
    assert!(transfers.len() == 2 && transfers.iter().all(|one| one["verified"] == true), "{report:#}");

    let names = NAMES.map(|name| format!("story-{name}"));
    let there = names.clone().map(|name| clouds.b.addresses_of(&name));
    let outside = there.clone().map(|(_, outside)| outside);
    let after = Seen::at(&outside);
    after.holds();
    assert_eq!((&after.own, &after.of_the_other), (&before.own, &before.of_the_other), "the same data");
    // By the address that the other one has now, which is not that of before.
    assert_eq!(after.peer, [there[1].0.clone(), there[0].0.clone()]);
    assert!(after.peer.iter().all(|peer| !before.peer.contains(peer)), "{:?} {:?}", after.peer, before.peer);
    for (id, _) in &made {
        assert_eq!(clouds.a.power(id), "SHUTOFF", "the sources stay, off");
    }

    assert_eq!(clouds.a.listing(), listed_a, "nothing of the move is left at the source");
    let made: BTreeSet<String> = clouds.b.listing().difference(&listed_b).cloned().collect();
    let count = |kind: &str| made.iter().filter(|thing| thing.starts_with(kind)).count();
    let kinds = ["servers ", "volumes ", "ports ", "floatingips "].map(count);
    assert_eq!((kinds[0], kinds[1]), (2, 2), "{made:#?}");
    assert_eq!(made.len(), kinds.iter().sum::<usize>(), "nothing but the servers and their own: {made:#?}");
    for name in &names {
        clouds.b.remove_moved(name);
    }
    clouds.b.clear();
    let left = clouds.b.listing();
    assert!(left.is_subset(&listed_b), "{:#?}", left.difference(&listed_b).collect::<Vec<_>>());
}
