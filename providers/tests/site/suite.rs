//! What every site must do, run on each.

use std::path::PathBuf;
use std::time::Duration;

use fluidcloud_providers::site::{LINE_BYTES_MAX, OUTPUT_BYTES_MAX};
use fluidcloud_providers::{Command, Error, Line, Running, Site};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::{gone, sh};

async fn lines(running: &mut Running) -> Vec<Line> {
    let mut lines = Vec::new();
    while let Some(line) = running.next().await {
        lines.push(line);
    }
    lines
}

async fn exit(site: &dyn Site, script: &str) -> Option<i32> {
    let mut running = site.start(&sh(script)).await.unwrap();
    match lines(&mut running).await.pop() {
        Some(Line::Exit(status)) => status,
        other => panic!("the last line is {other:?}"),
    }
}

pub async fn arguments_come_back_exactly(site: &dyn Site) {
    let mut runner = TestRunner::new(Config { cases: 24, ..Config::default() });
    let args = prop::collection::vec(
        "[^\\x00]{0,40}|['\"$`\\\\\\n\\r\\t *!~#&;|<>(){}\\[\\]\\u{80}-\\u{9f}é€😀]{0,40}",
        1..6,
    );
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        runner
            .run(&(args, "[^\\x00]{0,40}"), |(args, value)| {
                let command = Command::new("sh")
                    .args(["-c", r#"printf '%s\0' "$VALUE" "$@""#, "sh"])
                    .args(args.clone())
                    .env("VALUE", &value);
                let finished = runtime.block_on(site.run(&command)).unwrap();
                let told: Vec<_> = finished.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
                let mut wanted = vec![value.into_bytes()];
                wanted.extend(args.into_iter().map(String::into_bytes));
                wanted.push(Vec::new());
                prop_assert_eq!(told, wanted);
                Ok(())
            })
            .unwrap();
    });
}

pub async fn what_no_argument_can_carry_is_refused(site: &dyn Site) {
    let refused = site.run(&Command::new("printf").arg("a\0b")).await;
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
    let refused = site.run(&Command::new("true").env("A;touch /tmp/x;B", "v")).await;
    assert!(matches!(refused, Err(Error::Unsupported { .. })), "{refused:?}");
}

pub async fn input_comes_whole_and_ends(site: &dyn Site) {
    for size in [0, 1, 100_000, 3 << 20] {
        let bytes: Vec<u8> = (0..size).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let finished = site.run(&Command::new("cat").stdin(bytes.clone())).await.unwrap();
        assert!(finished.stdout == bytes, "{size} bytes of input became {}", finished.stdout.len());
    }
}

pub async fn statuses_come_back(site: &dyn Site) {
    for status in [0, 1, 2, 93, 125, 128, 160, 164, 218, 254, 255] {
        assert_eq!(exit(site, &format!("exit {status}")).await, Some(status));
    }
    assert_eq!(exit(site, "kill -9 $$").await, None);
    // The one that an exit status of nothing at all would look like.
    assert_eq!(exit(site, "exit 165").await, None);
    let missing = site.run(&Command::new("/no/such/program")).await;
    let Err(Error::CommandFailed { status, stderr, .. }) = missing else { panic!("{missing:?}") };
    assert!(status.contains("127") && stderr.contains("/no/such/program"), "{status}: {stderr}");
}

pub async fn a_failure_tells_the_end_of_stderr(site: &dyn Site) {
    let failed = site.run(&sh("echo out; echo the reason >&2; exit 7").env("TOKEN", "hunter2")).await;
    let told = failed.unwrap_err().to_string();
    assert!(told.contains("the reason") && told.contains("status 7"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
}

pub async fn the_two_outputs_are_apart(site: &dyn Site) {
    let finished = site.run(&sh("echo one; echo two >&2; echo three")).await.unwrap();
    assert_eq!((finished.text().as_str(), finished.stderr.as_str()), ("one\nthree\n", "two\n"));
}

pub async fn big_output_is_bounded_and_lets_the_command_end(site: &dyn Site) {
    let finished = site.run(&sh("head -c 20000000 /dev/zero; echo end >&2")).await.unwrap();
    assert_eq!((finished.stdout.len(), finished.stderr.as_str()), (OUTPUT_BYTES_MAX, "end\n"));
    let mut running =
        site.start(&sh("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo next")).await.unwrap();
    let told = lines(&mut running).await;
    let Line::Stdout(first) = &told[0] else { panic!("{:?}", told.len()) };
    assert_eq!(first.len(), LINE_BYTES_MAX);
    assert_eq!(told[1..], [Line::Stdout("next".into()), Line::Exit(Some(0))]);
}

pub async fn every_line_reaches_a_slow_reader(site: &dyn Site) {
    let mut running = site.start(&sh("seq 1 20000")).await.unwrap();
    let mut next = 1;
    loop {
        match running.next().await {
            Some(Line::Stdout(line)) => {
                assert_eq!(line, next.to_string());
                next += 1;
                if next % 2000 == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            other => break assert_eq!(other, Some(Line::Exit(Some(0)))),
        }
    }
    assert_eq!(next, 20001);
}

pub async fn a_started_command_gets_its_input_and_no_end_of_it(site: &dyn Site) {
    let mut running =
        site.start(&sh("read line; echo got $line; cat; echo ended").stdin("first\n")).await.unwrap();
    assert_eq!(running.next().await, Some(Line::Stdout("got first".into())));
    let more = tokio::time::timeout(Duration::from_secs(1), running.next()).await;
    assert!(more.is_err(), "its input was closed: {more:?}");
}

/// Prints its pid and that of a child in a process group of its own (as `timeout` makes), both deaf to TERM.
pub const STUBBORN: &str = r#"trap '' TERM; echo $$; timeout 1000 sleep 1000 & echo $!; wait"#;

pub async fn pids_of_a_stubborn_command(running: &mut Running) -> Vec<i32> {
    let mut pids = Vec::new();
    while pids.len() < 2 {
        match running.next().await {
            Some(Line::Stdout(line)) => pids.push(line.parse().unwrap()),
            other => panic!("{other:?}"),
        }
    }
    pids
}

pub async fn dropping_it_ends_the_command_and_its_children(site: &dyn Site) {
    let mut running = site.start(&sh(STUBBORN)).await.unwrap();
    let pids = pids_of_a_stubborn_command(&mut running).await;
    drop(running);
    gone(&pids).await;
}

pub async fn dropping_a_run_ends_the_command(site: &dyn Site) {
    let file = site.dir().join("pid");
    let script = format!("echo $$ >{0}.new; mv {0}.new {0}; exec sleep 1000", file.display());
    let command = sh(&script);
    let pid = tokio::select! {
        finished = site.run(&command) => panic!("{finished:?}"),
        pid = super::pid_in(&file) => pid,
    };
    gone(&[pid]).await;
}

pub async fn a_command_over_its_time_is_ended(site: &dyn Site) {
    let file = site.dir().join("pid");
    let late = site.run(&sh(&format!("echo $$ >{}; exec sleep 1000", file.display())).timeout_secs(2)).await;
    assert!(matches!(late, Err(Error::TimedOut { secs: 2, .. })), "{late:?}");
    gone(&[super::pid_in(&file).await]).await;
}

pub async fn what_a_command_leaves_behind_is_ended(site: &dyn Site) {
    let finished = site.run(&sh("sleep 1000 >/dev/null 2>&1 & echo $!")).await.unwrap();
    gone(&[finished.text().trim().parse().unwrap()]).await;
}

pub async fn a_file_is_put_whole_with_its_mode(site: &dyn Site) {
    use std::os::unix::fs::PermissionsExt;
    let bytes: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    let local = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(local.path(), &bytes).unwrap();
    let remote = site.dir().join("bin/it's a tool");
    site.put_bytes(b"old", &remote, 0o600).await.unwrap();
    site.put(local.path(), &remote, 0o755).await.unwrap();
    assert!(std::fs::read(&remote).unwrap() == bytes);
    assert_eq!(remote.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read_dir(remote.parent().unwrap()).unwrap().count(), 1, "temporary files are left");
    assert_eq!(site.dir().metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

pub async fn a_file_that_cannot_be_put_leaves_nothing(site: &dyn Site) {
    let blocked = site.dir().join("file");
    site.put_bytes(b"x", &blocked, 0o600).await.unwrap();
    let refused = site.put_bytes(b"y", &blocked.join("below"), 0o600).await;
    assert!(matches!(refused, Err(Error::CommandFailed { .. })), "{refused:?}");
    for path in ["relative/path", "/tmp/../x", "/"] {
        let refused = site.put_bytes(b"y", &PathBuf::from(path), 0o600).await;
        assert!(matches!(refused, Err(Error::Unsupported { .. })), "{path}: {refused:?}");
    }
    assert_eq!(std::fs::read(&blocked).unwrap(), b"x");
}

pub async fn nothing_is_left_in_its_directory(site: &dyn Site) {
    site.run(&Command::new("cat").stdin("x")).await.unwrap();
    let mut running = site.start(&sh("exit 3")).await.unwrap();
    assert_eq!(lines(&mut running).await, [Line::Exit(Some(3))]);
    assert_eq!(std::fs::read_dir(site.dir()).unwrap().count(), 0);
}
