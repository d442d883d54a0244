//! Workers as processes, played by a shell script: they start, start again, end, and never outlive who placed them.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fluidcloud_broker::placement::{Placement, Processes, ProcessesOptions};
use fluidcloud_proto::command::WorkerNeed;
use fluidcloud_proto::plan::MigratorKind;
use rustix::process::{Pid, Signal, kill_process};

/// Notes its process id and arguments, then lives as long as its standard input.
const OBEDIENT: &str = "echo $$ \"$@\" >>\"$0.log\"\nexec cat >/dev/null\n";
/// The same, but deaf to SIGTERM.
const STUBBORN: &str = "trap '' TERM\necho $$ \"$@\" >>\"$0.log\"\nwhile read -r line; do :; done\n";
/// How long anything here may take.
const SOON: Duration = Duration::from_secs(20);
const HELPER_DIR: &str = "FLUIDCLOUD_TEST_HELPER_DIR";

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("worker.sh");
    fs::write(&path, text).unwrap();
    path
}

fn placement(script: &Path, drain: Duration) -> Processes {
    let args = vec![OsString::from(script)];
    Processes::new(ProcessesOptions { program: "/bin/sh".into(), args, drain })
}

fn need(site: &str) -> WorkerNeed {
    WorkerNeed { kind: MigratorKind::Image, site: site.parse().unwrap() }
}

/// The lines the script has written, when there are at least so many.
async fn log(script: &Path, lines: usize) -> Vec<String> {
    let path = format!("{}.log", script.display());
    eventually(|| {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let read: Vec<String> = text.lines().map(str::to_owned).collect();
        (read.len() >= lines && text.ends_with('\n')).then_some(read)
    })
    .await
}

async fn eventually<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "it did not happen within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn pid(line: &str) -> Pid {
    Pid::from_raw(line.split(' ').next().unwrap().parse().unwrap()).unwrap()
}

/// Gone, or dead and only not yet reaped by whoever inherited it.
fn is_dead(pid: Pid) -> bool {
    match fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())) {
        Ok(stat) => stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z')),
        Err(_) => true,
    }
}

#[tokio::test]
async fn a_worker_is_started_once_with_what_it_needs_to_know() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), OBEDIENT);
    let placement = placement(&script, SOON);
    placement.place(&need("b")).await.unwrap();
    placement.place(&need("b")).await.unwrap();
    placement.place(&need("c")).await.unwrap();
    let lines = log(&script, 2).await;
    for site in ["b", "c"] {
        let line = lines.iter().find(|line| line.contains(&format!("--site {site}"))).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[1..6], ["migrator", "image", "--site", site, "--worker"]);
        assert_eq!(words[7..], ["--die-with-stdin"]);
        let started = placement.pid(&words[6].parse().unwrap()).unwrap();
        assert_eq!(started.to_string(), words[0]);
    }
    placement.drain().await;
    assert!(lines.iter().all(|line| is_dead(pid(line))));
    assert_eq!(log(&script, 2).await.len(), 2);
}

#[tokio::test]
async fn a_worker_that_dies_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), OBEDIENT);
    let placement = placement(&script, SOON);
    placement.place(&need("b")).await.unwrap();
    let first = pid(&log(&script, 1).await[0]);
    kill_process(first, Signal::KILL).unwrap();
    let lines = log(&script, 2).await;
    assert_ne!(pid(&lines[1]), first);
    assert_ne!(lines[1].split(' ').nth(6), lines[0].split(' ').nth(6), "a new worker has a new id");
    placement.drain().await;
    assert!(is_dead(pid(&lines[1])));
}

#[tokio::test]
async fn a_retired_worker_is_gone_and_stays_gone() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), OBEDIENT);
    let placement = placement(&script, SOON);
    placement.place(&need("b")).await.unwrap();
    let first = pid(&log(&script, 1).await[0]);
    placement.retire(&need("b")).await;
    assert!(is_dead(first));
    placement.drain().await;
    placement.place(&need("b")).await.unwrap();
    assert_eq!(log(&script, 1).await.len(), 1, "nothing is placed after a drain");
}

#[tokio::test]
async fn a_worker_that_is_deaf_to_sigterm_is_killed_after_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), STUBBORN);
    let placement = placement(&script, Duration::from_millis(300));
    placement.place(&need("b")).await.unwrap();
    let deaf = pid(&log(&script, 1).await[0]);
    let before = std::time::Instant::now();
    placement.drain().await;
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert!(is_dead(deaf));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_that_names_it() {
    let options = ProcessesOptions { program: "/nowhere/fluidcloud".into(), args: vec![], drain: SOON };
    let error = Processes::new(options).place(&need("b")).await.unwrap_err();
    assert!(error.to_string().contains("/nowhere/fluidcloud"), "{error}");
}

#[tokio::test]
async fn no_worker_outlives_a_broker_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let script = script(dir.path(), OBEDIENT);
    let mut broker = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "holds_workers_until_it_is_killed"])
        .env(HELPER_DIR, dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines = log(&script, 2).await;
    assert!(lines.iter().all(|line| !is_dead(pid(line))));
    broker.kill().await.unwrap();
    eventually(|| lines.iter().all(|line| is_dead(pid(line))).then_some(())).await;
}

#[tokio::test]
#[ignore = "the other process of `no_worker_outlives_a_broker_that_is_killed`"]
async fn holds_workers_until_it_is_killed() {
    let dir = PathBuf::from(std::env::var_os(HELPER_DIR).expect("started by the test that names it"));
    let placement = placement(&dir.join("worker.sh"), SOON);
    placement.place(&need("b")).await.unwrap();
    placement.place(&need("c")).await.unwrap();
    std::future::pending::<()>().await;
}
