//! An sshd of our own on loopback, with keys made for one test; ended with it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fluidcloud_tests::cli::Said;

pub struct Sshd {
    child: Child,
    dir: PathBuf,
    port: u16,
}

impl Sshd {
    /// `None`, loudly, where there is no sshd; in CI that is a failure.
    pub fn start(dir: &Path) -> Option<Self> {
        if !Path::new("/usr/sbin/sshd").exists() {
            assert!(std::env::var_os("CI").is_none(), "CI must have sshd");
            eprintln!("SKIPPED: no /usr/sbin/sshd here");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let make_keys = format!(
            "mkdir -p sshd /run/sshd; cd sshd
             for key in host other user; do ssh-keygen -q -t ed25519 -N '' -f $key; done
             cp user.pub authorized_keys
             echo \"[127.0.0.1]:{port} $(cut -d' ' -f1-2 host.pub)\" > known_hosts
             echo \"[127.0.0.1]:{port} $(cut -d' ' -f1-2 other.pub)\" > wrong_hosts"
        );
        crate::stage::sh(dir, &make_keys);
        let dir = dir.join("sshd");
        let option = |name: &str, value: &str| format!("-o{name}={value}");
        let keys = dir.join("authorized_keys");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f", "/dev/null", "-p", &port.to_string(), "-h"])
            .arg(dir.join("host"))
            .arg(option("ListenAddress", "127.0.0.1"))
            .arg(option("AuthorizedKeysFile", keys.to_str().unwrap()))
            .args([option("StrictModes", "no"), option("UsePAM", "no"), option("PermitRootLogin", "yes")])
            .arg(option("PidFile", "none"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .unwrap();
        let sshd = Self { child, dir, port };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(sshd);
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        panic!("sshd does not answer: {}", Said::of(Command::new("cat").arg(sshd.dir.join("log"))).stdout);
    }

    /// How a site says that one logs in here.
    pub fn login(&self, known_hosts: &str) -> serde_json::Value {
        serde_json::json!({
            "host": "127.0.0.1",
            "port": self.port,
            "user": "root",
            "key": self.dir.join("user"),
            "known_hosts": self.dir.join(known_hosts),
        })
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
