//! No secret in a message, a log, a process list or the relocation log.

use std::fs;
use std::path::Path;

use fluidcloud_tests::lab::Lab;
use fluidcloud_tests::rabbitmq::RabbitMq;
use fluidcloud_tests::stack::Stack;

use crate::requests::{DATA_MIB, SLOW_BYTES_PER_SEC, data};

#[test]
fn no_secret_is_in_a_log_a_process_list_or_the_relocation_log() {
    let Some(lab) = Lab::empty() else { return };
    let Some(rabbit) = RabbitMq::start() else { return };
    lab.data_instance("data", DATA_MIB);
    let url = rabbit.url_with_password();
    let password =
        url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).expect("a password in the url").0;
    let password = password.split_once(':').expect("user:password").1.to_owned();
    let stack = Stack::processes(&lab, &url);
    let id = stack.relocate(&data(Some(SLOW_BYTES_PER_SEC), "tcp"));
    stack.mid_copy(&id);

    let mut secrets = vec![password];
    for cloud in ["a", "b"] {
        // The viaduct's identities, which live at the sites only.
        let keys = lab.host(cloud, "cat $(find /var/lib/fluidcloud-site -type f | grep -i ident) 2>/dev/null | grep -v -e ----- | cut -c1-40");
        secrets.extend(keys.lines().filter(|line| line.len() >= 32).map(str::to_owned));
    }
    assert!(secrets.len() > 2, "identities were not found: {secrets:?}");
    for entry in fs::read_dir("/proc").expect("/proc") {
        let Ok(command) = fs::read(entry.expect("an entry").path().join("cmdline")) else { continue };
        none_in(&secrets, &command, "a process list");
    }
    assert_eq!(stack.ended(&id)["phase"], "Succeeded");
    let mut files = 0;
    all_files(&stack.dir(), &mut |path| {
        if path.file_name().is_some_and(|name| name == "fluidcloud.yaml") {
            return; // the operator's own configuration is where the password is
        }
        files += 1;
        none_in(&secrets, &fs::read(path).expect("readable"), &path.display().to_string());
    });
    assert!(files >= 4, "logs and the relocation log were looked at");
}

fn none_in(secrets: &[String], bytes: &[u8], place: &str) {
    for secret in secrets {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "a secret is in {place}");
    }
}

fn all_files(dir: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { all_files(&path, see) } else { see(&path) }
    }
}
