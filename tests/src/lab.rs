//! The two libvirt clouds of `deploy/lab`, used by one test at a time. Where they cannot be had, a test says so
//! loudly and is skipped; in CI that is a failure.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use crate::cli::{Said, workspace};

/// The lab, ours until dropped: no instance and no leftover in either cloud when it is handed out.
#[derive(Debug)]
pub struct Lab {
    script: PathBuf,
    _turn: File,
}

impl Lab {
    /// Waits for its turn, starts the lab if it is down, and empties both clouds.
    pub fn empty() -> Option<Self> {
        if !crate::lab::is_root() {
            assert!(std::env::var_os("CI").is_none(), "CI must run these tests as root");
            eprintln!("SKIPPED: the lab of two clouds needs root");
            return None;
        }
        let turn = File::create("/run/fluidcloud-lab-turn").expect("/run is writable for root");
        turn.lock().expect("a file lock");
        let lab = Self { script: workspace().join("deploy/lab/lab"), _turn: turn };
        lab.run(&["up"]);
        lab.run(&["reset"]);
        Some(lab)
    }

    /// A verb of `deploy/lab/lab`, which must succeed.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        Said::of(Command::new(&self.script).args(args)).succeeded()
    }

    /// A shell command on the host of `cloud` (`a` or `b`).
    #[track_caller]
    pub fn host(&self, cloud: &str, command: &str) -> String {
        self.run(&["ssh", cloud, command])
    }

    #[track_caller]
    pub fn virsh(&self, cloud: &str, args: &[&str]) -> String {
        self.run(&[&["virsh", cloud], args].concat())
    }

    /// `running`, `shut off`, or empty when there is no such instance.
    pub fn power(&self, cloud: &str, instance: &str) -> String {
        let said = Said::of(Command::new(&self.script).args(["virsh", cloud, "domstate", instance]));
        said.stdout.trim().to_owned()
    }

    /// The `providers` part of a configuration for this lab, as YAML.
    pub fn config(&self) -> String {
        self.run(&["config"])
    }

    /// One of its clouds, under another name and reached by other sites at `address`.
    pub fn provider(&self, cloud: &str, id: &str, address: &str) -> String {
        let config = self.config();
        let begin = config.find(&format!("  - id: cloud-{cloud}\n")).expect("the cloud");
        let end = config[begin + 1..].find("  - id: ").map_or(config.len(), |at| begin + 1 + at);
        let part = config[begin..end].replace(&format!("id: cloud-{cloud}"), &format!("id: {id}"));
        let from = part.find(", address: ").expect("an address") + ", address: ".len();
        let to = from + part[from..].find(',').expect("the next key");
        format!("{}{address}{}", &part[..from], &part[to..])
    }

    /// Files in the storage pool of `cloud`.
    pub fn pool(&self, cloud: &str) -> Vec<String> {
        let listed = self.host(cloud, "ls -A /var/lib/libvirt/images");
        listed.lines().map(str::to_owned).collect()
    }

    /// An instance in cloud-a that holds data and no operating system: it runs, and shuts down only by force. Its
    /// disk `hda` has `mib` MiB that do not compress, in a virtual size of twice that and a bit.
    pub fn data_instance(&self, name: &str, mib: u64) {
        let path = format!("/var/lib/libvirt/images/{name}.qcow2");
        let size = mib * 2 + 3;
        self.host(
            "a",
            &format!(
                "cd /var/lib/libvirt/images && truncate -s {size}M {name}.raw && \
                 dd if=/dev/urandom of={name}.raw bs=1M count={mib} seek=1 conv=notrunc status=none && \
                 qemu-img convert -f raw -O qcow2 {name}.raw {path} && rm {name}.raw"
            ),
        );
        let xml = data_domain(name, &path);
        self.host("a", &format!("cat > /tmp/{name}.xml <<'END'\n{xml}\nEND\nvirsh define /tmp/{name}.xml && rm /tmp/{name}.xml"));
        self.virsh("a", &["start", name]);
    }

    /// Content digest of a disk at a host, whatever its format: what qemu reads of it.
    pub fn content(&self, cloud: &str, path: &str, format: &str) -> String {
        let command = format!(
            "qemu-img convert -U -f {format} -O raw {path} /tmp/content.raw && sha256sum < /tmp/content.raw; rm -f /tmp/content.raw"
        );
        self.host(cloud, &command).trim().to_owned()
    }

    /// Processes at a cloud's host whose command line contains `text`.
    pub fn pids(&self, cloud: &str, text: &str) -> Vec<u32> {
        // pgrep -f would find the shell that runs it: the pattern does not match itself.
        let (first, rest) = text.split_at(1);
        let netns = format!("fc-{cloud}");
        let listed = Said::of(Command::new("ip").args(["netns", "pids", &netns])).stdout;
        let wanted = format!("{first}{rest}");
        listed
            .lines()
            .filter_map(|line| line.trim().parse().ok())
            .filter(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                // The processes that carry the work, not the shell that watches them.
                !line.starts_with("sh ") && !line.starts_with("/bin/sh") && line.contains(&wanted)
            })
            .collect()
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0)
}

fn data_domain(name: &str, path: &str) -> String {
    format!(
        "<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/></features>\
         <on_poweroff>destroy</on_poweroff><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/>\
         <target dev='hda' bus='ide'/></disk>\
         <interface type='network'><source network='default'/><model type='e1000'/></interface>\
         </devices></domain>"
    )
}
