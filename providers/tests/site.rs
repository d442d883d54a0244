//! Commands at sites, on this host and through a real sshd.

#[path = "site/sshd.rs"]
mod sshd;
#[path = "site/suite.rs"]
mod suite;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use fluidcloud_providers::site::{LocalSite, SshSite};
use fluidcloud_providers::{Command, Error, Line, Site, SiteConfig};
use sshd::Sshd;

/// Longest time for a process to vanish.
const VANISH: Duration = Duration::from_secs(10);
const CHILD_ENV: &str = "FLUIDCLOUD_TEST_SITE";

fn sh(script: &str) -> Command {
    Command::new("sh").args(["-c", script])
}

fn ssh_site(sshd: &Sshd) -> SshSite {
    SshSite::new("far".parse().unwrap(), &sshd.config(), &sshd.login())
}

fn local_site(dir: &Path) -> LocalSite {
    let config = SiteConfig { ssh: None, address: "127.0.0.1".into(), dir: dir.join("site"), peer_ssh: None };
    LocalSite::new("here".parse().unwrap(), &config)
}

/// Pids below a process.
fn children(parent: i32) -> Vec<i32> {
    let told = std::process::Command::new("pgrep").args(["-P", &parent.to_string()]).output().unwrap();
    String::from_utf8_lossy(&told.stdout).lines().filter_map(|pid| pid.parse().ok()).collect()
}

fn runs(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// There is no event for the end of somebody else's process.
async fn gone(pids: &[i32]) {
    let begun = Instant::now();
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(begun.elapsed() < VANISH, "still there: {pids:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn pid_in(file: &Path) -> i32 {
    loop {
        let read = std::fs::read_to_string(file).ok();
        if let Some(pid) = read.and_then(|pid| pid.trim().parse().ok()) {
            return pid;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

macro_rules! on_both {
    ($($story:ident),* $(,)?) => {
        mod here {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                let dir = tempfile::tempdir().unwrap();
                super::suite::$story(&super::local_site(dir.path())).await;
            })*
        }
        mod over_ssh {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $story() {
                let Some(sshd) = super::Sshd::start() else { return };
                super::suite::$story(&super::ssh_site(&sshd)).await;
            })*
        }
    };
}

on_both! {
    arguments_come_back_exactly,
    what_no_argument_can_carry_is_refused,
    input_comes_whole_and_ends,
    statuses_come_back,
    a_failure_tells_the_end_of_stderr,
    the_two_outputs_are_apart,
    big_output_is_bounded_and_lets_the_command_end,
    every_line_reaches_a_slow_reader,
    a_started_command_gets_its_input_and_no_end_of_it,
    dropping_it_ends_the_command_and_its_children,
    dropping_a_run_ends_the_command,
    a_command_over_its_time_is_ended,
    what_a_command_leaves_behind_is_ended,
    a_file_is_put_whole_with_its_mode,
    a_file_that_cannot_be_put_leaves_nothing,
    nothing_is_left_in_its_directory,
}

/// The process that the tests below kill.
#[tokio::test]
#[ignore = "started by other tests"]
async fn holds_a_stubborn_command() {
    let given = std::env::var(CHILD_ENV).expect("set by the test that starts this");
    let login: Vec<&str> = given.split('\n').collect();
    let dir = Path::new(login[0]);
    let site: Box<dyn Site> = match login.get(1) {
        None => Box::new(local_site(dir)),
        Some(port) => {
            let login = fluidcloud_providers::SshConfig {
                host: "127.0.0.1".into(),
                port: port.parse().unwrap(),
                user: "root".into(),
                key: dir.join("user"),
                known_hosts: dir.join("known_hosts"),
            };
            let config = SiteConfig {
                ssh: Some(login.clone()),
                address: "127.0.0.1".into(),
                dir: dir.join("site"),
                peer_ssh: None,
            };
            Box::new(SshSite::new("far".parse().unwrap(), &config, &login))
        }
    };
    let mut running = site.start(&sh(suite::STUBBORN)).await.unwrap();
    let pids = suite::pids_of_a_stubborn_command(&mut running).await;
    println!("\npids {} {}", pids[0], pids[1]);
    running.next().await;
}

async fn killing_the_process_ends_its_command(given: String) {
    let mut process = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holds_a_stubborn_command", "--ignored", "--nocapture"])
        .env(CHILD_ENV, given)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let told = said.find_map(|line| line.strip_prefix("pids ").map(str::to_owned)).expect("it says its pids");
    let pids: Vec<i32> = told.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| runs(*pid)));
    process.kill().unwrap();
    process.wait().unwrap();
    gone(&pids).await;
}

#[tokio::test]
async fn a_killed_process_takes_its_local_command_along() {
    let dir = tempfile::tempdir().unwrap();
    killing_the_process_ends_its_command(dir.path().display().to_string()).await;
}

#[tokio::test]
async fn a_killed_process_takes_its_far_command_along() {
    let Some(sshd) = Sshd::start() else { return };
    killing_the_process_ends_its_command(format!("{}\n{}", sshd.dir.path().display(), sshd.port)).await;
}

#[tokio::test]
async fn a_lost_connection_is_no_success_and_ends_the_command() {
    let Some(sshd) = Sshd::start() else { return };
    let mut running = ssh_site(&sshd).start(&sh(suite::STUBBORN)).await.unwrap();
    let pids = suite::pids_of_a_stubborn_command(&mut running).await;
    let connections = sshd.connections();
    assert!(!connections.is_empty());
    for pid in connections {
        std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    }
    assert_eq!(running.next().await, Some(Line::Exit(None)));
    gone(&pids).await;
}

#[tokio::test]
async fn a_host_with_another_key_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    sshd.know(&format!("[127.0.0.1]:{} {}", sshd.port, sshd.read("stranger.pub")));
    let refused = ssh_site(&sshd).run(&Command::new("true")).await;
    assert!(matches!(refused, Err(Error::HostKey { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_unknown_host_is_refused() {
    let Some(sshd) = Sshd::start() else { return };
    for line in ["", &format!("[127.0.0.1]:1 {}", sshd.read("host.pub"))] {
        sshd.know(line);
        let refused = ssh_site(&sshd).run(&Command::new("true")).await;
        assert!(matches!(refused, Err(Error::HostKey { .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn a_key_that_the_host_does_not_know_is_unauthorized() {
    let Some(sshd) = Sshd::start() else { return };
    let mut login = sshd.login();
    login.key = sshd.path("stranger");
    let site = SshSite::new("far".parse().unwrap(), &sshd.config(), &login);
    let refused = site.run(&Command::new("true")).await;
    assert!(matches!(refused, Err(Error::Unauthorized { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_missing_key_file_is_named() {
    let Some(sshd) = Sshd::start() else { return };
    let mut login = sshd.login();
    login.key = sshd.path("nowhere");
    let site = SshSite::new("far".parse().unwrap(), &sshd.config(), &login);
    let refused = site.run(&Command::new("true")).await.unwrap_err();
    assert!(matches!(refused, Error::Config { .. }) && refused.to_string().contains("nowhere"), "{refused}");
}

#[tokio::test]
async fn a_host_that_is_down_is_unreachable() {
    let Some(sshd) = Sshd::start() else { return };
    let site = ssh_site(&sshd);
    drop(sshd);
    let down = site.run(&Command::new("true")).await;
    // Its files went with it: the key is looked for only once the host answers.
    assert!(matches!(down, Err(Error::Unreachable { .. })), "{down:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_commands_than_sessions_wait_for_their_turn() {
    let Some(sshd) = Sshd::start() else { return };
    let site = ssh_site(&sshd);
    let all = (0..fluidcloud_providers::site::SESSIONS_MAX + 8).map(|at| {
        let site = site.clone();
        tokio::spawn(async move { site.run(&Command::new("echo").arg(at.to_string())).await.unwrap().text() })
    });
    for (at, one) in all.collect::<Vec<_>>().into_iter().enumerate() {
        assert_eq!(one.await.unwrap(), format!("{at}\n"));
    }
}
