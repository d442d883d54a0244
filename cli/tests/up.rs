//! `fluidcloud up` as a process, on simulated clouds that are empty: it serves, is alone on its state, and ends when
//! it is told to.

mod harness;

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use harness::{Lone, exit, stderr, stdout};
use serde_json::Value;

/// How long anything here may take.
const SOON: Duration = Duration::from_secs(30);

struct Up(Child);

impl Up {
    fn start(lone: &Lone) -> Self {
        let child = lone.command(&["up"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut up = Self(child);
        let deadline = Instant::now() + SOON;
        while exit(&lone.run(&["status"])) != 0 {
            assert!(Instant::now() < deadline, "it does not answer");
            assert!(up.0.try_wait().unwrap().is_none(), "it has ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        up
    }

    fn tell(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.0.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lone() -> Lone {
    Lone::new(&format!("state: state\n{}", harness::PROVIDERS))
}

#[test]
fn it_serves_until_it_is_told_to_end() {
    let lone = lone();
    let mut up = Up::start(&lone);
    let told = lone.run(&["status", "--output", "json"]);
    let status: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(status["providers"][1]["id"], "cloud-b", "{status}");
    assert!(stdout(&lone.run(&["status"])).contains("no relocations yet"));
    up.tell(rustix::process::Signal::TERM);
    assert_eq!(up.ended().code(), Some(0));
    assert_eq!(exit(&lone.run(&["status"])), 5);
}

#[test]
fn a_second_one_on_the_same_state_is_refused_and_a_killed_one_leaves_no_lock() {
    let lone = lone();
    let mut up = Up::start(&lone);
    let second = lone.run(&["up"]);
    assert_eq!(exit(&second), 2);
    let said = stderr(&second);
    assert!(said.contains(&format!("in use by another fluidcloud (process {})", up.0.id())), "{said}");
    up.tell(rustix::process::Signal::KILL);
    up.ended();
    Up::start(&lone);
}

#[test]
fn a_relocation_of_what_is_not_there_fails_with_the_remedy_and_is_remembered_over_a_restart() {
    let lone = lone();
    let mut up = Up::start(&lone);
    lone.write("r.yaml", harness::REQUEST);
    let told = lone.run(&["relocate", "r.yaml", "--wait", "--output", "json"]);
    assert_eq!(exit(&told), 1, "{}", stderr(&told));
    let report: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(report["state"], "Failed");
    assert_eq!(report["failure"]["code"], "unknown_instance", "{report}");
    assert!(!report["failure"]["remedy"].as_str().unwrap().is_empty());
    let id = report["id"].as_str().unwrap();

    up.tell(rustix::process::Signal::KILL);
    up.ended();
    let _again = Up::start(&lone);
    let told = lone.run(&["status", id, "--watch", "--output", "json"]);
    assert_eq!(exit(&told), 1, "{}", stderr(&told));
    let status: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(status["report"], report);
}
