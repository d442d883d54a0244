//! A RabbitMQ of the test's own: node, ports, cookie, data and epmd apart from any other on the machine. It can be
//! killed and started again on the same data, and leaves no process and no file behind.
//!
//! The erlang machine and epmd are our direct children, so that each is ended by its own process id; should the
//! test be killed instead, the kernel ends them with it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use uuid::Uuid;

use crate::process::dies_with_us;
use crate::wait;

/// A node that has not opened its port by then will not.
const UP_WITHIN: Duration = Duration::from_secs(120);
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const USER: &str = "ferry";

#[derive(Debug)]
pub struct RabbitMq {
    dir: TempDir,
    scripts: PathBuf,
    port: u16,
    distribution_port: u16,
    epmd_port: u16,
    password: String,
    epmd: Option<Child>,
    node: Option<Child>,
}

impl RabbitMq {
    /// `None`, loudly, where RabbitMQ is not installed; in CI that is a failure.
    pub fn start() -> Option<Self> {
        Self::start_with("", "[].")
    }

    /// With more lines for `rabbitmq.conf` and an `advanced.config`.
    pub fn start_with(config: &str, advanced: &str) -> Option<Self> {
        let Some(scripts) = scripts() else {
            assert!(std::env::var_os("CI").is_none(), "CI must have rabbitmq-server installed");
            eprintln!("SKIPPED: rabbitmq-server is not installed (apt-get install rabbitmq-server)");
            return None;
        };
        let mut rabbit = Self {
            dir: TempDir::new().expect("a temporary directory"),
            scripts,
            port: free_port(),
            distribution_port: free_port(),
            epmd_port: free_port(),
            password: Uuid::new_v4().simple().to_string(),
            epmd: None,
            node: None,
        };
        rabbit.configure(config, advanced);
        rabbit.start_again();
        Some(rabbit)
    }

    pub fn url(&self) -> String {
        self.url_with_password()
    }

    /// The password is new for each start of a test, so that it can be searched for.
    pub fn url_with_password(&self) -> String {
        format!("amqp://{USER}:{}@127.0.0.1:{}/%2f", self.password, self.port)
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// As the out-of-memory killer would: nothing is flushed, nobody is told.
    pub fn kill9(&mut self) {
        end(self.node.take());
    }

    /// Starts the node on what is on its disk, and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.node.is_none(), "the node runs already");
        if self.epmd.is_none() {
            let epmd = self
                .command("epmd", &["-address", "127.0.0.1", "-port", &self.epmd_port.to_string()])
                .spawn();
            self.epmd = Some(epmd.expect("epmd starts"));
        }
        let script = self.scripts.join("rabbitmq-server");
        let node = self.command(&script.to_string_lossy(), &[]).spawn().expect("rabbitmq-server starts");
        self.node = Some(node);
        let started = Instant::now();
        wait::until("RabbitMQ takes connections", UP_WITHIN, || {
            let node = self.node.as_mut().expect("just started");
            if let Some(status) = node.try_wait().expect("a child of ours") {
                panic!("RabbitMQ ended with {status}:\n{}", self.log());
            }
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()
        });
        println!("RabbitMQ is up after {:.1} s", started.elapsed().as_secs_f64());
    }

    /// Runs `rabbitmqctl` against the node and returns what it said.
    pub fn ctl(&self, args: &[&str]) -> String {
        let script = self.scripts.join("rabbitmqctl");
        let mut command = self.command(&script.to_string_lossy(), args);
        let output =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("rabbitmqctl runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "rabbitmqctl {args:?}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        said
    }

    /// What the node and its start script wrote.
    pub fn log(&self) -> String {
        ["output.log", "node.log"]
            .map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default())
            .concat()
    }

    fn configure(&self, config: &str, advanced: &str) {
        let dir = self.dir.path();
        let mut lines = String::new();
        let _ = writeln!(lines, "listeners.tcp.1 = 127.0.0.1:{}", self.port);
        let _ = writeln!(lines, "default_user = {USER}\ndefault_pass = {}", self.password);
        let _ = writeln!(lines, "{config}");
        fs::write(dir.join("rabbitmq.conf"), lines).expect("a writable directory");
        fs::write(dir.join("advanced.config"), advanced).expect("a writable directory");
        fs::write(dir.join("env.conf"), "").expect("a writable directory");
        fs::write(dir.join("enabled_plugins"), "[].").expect("a writable directory");
    }

    /// With nothing of the machine's own RabbitMQ in its environment.
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let dir = self.dir.path();
        let output =
            File::options().create(true).append(true).open(dir.join("output.log")).expect("a log file");
        let mut command = dies_with_us(program);
        command
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            // The erlang cookie is made there.
            .env("HOME", dir)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("RABBITMQ_NODENAME", format!("rabbit-{}@localhost", self.port))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("env.conf"))
            .env("RABBITMQ_CONFIG_FILE", dir.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", dir.join("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir)
            .env("RABBITMQ_LOGS", dir.join("node.log"))
            .env("RABBITMQ_PID_FILE", dir.join("node.pid"))
            // The script then becomes the erlang machine instead of waiting beside it.
            .env("RABBITMQ_ALLOW_INPUT", "true")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-noinput +S 2:2 -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a handle"))
            .stderr(output);
        command
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        end(self.node.take());
        end(self.epmd.take());
    }
}

/// Kills a child by its id and waits until it is gone.
fn end(child: Option<Child>) {
    let Some(mut child) = child else { return };
    child.kill().expect("a child of ours");
    let deadline = Instant::now() + ENDS_WITHIN;
    while child.try_wait().expect("a child of ours").is_none() {
        assert!(Instant::now() < deadline, "process {} does not end", child.id());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Where the scripts of the broker itself are; those in the PATH switch users first.
fn scripts() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/rabbitmq/lib").ok()?;
    let scripts = versions.flatten().map(|entry| entry.path().join("sbin")).find(|sbin| sbin.is_dir())?;
    scripts.join("rabbitmq-server").is_file().then_some(scripts)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
