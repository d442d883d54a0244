//! Wrong input: a clear error that names the thing and the remedy, and nothing changed.

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::stack::Stack;

use crate::requests::data;

/// What is wrong, the change that makes it so, and words that the message must hold.
const WRONG: [(&str, &str, &str, &[&str]); 9] = [
    ("malformed", "version: 1", "version: [1", &["neither YAML nor JSON"]),
    ("unknown field", "mode: cold", "colour: blue", &["colour"]),
    ("unknown version", "version: 1", "version: 7", &["version 7", "version 1"]),
    ("unknown provider", "provider: cloud-a", "provider: cloud-z", &["cloud-z", "fluidcloud providers"]),
    ("unknown target", "provider: cloud-b", "provider: cloud-y", &["cloud-y"]),
    ("unknown instance", "id: data", "id: nobody", &["nobody", "cloud-a"]),
    ("cyclic dependency", "name: store", "name: store\n      needs: [store]", &["store -> store"]),
    (
        "bad regex",
        "guest: as_is",
        "guest: as_is, rewrite: [{file: /etc/x, match: '(unclosed', replace: ''}]",
        &["(unclosed", "unclosed group"],
    ),
    ("same place", "provider: cloud-b", "provider: cloud-a", &["cloud-a"]),
];

#[test]
fn wrong_requests_are_refused_with_the_thing_and_the_remedy() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 4);
    let stack = Stack::embedded(&lab);
    let right = format!("{}mode: cold\n", data(None, "tcp"));
    for (what, from, to, words) in WRONG {
        let text = right.replacen(from, to, 1);
        assert_ne!(text, right, "{what}: the request does not differ");
        let file = stack.request("wrong.yaml", &text);
        let said = stack.cli(&["relocate", &file, "--wait"]);
        assert!(!matches!(said.code, Some(0) | None), "{what}: {said:#?}");
        let told = format!("{}{}", said.stdout, said.stderr);
        for word in words {
            assert!(told.contains(word), "{what}: {word:?} is not in {told}");
        }
        println!("{what}: {}", said.stderr.lines().last().unwrap_or_default());
    }
    assert_eq!(lab.power("a", "data"), "running");
    assert_eq!(lab.pool("b"), Vec::<String>::new());
}

#[test]
fn a_name_that_is_taken_at_the_target_is_refused_before_the_source_is_touched() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 4);
    lab.host(
        "b",
        "printf \"<domain type='qemu'><name>data</name><memory unit='MiB'>16</memory>\
         <os><type arch='x86_64' machine='q35'>hvm</type></os></domain>\" > /tmp/d.xml && virsh define /tmp/d.xml",
    );
    let stack = Stack::embedded(&lab);
    let id = stack.relocate(&data(None, "tcp"));
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Failed", "{status:#}");
    assert_eq!(status["failure"]["code"], "name_taken", "{status:#}");
    assert_eq!(lab.power("a", "data"), "running");
    assert_eq!(lab.power("b", "data"), "shut off", "the foreign instance is still there");
    assert_eq!(lab.pool("b"), Vec::<String>::new());
}

#[test]
fn a_wrong_host_key_of_a_site_is_refused_before_the_source_is_touched() {
    let Some(lab) = Lab::empty() else { return };
    lab.data_instance("data", 4);
    let mut stack = Stack::embedded(&lab);
    let config = stack.dir().join("fluidcloud.yaml");
    let text = std::fs::read_to_string(&config).expect("the configuration");
    let known = stack.dir().join("known_hosts");
    // A key that neither host has.
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB0vYyB0aGlzIGlzIG5vdCB0aGUgaG9zdCBrZXkhISEh";
    std::fs::write(&known, format!("10.213.1.2 {key}\n10.213.2.2 {key}\n")).expect("a writable directory");
    let start = text.find("known_hosts: ").expect("a site with known hosts") + "known_hosts: ".len();
    let end = start + text[start..].find('}').expect("the end of the ssh part");
    let old = text[start..end].to_owned();
    std::fs::write(&config, text.replace(&old, &known.display().to_string())).expect("a writable directory");
    stack.kill9("up");
    stack.start("up", &["up"]);
    stack.answers();
    let id = stack.relocate(&data(None, "tcp"));
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Failed", "{status:#}");
    assert_eq!(status["failure"]["code"], "host_key", "{status:#}");
    assert_eq!(lab.power("a", "data"), "running");
    assert_eq!(lab.pool("b"), Vec::<String>::new());
}
