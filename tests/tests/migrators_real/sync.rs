//! Syncing with real viaducts between two sites on this host.

use std::process::Command;

use fluidcloud_proto::Code;
use fluidcloud_proto::plan::MigratorKind::Image;
use fluidcloud_proto::progress::TransferReport;
use fluidcloud_proto::request::{Transport, TransportKind};
use fluidcloud_proto::task::{Output, SyncDisk, Work};
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_tests::cli::Said;

use crate::sshd::Sshd;
use crate::stage::{Stage, digest, disk, kill9, sh};

const NOISE_MIB: u64 = 48;
const SLOW: u64 = 12 << 20;

fn places(stage: &Stage) -> (DiskPlace, DiskPlace) {
    let make = format!(
        "truncate -s 100M from.raw to.raw; dd if=/dev/urandom of=from.raw bs=1M count={NOISE_MIB} seek=10 conv=notrunc status=none"
    );
    sh(stage.dir.path(), &make);
    let place =
        |name: &str| DiskPlace { path: stage.path(name).to_str().unwrap().into(), format: DiskFormat::Raw };
    (place("from.raw"), place("to.raw"))
}

fn sync(from: &DiskPlace, to: &DiskPlace, rate: Option<u64>) -> Work {
    Work::SyncDisk(SyncDisk {
        disk: disk("sda", to.clone(), false).disk,
        size_bytes: 100 << 20,
        source: "a".parse().unwrap(),
        from: from.clone(),
        to: to.clone(),
        transport: Transport { rate_bytes_per_sec: rate, ..Transport::default() },
    })
}

fn over_ssh(work: Work) -> Work {
    match work {
        Work::SyncDisk(mut order) => {
            order.transport.kind = TransportKind::Ssh;
            Work::SyncDisk(order)
        }
        other => other,
    }
}

/// Until more than half of the noise is at the target.
async fn half_way(to: &DiskPlace) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(&to.path).unwrap();
    let mut bytes = [0; 4096];
    while bytes == [0; 4096] {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        file.read_exact_at(&mut bytes, 40 << 20).unwrap();
    }
}

fn transfer(output: Output) -> TransferReport {
    match output {
        Output::Synced { transfer } => transfer,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_disk_arrives_verified_and_a_second_time_nothing_crosses() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    let first = transfer(stage.perform(Image, 1, sync(&from, &to, None)).await.unwrap());
    assert!(first.verified && first.bytes_total == 100 << 20, "{first:?}");
    assert!(first.bytes_read >= NOISE_MIB << 20 && first.bytes_on_wire >= NOISE_MIB << 20, "{first:?}");
    assert_eq!(digest(&from.path), digest(&to.path));
    let again = transfer(stage.perform(Image, 2, sync(&from, &to, None)).await.unwrap());
    assert_eq!(again.digest, first.digest);
    assert!(again.bytes_on_wire < first.bytes_on_wire + (1 << 20), "sent again: {again:?}");
}

#[tokio::test]
async fn free_space_is_left_out_and_told_unless_the_request_wants_the_whole_disk() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    // Residue of a deleted file, for all the file system knows.
    let make = "truncate -s 0 from.raw; truncate -s 100M from.raw; mkfs.ext4 -q from.raw; \
        dd if=/dev/urandom of=from.raw bs=1M count=3 seek=80 conv=notrunc status=none";
    sh(stage.dir.path(), make);
    let live = transfer(stage.perform(Image, 1, sync(&from, &to, None)).await.unwrap());
    assert!(live.bytes_free >= 2 << 20, "{live:?}");
    let [area] = &live.areas[..] else { panic!("{live:?}") };
    assert_eq!((area.content.as_str(), area.length_bytes, &area.whole_because), ("ext4", 100 << 20, &None));
    assert!(area.bytes_free > 50 << 20, "{area:?}");
    let Work::SyncDisk(mut order) = sync(&from, &to, None) else { unreachable!() };
    order.transport.whole = true;
    let whole = transfer(stage.perform(Image, 2, Work::SyncDisk(order)).await.unwrap());
    assert_eq!((whole.bytes_free, &whole.areas[..]), (0, &[][..]));
    assert_eq!(digest(&from.path), digest(&to.path));
}

/// The journal of the copy says that everything is there.
#[tokio::test]
async fn a_target_that_has_changed_unnoticed_since_it_was_written_is_copied_again() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    transfer(stage.perform(Image, 1, sync(&from, &to, None)).await.unwrap());
    let change = "touch -r to.raw stamp; printf x | dd of=to.raw bs=1 seek=20M conv=notrunc status=none; touch -r stamp to.raw";
    sh(stage.dir.path(), change);
    transfer(stage.perform(Image, 2, sync(&from, &to, None)).await.unwrap());
    assert_eq!(digest(&from.path), digest(&to.path));
}

#[tokio::test]
async fn a_qcow2_disk_arrives_in_a_raw_one() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    let qcow2 = DiskPlace { path: format!("{}.qcow2", from.path), format: DiskFormat::Qcow2 };
    let convert = ["convert", "-f", "raw", "-O", "qcow2", &from.path, &qcow2.path];
    Said::of(Command::new("qemu-img").args(convert)).succeeded();
    transfer(stage.perform(Image, 1, sync(&qcow2, &to, None)).await.unwrap());
    assert_eq!(digest(&from.path), digest(&to.path));
}

#[tokio::test]
async fn either_end_may_be_killed_and_the_rest_is_sent_only() {
    for end in [" send ", " receive "] {
        let Some(stage) = Stage::new() else { return };
        let (from, to) = places(&stage);
        let (synced, ()) = tokio::join!(stage.perform(Image, 1, sync(&from, &to, Some(SLOW))), async {
            stage.until_there(" send ").await;
            half_way(&to).await;
            let viaducts = stage.pids(end).into_iter().filter(|pid| {
                std::fs::read_link(format!("/proc/{pid}/exe"))
                    .is_ok_and(|exe| exe.to_string_lossy().contains("viaduct"))
            });
            kill9(&viaducts.collect::<Vec<_>>());
        });
        let report = transfer(synced.unwrap());
        assert_eq!(digest(&from.path), digest(&to.path));
        let data = NOISE_MIB << 20;
        assert!(
            report.bytes_on_wire >= data && report.bytes_on_wire < data + (40 << 20),
            "{end}: {report:?}"
        );
        assert!(report.bytes_reused > 0, "{end}: {report:?}");
    }
}

#[tokio::test]
async fn a_dropped_copy_leaves_no_process_and_goes_on_later() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    let task = stage.task(Image, 1, sync(&from, &to, Some(SLOW)));
    let image = stage.migrators.choose(Image).unwrap();
    let (context, _progress) = fluidcloud_migrators::Context::new();
    tokio::select! {
        copied = image.perform(&task, &context) => panic!("it ended before it was dropped: {copied:?}"),
        () = half_way(&to) => (),
    }
    image.halt(&task).await.unwrap();
    assert_eq!(stage.pids(" receive "), Vec::<u32>::new());
    let report = transfer(stage.perform(Image, 2, sync(&from, &to, None)).await.unwrap());
    assert_eq!(digest(&from.path), digest(&to.path));
    // What the first worker has sent is in the sum, though another one finished; but for its last moments, which it had
    // no time to tell.
    let sent_now = (NOISE_MIB << 20) - report.bytes_reused;
    assert!(report.bytes_reused > 0, "{report:?}");
    assert!(report.bytes_on_wire > sent_now + report.bytes_reused / 2, "{report:?}");
}

#[tokio::test]
async fn over_ssh_the_host_key_is_checked_and_the_disk_arrives() {
    let Some(stage) = Stage::new() else { return };
    let (from, to) = places(&stage);
    let failure = stage.perform(Image, 1, over_ssh(sync(&from, &to, None))).await.unwrap_err().to_failure();
    assert!(failure.remedy.contains("peer_ssh"), "{failure}");

    let Some(sshd) = Sshd::start(stage.dir.path()) else { return };
    let stage = stage.with_login(sshd.login("wrong_hosts"));
    let failure = stage.perform(Image, 2, over_ssh(sync(&from, &to, None))).await.unwrap_err().to_failure();
    assert_eq!((failure.code, failure.retryable()), (Code::HostKey, false), "{failure}");

    let stage = stage.with_login(sshd.login("known_hosts"));
    let report = transfer(stage.perform(Image, 3, over_ssh(sync(&from, &to, None))).await.unwrap());
    assert!(report.verified && report.bytes_on_wire >= NOISE_MIB << 20, "{report:?}");
    assert_eq!(digest(&from.path), digest(&to.path));
}
