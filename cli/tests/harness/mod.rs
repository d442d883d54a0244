//! Runs the binary in a directory of its own, with a configuration of its own and nothing of this user's environment.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub const PROVIDERS: &str = "
providers:
  - {id: cloud-a, driver: memory, region: east, shape: {machine: pc, disk_bus: ide, nic: e1000, format: qcow2}}
  - {id: cloud-b, driver: memory, shape: {machine: q35, disk_bus: virtio, nic: virtio, format: raw}}
";

pub const REQUEST: &str = "
version: 1
service:
  name: shop
  provider: cloud-a
  components:
    - {name: app, instance: {id: shop}}
target: {provider: cloud-b}
";

#[derive(Debug)]
pub struct Lone {
    dir: TempDir,
    listen: String,
}

impl Lone {
    /// With a port that is free at this moment, unless the configuration names one.
    pub fn new(config: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let lone = Self { dir: tempfile::tempdir().unwrap(), listen: free.to_string() };
        let listen = match config.contains("listen") {
            true => String::new(),
            false => format!("http: {{listen: '{free}'}}\n"),
        };
        lone.write("fluidcloud.yaml", &format!("{listen}{config}"));
        lone
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    pub fn config(&self) -> PathBuf {
        self.dir.path().join("fluidcloud.yaml")
    }

    pub fn listen(&self) -> &str {
        &self.listen
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.bare(args);
        command.env("FLUIDCLOUD_CONFIG", self.config());
        command
    }

    fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fluidcloud"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).env_clear();
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Without naming the configuration.
    pub fn run_bare(&self, args: &[&str]) -> Output {
        self.bare(args).output().unwrap()
    }

    /// The one line that is said, without what differs from run to run.
    pub fn error(&self, told: &Output) -> String {
        let said = stderr(told).replace(&self.dir.path().display().to_string(), "DIR");
        let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{said}");
        errors[0].to_owned()
    }
}

pub fn exit(told: &Output) -> i32 {
    told.status.code().expect("it was not killed")
}

pub fn stdout(told: &Output) -> String {
    String::from_utf8(told.stdout.clone()).unwrap()
}

pub fn stderr(told: &Output) -> String {
    String::from_utf8(told.stderr.clone()).unwrap()
}
