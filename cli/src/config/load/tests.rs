//! What a configuration file may hold, and how it is refused.

use std::fs;

use super::*;
use crate::fault::Exit;

const PROVIDER: &str = "
  - id: cloud-a
    driver: libvirt
    uri: qemu:///system
    site: {ssh: {host: h, user: root, key: keys/id, known_hosts: /etc/hosts.known}, address: 10.0.0.1}
    shape: {machine: pc, disk_bus: ide, nic: e1000, format: qcow2}
    labels: {Tier: gold, floor: 3}
";

fn loaded(name: &str, text: &str) -> (tempfile::TempDir, Result<Config, Fault>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    fs::write(&file, text).unwrap();
    let config = load(Some(&file));
    (dir, config)
}

fn refusal(text: &str) -> String {
    let (dir, config) = loaded("fluidcloud.yaml", text);
    let fault = config.unwrap_err();
    assert_eq!(fault.exit, Exit::Usage);
    fault.to_string().replace(&dir.path().display().to_string(), "DIR")
}

#[test]
fn what_is_left_out_has_a_default() {
    let (_dir, config) = loaded("fluidcloud.yaml", "");
    let config = config.unwrap();
    assert_eq!(config.state, Path::new("/var/lib/fluidcloud"));
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:7411");
    assert!(config.amqp_url().is_none());
    assert_eq!(config.workers.kinds.len(), 4);
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let (dir, config) = loaded("fluidcloud.yaml", &format!("state: here\nproviders:{PROVIDER}"));
    let config = config.unwrap();
    assert_eq!(config.state, dir.path().join("here"));
    let ssh = config.providers[0].site.as_ref().unwrap().ssh.as_ref().unwrap();
    assert_eq!(ssh.key, dir.path().join("keys/id"));
    assert_eq!(ssh.known_hosts, Path::new("/etc/hosts.known"));
}

#[test]
fn labels_keep_their_case_and_become_text() {
    let (_dir, config) = loaded("fluidcloud.yaml", &format!("providers:{PROVIDER}"));
    let labels = config.unwrap().providers.remove(0).labels;
    assert_eq!(labels, [("Tier".to_owned(), "gold".to_owned()), ("floor".to_owned(), "3".to_owned())].into());
}

#[test]
fn json_is_read_too() {
    let (dir, config) = loaded("c.json", r#"{"state": "s", "http": {"listen": "[::1]:1"}}"#);
    let config = config.unwrap();
    assert_eq!(config.state, dir.path().join("s"));
    assert_eq!(config.http.listen.to_string(), "[::1]:1");
}

#[test]
fn the_url_of_the_bus_comes_from_a_file_and_is_never_shown_whole() {
    let (dir, _) = loaded("bus", "amqp://me:s3cret@bus.example:5672/%2f\nsecond line\n");
    let file = dir.path().join("fluidcloud.yaml");
    fs::write(&file, "bus: {amqp: {url_file: bus}}").unwrap();
    let config = load(Some(&file)).unwrap();
    assert_eq!(config.amqp_url().unwrap().to_string(), "amqp://bus.example:5672/");
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn an_unknown_key_is_refused_by_its_name() {
    insta::assert_snapshot!(refusal("stat: /x"), @"configuration DIR/fluidcloud.yaml: unknown field `stat`, expected one of `state`, `http`, `bus`, `providers`, `workers`; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
    insta::assert_snapshot!(refusal("http: {lisen: 127.0.0.1:1}"), @"configuration DIR/fluidcloud.yaml: `http`: unknown field `lisen`, expected one of `listen`, `tls`, `url`, `ca`, `token_file`; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
    let in_a_list = refusal(&format!("providers:{PROVIDER}    zone: eu\n"));
    assert!(in_a_list.contains("`providers[0]`: unknown field `zone`, expected one of `id`"), "{in_a_list}");
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    insta::assert_snapshot!(refusal("http: {listen: here}"), @"configuration DIR/fluidcloud.yaml: `http.listen`: invalid socket address syntax; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
    insta::assert_snapshot!(refusal(&format!("providers:{}", PROVIDER.replace("libvirt", "vsphere"))), @"configuration DIR/fluidcloud.yaml: `providers[0].driver`: unknown variant `vsphere`, expected one of `libvirt`, `memory`, `openstack`; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
    insta::assert_snapshot!(refusal(&format!("providers:{}", PROVIDER.replace("id: cloud-a", "id: /x"))), @"configuration DIR/fluidcloud.yaml: `providers[0].id`: provider `/x` is not a valid name: use 1 to 63 of a-z A-Z 0-9 . _ - and start with a letter or digit; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
    insta::assert_snapshot!(refusal("providers:\n  - driver: memory"), @r#"configuration DIR/fluidcloud.yaml: missing configuration field "providers[0].id"; mend it there, or in the variable FLUIDCLOUD__… that stands over it"#);
}

#[test]
fn what_is_no_yaml_is_refused_with_its_line() {
    insta::assert_snapshot!(refusal("state: x\n  bus: [\n"), @"configuration DIR/fluidcloud.yaml: mapping values are not allowed in this context at byte 14 line 2 column 6; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
}

#[test]
fn the_bus_has_exactly_one_url() {
    insta::assert_snapshot!(refusal("bus: {amqp: {}}"), @"configuration DIR/fluidcloud.yaml: bus.amqp has neither url nor url_file; add one of them, or leave out bus.amqp to run over memory");
    insta::assert_snapshot!(refusal("bus: {amqp: {url: amqp://h, url_file: f}}"), @"configuration DIR/fluidcloud.yaml: bus.amqp has both url and url_file; leave one of them out");
    insta::assert_snapshot!(refusal("bus: {amqp: {url_file: nowhere}}"), @"cannot read bus.amqp.url_file DIR/nowhere: No such file or directory (os error 2); write the url of the bus into it");
    for misplaced in
        ["bus: 'amqp://me:s3cret@h/x'", "state: {url: 'amqp://me:s3@cret@h'}", "http: 'amqp://me:s3cret@'"]
    {
        let told = refusal(misplaced);
        assert!(!told.contains("s3") && !told.contains("cret"), "{told}");
    }
    let wrong = refusal("bus: {amqp: {url: 'http://me:s3cret@h'}}");
    assert!(!wrong.contains("s3cret"), "{wrong}");
    insta::assert_snapshot!(wrong, @"configuration DIR/fluidcloud.yaml: `bus.amqp.url`: the url of the bus is not valid, the scheme of it cannot be read: write it as amqp://USER@HOST:PORT/VHOST, or amqps:// for TLS; mend it there, or in the variable FLUIDCLOUD__… that stands over it");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let fault = load(Some(Path::new("/nowhere/fluidcloud.yaml"))).unwrap_err();
    insta::assert_snapshot!(fault.to_string(), @"cannot read the configuration /nowhere/fluidcloud.yaml: No such file or directory (os error 2); name a file that exists with --config FILE or FLUIDCLOUD_CONFIG");
}
