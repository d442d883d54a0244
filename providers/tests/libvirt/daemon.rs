//! A libvirtd of its own for one test: private network, mounts and processes, all of which end with it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fluidcloud_proto::task::Hardware;
use fluidcloud_providers::config::{Accel, Driver};
use fluidcloud_providers::{ProviderConfig, SiteConfig};
use tempfile::TempDir;

const TOOLS: [&str; 6] = ["libvirtd", "virsh", "qemu-system-x86_64", "qemu-img", "tini", "unshare"];
/// The first start asks QEMU what it can do.
const READY: Duration = Duration::from_secs(90);

/// `$1` is the directory of the test. A daemon that is killed comes back, as a service manager would have it.
const HOST: &str = r#"
set -e
for pair in run:/run/libvirt etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
    mkdir -p "$1/${pair%%:*}" "${pair#*:}"
    mount --bind "$1/${pair%%:*}" "${pair#*:}"
done
mkdir -p "$1/lib/qemu" "$1/lib/images"
ip link set lo up
while :; do libvirtd --config "$1/libvirtd.conf" --pid-file "$1/run/libvirtd.pid" || sleep 0.2; done
"#;

pub struct Daemon {
    pub dir: TempDir,
    process: Child,
}

impl Daemon {
    /// `None` where the tools or the rights are missing: a loud skip, but a failure in CI.
    pub fn start() -> Option<Self> {
        let missing = TOOLS.into_iter().find(|tool| !found(tool));
        let rootless = !rustix::process::geteuid().is_root();
        if missing.is_some() || rootless {
            let why = missing.map_or("must be root".to_owned(), |tool| format!("{tool} is missing"));
            assert!(std::env::var_os("CI").is_none(), "no libvirt to test on: {why}");
            eprintln!("SKIPPED: no libvirt to test on: {why}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        for made in ["etc", "pool"] {
            std::fs::create_dir(at.join(made)).unwrap();
        }
        std::fs::write(at.join("libvirtd.conf"), "auth_unix_rw = \"none\"\nlog_outputs = \"3:stderr\"\n")
            .unwrap();
        let qemu = "user = \"root\"\ngroup = \"root\"\ncgroup_controllers = []\nnamespaces = []\n\
                    security_driver = \"none\"\nstdio_handler = \"file\"\nremember_owner = 0\n";
        std::fs::write(at.join("etc/qemu.conf"), qemu).unwrap();
        let log = std::fs::File::create(at.join("daemon.log")).unwrap();
        let process = Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "--propagation",
                "private",
            ])
            .args(["--", "tini", "-s", "--", "sh", "-c", HOST, "sh"])
            .arg(at)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let daemon = Self { dir, process };
        daemon.wait();
        daemon.furnish();
        Some(daemon)
    }

    pub fn uri(&self) -> String {
        format!("qemu+unix:///system?socket={}/run/libvirt-sock", self.dir.path().display())
    }

    pub fn virsh(&self, args: &[&str]) -> Output {
        Command::new("virsh").args(["-q", "-c", &self.uri()]).args(args).output().unwrap()
    }

    pub fn must(&self, args: &[&str]) -> String {
        let done = self.virsh(args);
        assert!(done.status.success(), "virsh {args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    pub fn define(&self, what: &str, xml: &str) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), xml).unwrap();
        self.must(&[what, file.path().to_str().unwrap()]);
    }

    pub fn pool(&self) -> PathBuf {
        self.dir.path().join("pool")
    }

    pub fn config(&self, id: &str, shape: Hardware) -> ProviderConfig {
        ProviderConfig {
            id: id.parse().unwrap(),
            driver: Driver::Libvirt,
            uri: Some(self.uri()),
            site: Some(SiteConfig {
                ssh: None,
                address: "127.0.0.1".into(),
                dir: self.dir.path().join("site"),
                peer_ssh: None,
            }),
            pool: "default".into(),
            network: "default".into(),
            shape,
            accel: Accel::Tcg,
            region: None,
            labels: Default::default(),
            openstack: None,
        }
    }

    /// Kills the daemon alone; its guests go on and it comes back.
    pub fn crash(&self) {
        let config = self.dir.path().join("libvirtd.conf");
        let told = Command::new("pgrep").arg("-f").arg(config).output().unwrap();
        for pid in String::from_utf8_lossy(&told.stdout).lines() {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "libvirtd" {
                Command::new("kill").args(["-9", pid]).status().unwrap();
            }
        }
    }

    pub fn wait(&self) {
        let begun = Instant::now();
        while !self.virsh(&["version"]).status.success() {
            let log = || std::fs::read_to_string(self.dir.path().join("daemon.log")).unwrap_or_default();
            assert!(begun.elapsed() < READY, "libvirtd does not answer: {}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn furnish(&self) {
        let pool = format!(
            "<pool type='dir'><name>default</name><target><path>{}</path></target></pool>",
            self.pool().display()
        );
        self.define("pool-define", &pool);
        self.must(&["pool-start", "default"]);
        self.define("net-define", "<network><name>default</name><bridge name='fctest0'/></network>");
        self.must(&["net-start", "default"]);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // The first process of the namespace goes with it, and takes all others along.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn found(tool: &str) -> bool {
    let dirs = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    dirs.iter().any(|dir| Path::new(dir).join(tool).exists())
}
