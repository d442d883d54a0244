//! A FluidCloud of the test's own: configuration, state and log files in a directory of its own, daemons as
//! processes that can be killed and started again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{self, Said};
use crate::lab::Lab;
use crate::process::dies_with_us;
use crate::wait;

/// A daemon answers within this after its start.
const UP_WITHIN: Duration = Duration::from_secs(30);
/// A copy is in its middle when so much has crossed; starting over would send all of it again.
pub const MID_COPY_BYTES: u64 = 48 << 20;
/// A relocation of a test's small instance ends within this.
pub const ENDS_WITHIN: Duration = Duration::from_secs(300);

/// A look at a status is a process of its own, on machines that have enough to do.
const STATUS_EVERY: Duration = Duration::from_millis(700);

#[derive(Debug)]
pub struct Stack {
    dir: TempDir,
    port: u16,
    daemons: BTreeMap<String, Child>,
}

impl Stack {
    /// One process with every role.
    pub fn embedded(lab: &Lab) -> Self {
        Self::embedded_with(&lab.config())
    }

    /// The same, for a configuration of a test's own: its lines `state:` and `http:` are replaced.
    pub fn embedded_with(config: &str) -> Self {
        let mut stack = Self::configured(config, None);
        stack.start("up", &["up"]);
        stack.answers();
        stack
    }

    /// Conduit, broker and workers as processes, over RabbitMQ.
    pub fn processes(lab: &Lab, amqp_url: &str) -> Self {
        let mut stack = Self::configured(&lab.config(), Some(amqp_url));
        stack.start("conduit", &["conduit"]);
        // The one worker is the test's, so that it is known whom to kill.
        stack.start("broker", &["broker", "--no-workers"]);
        stack.start("migrator", &["migrator", "image", "volume", "rewrite"]);
        stack.answers();
        stack
    }

    fn configured(given: &str, amqp_url: Option<&str>) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let port = free_port();
        let mut config = String::new();
        for line in given.lines() {
            let line = if line.starts_with("state:") {
                format!("state: {}", dir.path().join("state").display())
            } else if line.starts_with("http:") {
                format!("http: {{listen: 127.0.0.1:{port}}}")
            } else {
                line.to_owned()
            };
            config.push_str(&line);
            config.push('\n');
        }
        if let Some(url) = amqp_url {
            config.push_str(&format!("bus: {{amqp: {{url: \"{url}\"}}}}\n"));
        }
        fs::write(dir.path().join("fluidcloud.yaml"), config).expect("a writable directory");
        Self { dir, port, daemons: BTreeMap::new() }
    }

    /// Starts a daemon, or starts it again.
    pub fn start(&mut self, name: &str, args: &[&str]) {
        let log = File::options().create(true).append(true).open(self.log_path(name)).expect("a log file");
        let mut command = self.command(dies_with_us(cli::fluidcloud()), args);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let child = command.spawn().expect("fluidcloud starts");
        self.daemons.insert(name.to_owned(), child);
    }

    /// kill -9, as the out-of-memory killer would.
    pub fn kill9(&mut self, name: &str) {
        let mut child = self.daemons.remove(name).expect("a running daemon");
        child.kill().expect("it was running");
        child.wait().expect("it was our child");
    }

    pub fn pid(&self, name: &str) -> u32 {
        self.daemons[name].id()
    }

    /// Waits until the status is served.
    pub fn answers(&self) {
        wait::until("fluidcloud status answers", UP_WITHIN, || {
            (self.cli(&["status", "--output", "json"]).code == Some(0)).then_some(())
        });
    }

    fn command(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .env("FLUIDCLOUD_CONFIG", self.dir.path().join("fluidcloud.yaml"))
            .env("FLUIDCLOUD_VIADUCT", cli::viaduct())
            .env("RUST_LOG", "info");
        command
    }

    pub fn cli(&self, args: &[&str]) -> Said {
        Said::of(&mut self.command(Command::new(cli::fluidcloud()), args))
    }

    /// Writes a request file and returns its path.
    pub fn request(&self, name: &str, text: &str) -> String {
        let path = self.dir.path().join(name);
        fs::write(&path, text).expect("a writable directory");
        path.display().to_string()
    }

    /// Publishes the request and returns the relocation's id.
    #[track_caller]
    pub fn relocate(&self, text: &str) -> String {
        let file = self.request("request.yaml", text);
        let said = self.cli(&["relocate", &file, "--output", "json"]).succeeded();
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["id"].as_str().expect("an id").to_owned()
    }

    pub fn status(&self, id: &str) -> Option<Value> {
        let said = self.cli(&["status", id, "--output", "json"]);
        (said.code == Some(0)).then(|| serde_json::from_str(&said.stdout).expect("JSON"))
    }

    /// Waits until [`MID_COPY_BYTES`] of the one transfer have crossed and it is still under way.
    pub fn mid_copy(&self, id: &str) -> Value {
        wait::until("the copy is under way", ENDS_WITHIN, || {
            let status = self.status(id)?;
            let done = status["transfers"][0]["progress"]["bytes_on_wire"].as_u64()?;
            assert!(
                !matches!(status["phase"].as_str(), Some("Succeeded" | "Failed" | "RolledBack" | "Stuck")),
                "it ended before it could be disturbed: {status:#}"
            );
            (done > MID_COPY_BYTES).then_some(status)
        })
    }

    /// Waits for the end and returns the status.
    pub fn ended(&self, id: &str) -> Value {
        self.ended_within(id, ENDS_WITHIN)
    }

    pub fn ended_within(&self, id: &str, within: Duration) -> Value {
        wait::until_every(STATUS_EVERY, "the relocation ends", within, || {
            let status = self.status(id)?;
            let phase = status["phase"].as_str()?;
            matches!(phase, "Succeeded" | "Failed" | "RolledBack" | "Canceled" | "Stuck").then_some(status)
        })
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn dir(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    pub fn log(&self, name: &str) -> String {
        fs::read_to_string(self.log_path(name)).unwrap_or_default()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.daemons.keys() {
                let log = self.log(name);
                let tail = log.len().saturating_sub(6000);
                let tail = (tail..log.len()).find(|at| log.is_char_boundary(*at)).unwrap_or(log.len());
                eprintln!("--- end of {name}.log\n{}", &log[tail..]);
            }
        }
        for child in self.daemons.values_mut() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
        }
        for (_, mut child) in std::mem::take(&mut self.daemons) {
            let gone = (0..100).any(|_| {
                std::thread::sleep(Duration::from_millis(100));
                matches!(child.try_wait(), Ok(Some(_)))
            });
            if !gone {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

/// A port nobody listens on now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("an address").port()
}
