//! Images with file systems, made with the tools of their makers and filled by the kernel.

use crate::lab::have;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use viaduct::{Area, Disk, LiveSource, Source, open_source};

pub const MIB: u64 = 1 << 20;

/// Whether file systems can be made and mounted here.
pub fn can_mount(tools: &[&str]) -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|said| said.stdout == b"0\n");
    if !root {
        assert!(std::env::var_os("CI").is_none(), "only root can mount");
        eprintln!("SKIPPED: only root can mount");
    }
    root && tools.iter().chain(&["unshare", "mount"]).all(|tool| have(tool))
}

/// The kernel lets go of a loop device some time after it was told to, and refuses another one on the same file before.
const PATIENT_MOUNT: &str = r#"mount() {
    tries=0
    until command mount "$@"; do tries=$((tries + 1)); [ "$tries" -lt 50 ] || return 1; sleep 0.2; done
}
"#;

/// Runs a script in mounts of its own, which end with it.
pub fn script(text: &str, arguments: &[&Path]) -> String {
    let mut command = Command::new("unshare");
    let patient = format!("{PATIENT_MOUNT}{text}");
    command.args(["--mount", "sh", "-euc", &patient, "script"]).args(arguments);
    let ran = command.output().unwrap();
    let (said, complained) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{text}\n{said}\n{complained}");
    said.trim().to_owned()
}

/// Makes an image of `size` bytes with the file system that `mkfs` makes in it.
pub fn make(dir: &Path, size: u64, mkfs: &str) -> PathBuf {
    let image = dir.join("image");
    File::create(&image).unwrap().set_len(size).unwrap();
    script(&format!("{mkfs} \"$1\""), &[&image]);
    image
}

/// Writes much, deletes much of it, and leaves residue in free space: text, noise, links, holes, small files and large ones.
pub fn fill(image: &Path, offset: u64, megabytes: u64) {
    let text = r#"mkdir "$1.mnt"; mount -o "loop,offset=$OFFSET" "$1" "$1.mnt"; cd "$1.mnt"
        dd if=/dev/urandom of=residue bs=1M count="$SIZE" status=none; sync
        for number in $(seq 8); do
            mkdir -p "tree$number/sub"; head -c "$((SIZE * 30000))" /dev/urandom >"tree$number/noise"
            seq "$((number * 30000))" >"tree$number/text"
            for small in $(seq 60); do echo "$small of $number" >"tree$number/sub/$small"; done
            sync
        done
        rm residue; rm -r tree2 tree5; rm tree7/noise
        truncate -s 5M sparse; printf end | dd of=sparse bs=1 seek=3M conv=notrunc status=none
        fallocate -l 2M reserved || true
        ln -s tree1/text link; ln tree1/text hard
        cd /; umount "$1.mnt"; rmdir "$1.mnt""#;
    script(&text.replace("$OFFSET", &offset.to_string()).replace("$SIZE", &megabytes.to_string()), &[image]);
}

/// A digest of all files, by their names, contents and attributes.
pub fn tree(image: &Path, offset: u64, options: &str) -> String {
    let text = r#"mkdir "$1.mnt"; mount -o "ro,loop,offset=$OFFSET$MORE" "$1" "$1.mnt"
        tar -C "$1.mnt" --sort=name --numeric-owner -cf - . | sha256sum; umount "$1.mnt"; rmdir "$1.mnt""#;
    script(&text.replace("$OFFSET", &offset.to_string()).replace("$MORE", options), &[image])
}

pub struct Copied {
    pub areas: Vec<Area>,
    pub image: PathBuf,
    pub bytes: u64,
}

/// Copies what lives, and nothing else.
pub fn copy_live(image: &Path) -> Copied {
    let copy = image.with_extension("copy");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (areas, bytes) = runtime.block_on(async {
        let inner: Arc<dyn Source> = open_source(&Disk::File(image.to_owned())).await.unwrap().into();
        let live = LiveSource::open(inner).await.unwrap();
        let to = File::create(&copy).unwrap();
        to.set_len(live.size()).unwrap();
        let (mut at, mut bytes) = (0, 0);
        while let Some(range) = live.next_data(at).await.unwrap() {
            assert!(range.start >= at && range.end > range.start && range.end <= live.size());
            bytes += range.end - range.start;
            at = range.end;
            for start in range.clone().step_by(MIB as usize) {
                let mut piece = vec![0; (range.end - start).min(MIB) as usize];
                live.read(start, &mut piece).await.unwrap();
                to.write_all_at(&piece, start).unwrap();
            }
        }
        live.check_unchanged().await.unwrap();
        (live.areas().to_vec(), bytes)
    });
    Copied { areas, image: copy, bytes }
}

/// The one area of a disk that is all one file system.
pub fn only(copied: &Copied) -> &Area {
    assert_eq!(copied.areas.len(), 1, "{:?}", copied.areas);
    &copied.areas[0]
}

/// Overwrites bytes.
pub fn poke(image: &Path, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(image).unwrap().write_all_at(bytes, offset).unwrap();
}
