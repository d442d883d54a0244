//! The ssh transport, against a real sshd with keys of its own on a loopback port.

use crate::lab::{End, Lab, MIB, PATIENCE, binary, digest, disk, have, run, same};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Sshd {
    child: Child,
    pub port: u16,
    pub lab: Lab,
}

impl Sshd {
    fn start() -> Option<Sshd> {
        Sshd::start_with("")
    }

    /// With more lines in its configuration; DIR stands for the lab's directory.
    pub fn start_with(more: &str) -> Option<Sshd> {
        if !have("/usr/sbin/sshd") {
            return None;
        }
        let lab = Lab::new();
        let _ = std::fs::create_dir_all("/run/sshd");
        for (kind, name) in [
            ("ed25519", "host_ed25519"),
            ("ecdsa", "host_ecdsa"),
            ("ed25519", "user"),
            ("rsa", "user_rsa"),
            ("ed25519", "other"),
        ] {
            run("ssh-keygen", &["-q", "-t", kind, "-N", "", "-f", lab.path(name).to_str().unwrap()]);
        }
        let ours = binary().args(["identity", "--ssh"]).arg(lab.path("sender.pem")).output().unwrap().stdout;
        let text = |name| std::fs::read_to_string(lab.path(name)).unwrap();
        let keys = text("user.pub") + &text("user_rsa.pub") + &String::from_utf8(ours).unwrap();
        std::fs::write(lab.path("authorized"), keys).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = lab.dir.path().display();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host_ed25519\nHostKey {dir}/host_ecdsa\nPidFile none\n\
             AuthorizedKeysFile {dir}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nMaxStartups 50\n{}\n",
            more.replace("DIR", &dir.to_string())
        );
        std::fs::write(lab.path("sshd_config"), config).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        // The cache of the far side is the test's own.
        command.env("HOME", lab.dir.path()).arg("-D").arg("-f").arg(lab.path("sshd_config"));
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "sshd does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(Sshd { child, port, lab })
    }

    pub fn fingerprint(&self, key: &str) -> String {
        let line = run("ssh-keygen", &["-lf", self.lab.path(&format!("{key}.pub")).to_str().unwrap()]);
        line.split_whitespace().nth(1).unwrap().to_owned()
    }

    fn to(&self, name: &str) -> String {
        let user = run("id", &["-un"]);
        format!("ssh://{}@127.0.0.1:{}{}", user.trim(), self.port, self.lab.path(name).display())
    }

    fn send(&self, identity: &str, to: &str, more: &[&str]) -> End {
        let mut command = binary();
        command
            .args(["send", "--report", "json", "--die-with-stdin", "--from"])
            .arg(self.lab.path("source.raw"));
        command.args(["--to", to, "--identity"]).arg(self.lab.path(identity));
        if !more.contains(&"--push") {
            command.args(["--remote-viaduct", env!("CARGO_BIN_EXE_viaduct")]);
        }
        if !more.contains(&"--peer") && !more.contains(&"--known-hosts") {
            command.args(["--peer", &self.fingerprint("host_ed25519")]);
        }
        End::start(command.args(more.iter().filter(|arg| **arg != "--push")))
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_disk_is_carried_over_several_ssh_sessions_with_every_kind_of_key() {
    let Some(sshd) = Sshd::start() else { return };
    let from = disk(&sshd.lab.path("source.raw"), 40 * MIB, &[(0, 12 * MIB), (30 * MIB, 5000)]);
    for (number, identity) in ["user", "user_rsa", "sender.pem"].into_iter().enumerate() {
        let name = format!("target{number}.raw");
        let sent = sshd.send(identity, &sshd.to(&name), &["--streams", "3"]).success();
        assert_eq!(sent["digest"], digest(&from));
        assert!(same(&sshd.lab.path("source.raw"), &sshd.lab.path(&name)));
    }
    let again = sshd.send("user", &sshd.to("target0.raw"), &[]).success();
    assert_eq!(again["bytes_reused"].as_u64(), Some(13 * MIB));
    let ecdsa = sshd.fingerprint("host_ecdsa");
    sshd.send("user", &sshd.to("target1.raw"), &["--peer", &ecdsa]).success();
}

#[test]
fn the_rate_is_not_exceeded_over_ssh_either() {
    let Some(sshd) = Sshd::start() else { return };
    disk(&sshd.lab.path("source.raw"), 4 * MIB, &[(0, 4 * MIB)]);
    let sent = sshd.send("user", &sshd.to("target.raw"), &["--rate", "4M", "--streams", "3"]).success();
    let seen = sent["bytes_on_wire"].as_f64().unwrap() / sent["seconds"].as_f64().unwrap();
    assert!(seen < 1.05 * 4.0 * MIB as f64, "{seen} bytes per second");
}

#[test]
fn a_wrong_host_key_is_refused_before_anything_happens() {
    let Some(sshd) = Sshd::start() else { return };
    disk(&sshd.lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    let wrong = sshd.fingerprint("other");
    let failed = sshd.send("user", &sshd.to("target.raw"), &["--peer", &wrong]).failure("wrong-host-key");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains(&wrong) && message.contains(&sshd.fingerprint("host_ed25519")), "{message}");
    assert!(!sshd.lab.path("target.raw").exists());

    let known = sshd.lab.path("known_hosts").display().to_string();
    let line = |key: &str| {
        let public = std::fs::read_to_string(sshd.lab.path(key)).unwrap();
        let fields: Vec<&str> = public.split_whitespace().collect();
        format!("[127.0.0.1]:{} {} {}\n", sshd.port, fields[0], fields[1])
    };
    std::fs::write(&known, line("other.pub")).unwrap();
    sshd.send("user", &sshd.to("target.raw"), &["--known-hosts", &known]).failure("wrong-host-key");
    std::fs::write(&known, line("host_ecdsa.pub")).unwrap();
    sshd.send("user", &sshd.to("target.raw"), &["--known-hosts", &known]).success();
}

#[test]
fn a_key_the_host_does_not_know_is_told() {
    let Some(sshd) = Sshd::start() else { return };
    disk(&sshd.lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    sshd.send("other", &sshd.to("target.raw"), &[]).failure("login");
    let failed = sshd.send("user", &sshd.to("target.raw"), &["--remote-viaduct", "/nowhere/viaduct"]);
    drop(failed);
    sshd.send("user", &sshd.to("missing/target.raw"), &[]).failure("io");
    assert!(!sshd.lab.path("missing").exists());
}

#[test]
fn a_killed_sender_leaves_nothing_running_and_is_resumed() {
    let Some(sshd) = Sshd::start() else { return };
    disk(&sshd.lab.path("source.raw"), 32 * MIB, &[(0, 32 * MIB)]);
    let mut first = sshd.send("user", &sshd.to("target.raw"), &["--rate", "8M"]);
    first.until_done(20 * MIB);
    first.kill();
    // The far end notices by itself; the next one waits for it to let go of the target.
    let second = sshd.send("user", &sshd.to("target.raw"), &[]).success();
    assert!(second["bytes_reused"].as_u64().unwrap() > 4 * MIB, "{second}");
    assert!(same(&sshd.lab.path("source.raw"), &sshd.lab.path("target.raw")));
    let deadline = Instant::now() + PATIENCE;
    let name = sshd.lab.dir.path().display().to_string();
    while run("ps", &["-eo", "args"])
        .lines()
        .any(|line| line.contains("receive --stdio") && line.contains(&name))
    {
        assert!(Instant::now() < deadline, "a far end is left");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_binary_is_pushed_where_it_is_missing_and_found_the_next_time() {
    let Some(sshd) = Sshd::start() else { return };
    disk(&sshd.lab.path("source.raw"), 4 * MIB, &[(0, MIB)]);
    sshd.send("user", &sshd.to("target.raw"), &["--push"]).success();
    let home = run("sh", &["-c", "echo ~"]);
    let cache = std::path::Path::new(home.trim()).join(".cache/fluidcloud");
    let ours = std::fs::read(env!("CARGO_BIN_EXE_viaduct")).unwrap();
    let name = format!("viaduct-{}-{}", env!("CARGO_PKG_VERSION"), &blake3::hash(&ours).to_hex()[..16]);
    let pushed = cache.join(name);
    assert!(std::fs::read(&pushed).unwrap() == ours);
    let before = pushed.metadata().unwrap().modified().unwrap();
    sshd.send("user", &sshd.to("target.raw"), &["--push"]).success();
    assert_eq!(pushed.metadata().unwrap().modified().unwrap(), before);
    std::fs::remove_file(pushed).unwrap();
}
