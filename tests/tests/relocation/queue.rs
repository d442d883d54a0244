//! The queue is the front door: a stock AMQP client publishes the same JSON and gets the same.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::rabbitmq::RabbitMq;
use fluidcloud_tests::stack::Stack;
use fluidcloud_tests::wait;

use crate::kills::one_runs_and_is_whole;

/// Debian's `amqp-publish`, which knows nothing of us.
fn publish(url: &str, body: &str) {
    let mut client = Command::new("amqp-publish")
        .args(["--url", url, "--routing-key", "fluidcloud.requests"])
        .args(["--content-type", "application/json", "--persistent"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("amqp-publish, of the package amqp-tools");
    client.stdin.take().expect("a pipe").write_all(body.as_bytes()).expect("it reads");
    assert!(client.wait().expect("it ends").success());
}

fn dead_letters(rabbit: &RabbitMq) -> u64 {
    let listed = rabbit.ctl(&["list_queues", "--quiet", "name", "messages"]);
    let line = listed.lines().find(|line| line.starts_with("fluidcloud.dead"));
    line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap_or(0)
}

#[test]
fn a_stock_amqp_client_relocates_a_service_and_its_nonsense_is_kept_with_the_reason() {
    let Some(lab) = Lab::empty() else { return };
    let Some(rabbit) = RabbitMq::start() else { return };
    lab.data_instance("data", 8);
    let source_digest = lab.content("a", "/var/lib/libvirt/images/data.qcow2", "qcow2");
    let stack = Stack::processes(&lab, &rabbit.url());
    let url = rabbit.url_with_password();

    for (count, nonsense) in
        [(1, "not JSON"), (2, r#"{"version": 9}"#), (3, r#"{"version": 1, "colour": 1}"#)]
    {
        publish(&url, nonsense);
        wait::until("the dead letter", Duration::from_secs(30), || {
            (dead_letters(&rabbit) == count).then_some(())
        });
    }

    let id = "1c9e2a0e-7a43-4c0c-8d58-2f0f3c6f9a02";
    publish(
        &url,
        &format!(
            r#"{{"version": 1, "id": "{id}",
                "service": {{"name": "data", "provider": "cloud-a",
                             "components": [{{"name": "store", "instance": {{"id": "data", "guest": "as_is", "shutdown_secs": 1}}}}]}},
                "target": {{"provider": "cloud-b"}}}}"#
        ),
    );
    let status = stack.ended(id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    // Its guest does not listen to the power button.
    let concerns = status["report"]["concerns"].to_string();
    assert!(concerns.contains("forced off"), "{concerns}");
    one_runs_and_is_whole(&lab, id, &source_digest);
}
