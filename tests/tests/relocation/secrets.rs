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

/// A guest whose configuration has a password beside, above and on the very line of what is rewritten.
const CONFIG: &str = "password = hunter2-beside
path = /mnt/volume, url = db://me:hunter2-on@db
[credentials]
me = hunter2-below
odd: wJalrXUtnFEMI/K7MDENG/hunter2
";

fn guest_with_config(lab: &Lab) {
    lab.data_instance("data", 32);
    lab.virsh("a", &["destroy", "data"]);
    // As small as a guest can be; it need not boot.
    lab.host(
        "a",
        &format!(
            "cd /var/lib/libvirt/images && mkdir -p tree/etc/app && echo ID=debian > tree/etc/os-release && \
             echo 'LABEL=root / ext4 defaults 0 1' > tree/etc/fstab && printf %s '{CONFIG}' > tree/etc/app/app.conf && \
             mke2fs -q -t ext4 -L root -d tree data.raw 64M && \
             qemu-img convert -f raw -O qcow2 data.raw data.qcow2 && rm -r tree data.raw"
        ),
    );
    lab.virsh("a", &["start", "data"]);
}

#[test]
fn a_rewrite_beside_passwords_shows_its_change_and_no_password() {
    let Some(lab) = Lab::empty() else { return };
    guest_with_config(&lab);
    let stack = Stack::embedded(&lab);
    let rule = "rewrite: [{file: /etc/app/app.conf, match: /mnt/volume, replace: /srv/app}]";
    let request = data(None, "tcp").replace("shutdown_secs: 1", &format!("shutdown_secs: 1, {rule}"));
    let id = stack.relocate(&request);
    let status = stack.ended(&id);
    assert_eq!(status["phase"], "Succeeded", "{status:#}");
    let events = stack.cli(&["events"]).stdout;
    let secrets = ["hunter2".to_owned()];
    for (place, text) in [("the status", status.to_string()), ("the events", events)] {
        none_in(&secrets, text.as_bytes(), place);
    }
    let mut shown = false;
    all_files(&stack.dir(), &mut |path| {
        let bytes = fs::read(path).expect("readable");
        none_in(&secrets, &bytes, &path.display().to_string());
        let is_request = path.extension().is_some_and(|kind| kind == "yaml");
        shown |= !is_request && bytes.windows(14).any(|window| window == b"path = /srv/ap");
    });
    assert!(shown, "what the rule has changed is in the relocation log");
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
