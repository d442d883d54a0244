//! The binary as a user meets it: what it says, where, and with which exit code.

mod harness;

use std::io::Read;
use std::process::Stdio;

use harness::{Lone, exit, stderr, stdout};
use serde_json::Value;

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let told = Lone::new("").run(&["--help"]);
    assert_eq!(exit(&told), 0);
    let help = stdout(&told);
    for command in [
        "up",
        "conduit",
        "broker",
        "migrator",
        "providers",
        "inspect",
        "plan",
        "relocate",
        "status",
        "usage",
        "addresses",
        "cancel",
        "retry",
        "approve",
        "pause",
        "resume",
        "events",
        "schema",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} in {help}");
    }
    assert!(help.contains("5 nobody answers"), "{help}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    let lone = Lone::new("");
    for wrong in [
        &["relocated"][..],
        &["relocate"],
        &["cancel", "not-an-id"],
        &["migrator", "disk"],
        &["relocate", "f", "--timeout", "5"],
        &["relocate", "f", "--wait", "--timeout", "soon"],
    ] {
        let told = lone.run(wrong);
        assert_eq!(exit(&told), 2, "{wrong:?}: {}", stderr(&told));
        assert_eq!(stdout(&told), "", "{wrong:?}");
    }
}

#[test]
fn a_role_in_its_own_process_needs_rabbitmq_and_says_how() {
    let lone = Lone::new("providers: []");
    let told = lone.run(&["conduit"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: `fluidcloud conduit` meets the other parts over RabbitMQ, and DIR/fluidcloud.yaml names none; add `bus: {amqp: {url: amqp://…}}` to it, or run everything in one process with `fluidcloud up`");
    for role in [&["broker"][..], &["migrator", "image"]] {
        let told = lone.run(role);
        assert_eq!(exit(&told), 2);
        assert!(stderr(&told).contains("fluidcloud up"), "{}", stderr(&told));
    }
}

#[test]
fn without_a_configuration_a_role_says_where_it_looked() {
    let lone = Lone::new("");
    std::fs::remove_file(lone.config()).unwrap();
    let told = lone.run_bare(&["providers"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: there is no configuration: neither fluidcloud.yaml nor /etc/fluidcloud/fluidcloud.yaml exists; write one, or name it with --config FILE or FLUIDCLOUD_CONFIG");
    let told = lone.run(&["status"]);
    assert_eq!(exit(&told), 2, "a file that was named must be there");
    insta::assert_snapshot!(lone.error(&told), @"error: cannot read the configuration DIR/fluidcloud.yaml: No such file or directory (os error 2); name a file that exists with --config FILE or FLUIDCLOUD_CONFIG");
}

#[test]
fn where_nobody_listens_that_is_said_with_5() {
    let lone = Lone::new("");
    for command in [&["status"][..], &["events"], &["relocate", "request.yaml"]] {
        lone.write("request.yaml", harness::REQUEST);
        let told = lone.run(command);
        assert_eq!(exit(&told), 5, "{command:?}: {}", stderr(&told));
        assert_eq!(stdout(&told), "");
        assert!(stderr(&told).contains("start `fluidcloud up`"), "{}", stderr(&told));
    }
}

#[test]
fn the_environment_stands_over_the_file() {
    let lone = Lone::new("http: {listen: 127.0.0.1:1}");
    let told = lone.command(&["status"]).env("FLUIDCLOUD__HTTP__LISTEN", "127.0.0.1:2").output().unwrap();
    assert!(stderr(&told).contains("127.0.0.1:2 "), "{}", stderr(&told));
    let told = lone.command(&["status"]).env("FLUIDCLOUD__HTTP__LISEN", "127.0.0.1:2").output().unwrap();
    assert_eq!(exit(&told), 2);
    assert!(stderr(&told).contains("lisen"), "{}", stderr(&told));
}

#[test]
fn an_api_that_other_hosts_can_reach_is_refused() {
    let lone = Lone::new(&format!("http: {{listen: '0.0.0.0:0'}}\nstate: s\n{}", harness::PROVIDERS));
    let told = lone.run(&["up"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: http.listen is 0.0.0.0:0, which other hosts can reach, and tokens would cross the network readable: add `http.tls` with a certificate and its key, or listen on 127.0.0.1 or [::1] and reach it from elsewhere through `ssh -L`");
}

#[test]
fn a_wrong_request_is_refused_before_anybody_is_asked() {
    let lone = Lone::new("");
    let without_version = harness::REQUEST.replace("version: 1", "vision: 1");
    let surprised = format!("{}\nsurprise: 1", harness::REQUEST);
    for (name, text, named) in [
        ("broken.yaml", "version: [1", "line 2"),
        ("list.yaml", "- 1", "not an object"),
        ("no-version.yaml", &without_version, "no `version`"),
        ("version.yaml", "version: 9", "version 9"),
        ("field.yaml", &surprised, "unknown field `surprise`"),
    ] {
        lone.write(name, text);
        let told = lone.run(&["relocate", name, "--wait", "--output", "json"]);
        assert_eq!((exit(&told), stdout(&told)), (2, String::new()), "{name}: {}", stderr(&told));
        let said = lone.error(&told);
        assert!(said.starts_with(&format!("error: {name}: ")) && said.contains(named), "{said}");
        assert!(said.contains("; "), "it has no remedy: {said}");
    }
    let told = lone.run(&["relocate", "nowhere.yaml"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: cannot read the request nowhere.yaml: No such file or directory (os error 2); name a file that exists, or - for standard input");
}

#[test]
fn a_provider_that_is_not_configured_is_named_with_the_remedy() {
    let lone = Lone::new(harness::PROVIDERS);
    let told = lone.run(&["inspect", "cloud-z"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: `cloud-z` is neither a configured provider nor a request file; name a provider that `fluidcloud providers` lists, or a file that exists");
    let told = lone.run(&["inspect", "cloud-a", "ghost"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: provider `cloud-a` has no instance `ghost`; see `fluidcloud inspect cloud-a`");
    lone.write("r.yaml", &harness::REQUEST.replace("cloud-a", "cloud-z"));
    let told = lone.run(&["plan", "r.yaml"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: provider `cloud-z` is not configured; add it under `providers`, or use one that `fluidcloud providers` lists");
}

#[test]
fn providers_are_shown_as_a_table_and_as_json() {
    let lone = Lone::new(harness::PROVIDERS);
    let told = lone.run(&["providers"]);
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    insta::assert_snapshot!(stdout(&told), @r"
    PROVIDER  DRIVER  REACHABLE  VCPUS  MEMORY    DISK     INSTANCES  REGION
    cloud-a   memory  yes        16     64.0 GiB  1.0 TiB  0          east
    cloud-b   memory  yes        16     64.0 GiB  1.0 TiB  0          -

    PROVIDER  HARDWARE                            DRIVER VERIFIED AGAINST
    cloud-a   pc, disks ide qcow2, NICs e1000     nothing real: it simulates a cloud, for tests
    cloud-b   q35, disks virtio raw, NICs virtio  nothing real: it simulates a cloud, for tests
    ");
    let told = lone.run(&["providers", "--output", "json"]);
    let shown: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(shown[0]["id"], "cloud-a");
    assert_eq!(shown[0]["reachable"], true);
    assert_eq!(shown[0]["hardware"]["disk_bus"], "ide");
}

#[test]
fn usage_is_told_as_a_table_as_json_and_as_csv() {
    let lone = Lone::new(harness::PROVIDERS);
    let told = lone.run(&["usage", "cloud-a", "--from", "2026-01-01", "--to", "2026-02-01"]);
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    let text = stdout(&told);
    assert!(
        text.starts_with("cloud-a: from 2026-01-01T00:00:00Z, to 2026-02-01T00:00:00Z\n\nINSTANCE"),
        "{text}"
    );
    assert!(text.contains("\ntotal"), "{text}");
    let told = lone.run(&["usage", "cloud-a", "--output", "json"]);
    let usage: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(
        (&usage["provider"], &usage["instances"], &usage["total"]["vcpu_hours"]),
        (&"cloud-a".into(), &Value::Array(Vec::new()), &0.0.into())
    );
    let told = lone.run(&["usage", "cloud-a", "--output", "csv"]);
    insta::assert_snapshot!(stdout(&told), @"provider,instance,id,state,started_at,ended_at,uptime_seconds,vcpus,memory_mib,disk_gib,hours,vcpu_hours,memory_gib_hours,disk_gib_hours");
}

#[test]
fn usage_of_what_is_not_known_is_refused_with_the_remedy() {
    let lone = Lone::new(harness::PROVIDERS);
    let told = lone.run(&["usage", "nowhere"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: `nowhere` is neither a configured provider nor the id of a relocation; name a provider that `fluidcloud providers` lists, or a relocation that `fluidcloud status` does");
    let told = lone.run(&["usage", "cloud-a", "ghost"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: provider `cloud-a` has no instance `ghost`; see `fluidcloud inspect cloud-a`");
    let told = lone.run(&["usage", "cloud-a", "--from", "2026-02-01", "--to", "2026-01-01"]);
    assert_eq!(exit(&told), 2);
    insta::assert_snapshot!(lone.error(&told), @"error: the period ends before it begins; give a --from that is before --to");
}

#[test]
fn a_schema_is_json_and_an_unknown_one_lists_those_there_are() {
    let lone = Lone::new("");
    let told = lone.run(&["schema", "request"]);
    assert_eq!(exit(&told), 0, "{}", stderr(&told));
    let schema: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(schema["properties"]["service"].is_object(), "{schema}");
    let told = lone.run(&["schema", "nonsense"]);
    assert_eq!(exit(&told), 2);
    assert!(stderr(&told).contains("request"), "{}", stderr(&told));
}

#[test]
fn a_reader_that_goes_away_breaks_nothing() {
    let lone = Lone::new(harness::PROVIDERS);
    let mut child =
        lone.command(&["providers"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(141));
    assert_eq!(said, "");
}

#[test]
fn a_wrong_log_filter_is_refused() {
    let told = Lone::new("").run(&["--log", "loud=very", "status"]);
    assert_eq!(exit(&told), 2);
    assert!(stderr(&told).contains("log filter"), "{}", stderr(&told));
}
