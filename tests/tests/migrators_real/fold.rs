//! Folding a volume: everything a file can be arrives, and nothing happens when it cannot.

use fluidcloud_proto::Code;
use fluidcloud_proto::plan::MigratorKind::Volume;
use fluidcloud_proto::task::{FoldVolume, Folded, GuestDisk, Output, Work};

use crate::stage::{Stage, digest, disk, kill9};

/// The kinds of files that careless copying breaks.
const ODD: &str = r#"
    mkdir -p a/b shared empty lost+found/kept-out sub/lost+found
    echo one > a/one; ln a/one a/b/same; ln a/one 'third name'
    echo nested > sub/lost+found/kept
    truncate -s 8M sparse; echo middle | dd of=sparse bs=1 seek=4M conv=notrunc status=none
    : > empty-file
    ln -s ../one a/b/relative; ln -s /etc/passwd absolute; ln -s nowhere dangling
    mkfifo pipe; mknod null c 1 3
    echo x > 'häagen-☕'; echo x > $'two\nlines'; echo x > '-dash'; echo x > "quo\"te's \$HOME \\"
    head -c 300000 /dev/urandom > noise
    chown -R 1500:1500 .; chown -h 33:44 dangling; chown 0:0 noise
    chmod 4750 a/one; chmod 2775 shared; chmod 1777 empty; chmod 000 empty-file
    setfattr -n user.mime -v image/png noise; setfattr -n user.bytes -v 0x00ff10 a/one
    setfattr -n security.capability -v 0x0100000202000000000000000000000000000000 noise
    setfacl -m u:33:rwx,d:u:33:rx shared; setfacl -m g:44:r noise
    find . -exec touch -h -d '2024-02-29 12:34:56.789' {} +
    chmod 750 .; touch -d '2023-01-02 03:04:05.678' .
"#;

/// Everything about a tree, in one text. Sorted by name; `lost+found` at the top is the file system's own.
const ALL: &str = r#"
    find . -path ./lost+found -prune -o -printf '%P|%y|%m|%U|%G|%n|%T@|%l\n' | sed -E 's/^([^|]*\|d\|[^|]*\|[^|]*\|[^|]*)\|[0-9]+/\1|-/' | sort
    find . -path ./lost+found -prune -o -type f -print0 | sort -z | xargs -0 sha256sum
    find . -path ./lost+found -prune -o -print0 | sort -z | xargs -0 getfattr -h -d -m - -e hex 2>/dev/null
    find . -path ./lost+found -prune -o -not -type l -print0 | sort -z | xargs -0 getfacl -n -p
    stat -c %b sparse | awk '{ print ($1 < 1000) ? "sparse" : "not sparse" }'
"#;

pub fn fold(root: &GuestDisk, volume: &GuestDisk, into: &str) -> Work {
    Work::FoldVolume(FoldVolume { volume: volume.clone(), root: root.clone(), into: into.into() })
}

pub async fn folded(stage: &Stage, epoch: u64, work: Work) -> Folded {
    match stage.perform(Volume, epoch, work).await.unwrap() {
        Output::Folded(folded) => folded,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_folded_volume_is_the_same_tree_and_done_twice_is_once() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(160, "");
    let volume = disk("sdb", stage.file_system("data", 32, ODD), true);
    let before = (stage.inside(&volume.place, ALL), digest(&volume.place.path));
    let first = folded(&stage, 1, fold(&root, &volume, "/srv/data")).await;
    assert_eq!(stage.inside(&root.place, &format!("cd srv/data; {ALL}")), before.0);
    assert_eq!(digest(&volume.place.path), before.1, "the volume was changed");
    assert!(first.entries > 20 && first.bytes > 8 << 20, "{first:?}");
    let fstab = stage.inside(&root.place, "cat etc/fstab");
    assert_eq!(fstab, "LABEL=root / ext4 defaults 0 1\n");
    stage.inside(&root.place, "[ ! -e srv/data/lost+found ] && [ -e srv/data/sub/lost+found/kept ]");

    let after = digest(&root.place.path);
    assert_eq!(folded(&stage, 2, fold(&root, &volume, "/srv/data")).await, first);
    assert_eq!(digest(&root.place.path), after);
}

#[tokio::test]
async fn what_cannot_be_folded_changes_nothing_and_is_told() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(64, "mkdir srv/full; echo x > srv/full/x; ln -s full srv/link");
    let small = disk("sdb", stage.file_system("small", 16, "echo x > x"), true);
    let large = disk("sdc", stage.file_system("large", 96, "head -c 70M /dev/urandom > noise"), true);
    let before = digest(&root.place.path);
    for (volume, into, code, told) in [
        (&large, "/srv/data", Code::NoRoom, "does not fit into /srv/data"),
        (&small, "/srv/full", Code::NameTaken, "something is there already"),
        (&small, "/srv/link", Code::GuestUnsupported, "symbolic link"),
        (&small, "/srv/../etc", Code::GuestUnsupported, "plain absolute path"),
    ] {
        let failure = stage.perform(Volume, 1, fold(&root, volume, into)).await.unwrap_err().to_failure();
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(told), "{failure}");
        assert_eq!(digest(&root.place.path), before, "{failure}");
    }
}

#[tokio::test]
async fn a_volume_that_was_not_unmounted_is_folded_with_its_journal_replayed() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(96, "");
    let volume = disk("sdb", stage.file_system("data", 32, "echo kept > kept"), true);
    // As a crash leaves it: what was written last is in the journal only.
    let crash = "mkdir m && mount -o loop data.raw m && echo late > m/late && sync -f m && cp --sparse=always data.raw crashed.raw && umount m && mv crashed.raw data.raw";
    let mut unshared = std::process::Command::new("unshare");
    unshared.args(["-m", "sh", "-ec", crash]).current_dir(stage.dir.path());
    fluidcloud_tests::cli::Said::of(&mut unshared).succeeded();
    let before = digest(&volume.place.path);
    let work = fold(&root, &volume, "/srv/data");
    folded(&stage, 1, work).await;
    assert_eq!(stage.inside(&root.place, "cat srv/data/kept srv/data/late"), "kept\nlate\n");
    assert_eq!(digest(&volume.place.path), before);
}

#[tokio::test]
async fn an_appliance_killed_in_the_middle_costs_only_time() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(160, "");
    let volume = disk("sdb", stage.file_system("data", 64, "head -c 40M /dev/urandom > noise"), true);
    let before = digest(&root.place.path);
    let work = fold(&root, &volume, "/srv/data");
    let (outcome, ()) = tokio::join!(stage.perform(Volume, 1, work.clone()), async {
        let overlay = stage.path("root.raw.work-fold-sdb.qcow2");
        stage.until_there("qemu-system").await;
        // Until the copy is under way: an empty overlay has less than a megabyte.
        let written = || std::fs::metadata(&overlay).map_or(0, |file| file.len());
        for _ in 0..6000 {
            if written() >= 4 << 20 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(written() >= 4 << 20, "no copy has begun");
        kill9(&stage.pids("qemu-system"));
    });
    let failure = outcome.unwrap_err().to_failure();
    assert_eq!(digest(&root.place.path), before, "{failure}");
    let folded = folded(&stage, 2, work).await;
    assert_eq!(stage.inside(&root.place, "ls srv/data"), "noise\n");
    assert_eq!(folded.bytes, 40 << 20);
}

#[tokio::test]
async fn a_newer_attempt_ends_the_older_one_and_takes_over() {
    let Some(stage) = Stage::new() else { return };
    let root = stage.root(96, "");
    let volume = disk("sdb", stage.file_system("data", 16, "echo kept > kept"), true);
    let work = fold(&root, &volume, "/srv/data");
    let (older, newer) = tokio::join!(stage.perform(Volume, 1, work.clone()), async {
        stage.until_there("qemu-system").await;
        folded(&stage, 2, work.clone()).await
    });
    assert!(older.is_err(), "{older:?}");
    assert_eq!(stage.inside(&root.place, "cat srv/data/kept"), "kept\n");
    assert_eq!(folded(&stage, 1, work).await, newer, "what is done is told, whoever asks");
    assert_eq!(stage.pids("qemu-system"), Vec::<u32>::new());
}
