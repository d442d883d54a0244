//! A real sshd on a loopback port, with keys of its own, for one test.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use fluidcloud_providers::{SiteConfig, SshConfig};
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

pub struct Sshd {
    pub dir: TempDir,
    pub port: u16,
    process: Child,
}

impl Sshd {
    /// `None` where there is no sshd: a loud skip, but a failure in CI.
    pub fn start() -> Option<Self> {
        if !Path::new(SSHD).exists() {
            assert!(std::env::var_os("CI").is_none(), "{SSHD} is missing: install openssh-server");
            eprintln!("SKIPPED: {SSHD} is missing: install openssh-server");
            return None;
        }
        std::fs::create_dir_all("/run/sshd").expect("sshd wants its directory");
        let dir = tempfile::tempdir().unwrap();
        for name in ["host", "user", "stranger"] {
            keygen(&dir.path().join(name));
        }
        std::fs::copy(dir.path().join("user.pub"), dir.path().join("authorized_keys")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let at = dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
             AuthorizedKeysFile {at}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nMaxStartups 100\n"
        );
        std::fs::write(dir.path().join("config"), config).unwrap();
        let mut process = Command::new(SSHD)
            .args(["-D", "-e", "-f"])
            .arg(dir.path().join("config"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stderr.take().unwrap()).lines();
        let ready = said.by_ref().map_while(Result::ok).any(|line| line.contains("Server listening"));
        assert!(ready, "sshd ended at once");
        std::thread::spawn(move || said.for_each(drop));
        let sshd = Self { dir, port, process };
        sshd.know(&format!("[127.0.0.1]:{port} {}", sshd.read("host.pub")));
        Some(sshd)
    }

    /// Replaces the known hosts.
    pub fn know(&self, line: &str) {
        std::fs::write(self.path("known_hosts"), format!("{line}\n")).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap().trim().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn login(&self) -> SshConfig {
        SshConfig {
            host: "127.0.0.1".into(),
            port: self.port,
            user: "root".into(),
            key: self.path("user"),
            known_hosts: self.path("known_hosts"),
        }
    }

    pub fn config(&self) -> SiteConfig {
        SiteConfig {
            ssh: Some(self.login()),
            address: "127.0.0.1".into(),
            dir: self.path("site"),
            peer_ssh: None,
        }
    }

    /// Processes of sshd that each carry one connection.
    pub fn connections(&self) -> Vec<i32> {
        super::children(self.process.id() as i32)
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn keygen(path: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(made.is_ok_and(|status| status.success()), "ssh-keygen is part of openssh-client");
}
