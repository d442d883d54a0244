//! One suite that every end passes: what the docs of `Source` and `Target` promise.

use crate::lab::{Lab, MIB, disk, have, noise, run};
use std::ops::Range;
use viaduct::{Announced, Disk, MemoryDisk, Source, Target, open_source, open_target};

const SIZE: u64 = 12 * MIB;

fn announced() -> Announced {
    Announced { size: SIZE, data_bytes: SIZE, overcommit: false }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(work)
}

async fn read_all(source: &dyn Source) -> Vec<u8> {
    let mut bytes = vec![0; source.size() as usize];
    source.read(0, &mut bytes).await.unwrap();
    bytes
}

async fn extents(source: &dyn Source) -> Vec<Range<u64>> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(range) = source.next_data(at).await.unwrap() {
        assert!(
            range.start >= at && range.end > range.start && range.end <= source.size(),
            "{range:?} after {at}"
        );
        at = range.end;
        found.push(range);
    }
    found
}

/// A source that is known to hold `content`.
async fn source_suite(source: &dyn Source, content: &[u8]) {
    assert_eq!(source.size(), content.len() as u64);
    assert!(read_all(source).await == content, "{}", source.name());
    let data = extents(source).await;
    let mut outside = content.to_vec();
    data.iter().for_each(|range| outside[range.start as usize..range.end as usize].fill(0));
    assert!(outside.iter().all(|byte| *byte == 0), "data outside of the extents {data:?}");
    assert_eq!(source.next_data(source.size()).await.unwrap(), None);
    for (offset, length) in [(0, 1), (1, 4095), (SIZE - 1, 1), (5 * MIB - 7, 2_000_000)] {
        let mut piece = vec![0xaa; length];
        source.read(offset, &mut piece).await.unwrap();
        assert!(piece == content[offset as usize..][..length]);
    }
    let reads = (0..24u64).map(|number| async move {
        let mut piece = vec![0; 100_000];
        source.read(number * 400_000, &mut piece).await.unwrap();
        piece
    });
    for (number, piece) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert!(piece == content[number * 400_000..][..100_000]);
    }
    source.check_unchanged().await.unwrap();
}

/// A target with anything in it, or nothing.
async fn target_suite(target: &dyn Target) {
    let mut model = read_all(&*target.reread().await.unwrap()).await[..SIZE as usize].to_vec();
    if target.began_as_zeros() {
        assert!(model.iter().all(|byte| *byte == 0));
    }
    for (number, (offset, length)) in
        [(0, MIB), (3 * MIB, 2 * MIB), (SIZE - 512, 512), (7 * MIB, 65536)].into_iter().enumerate()
    {
        let bytes = noise(number as u64, length);
        target.write(offset, &bytes).await.unwrap();
        // Twice is the same as once.
        target.write(offset, &bytes).await.unwrap();
        model[offset as usize..][..length as usize].copy_from_slice(&bytes);
    }
    for range in [4 * MIB..5 * MIB, 8 * MIB..8 * MIB, 9 * MIB..SIZE - 512] {
        target.zero(range.clone()).await.unwrap();
        model[range.start as usize..range.end as usize].fill(0);
    }
    let parallel = (0..8u64).map(|number| async move {
        target.write(MIB + number * 4096, &[number as u8; 4096]).await.unwrap();
    });
    futures::future::join_all(parallel).await;
    (0..8).for_each(|number| model[(MIB + number * 4096) as usize..][..4096].fill(number as u8));
    target.flush().await.unwrap();
    assert!(read_all(&*target.reread().await.unwrap()).await[..SIZE as usize] == model, "{}", target.name());
    target.close().await.unwrap();
    assert_eq!(target.stamp().await.unwrap(), target.stamp().await.unwrap());
}

fn content() -> Vec<u8> {
    let mut bytes = vec![0; SIZE as usize];
    for (number, (offset, length)) in
        [(0usize, 4096usize), (5 << 20, 1 << 20), ((12 << 20) - 512, 512)].into_iter().enumerate()
    {
        bytes[offset..offset + length].copy_from_slice(&noise(number as u64, length as u64));
    }
    bytes
}

fn raw(lab: &Lab) -> String {
    disk(&lab.path("disk.raw"), SIZE, &[(0, 4096), (5 * MIB, MIB), (SIZE - 512, 512)])
}

#[test]
fn a_memory_disk_keeps_the_contracts() {
    block_on(async {
        source_suite(&MemoryDisk::new(content()), &content()).await;
        target_suite(&MemoryDisk::zeros(SIZE as usize)).await;
        target_suite(&MemoryDisk::new(noise(9, SIZE))).await;
    });
}

#[test]
fn a_raw_file_keeps_the_contracts() {
    let lab = Lab::new();
    let from: Disk = raw(&lab).parse().unwrap();
    std::fs::write(lab.path("old.raw"), noise(9, SIZE)).unwrap();
    block_on(async {
        source_suite(&*open_source(&from).await.unwrap(), &content()).await;
        for (name, zeros) in [("new.raw", true), ("old.raw", false)] {
            let target = open_target(&Disk::File(lab.path(name)), announced()).await.unwrap();
            assert_eq!(target.began_as_zeros(), zeros);
            target_suite(&*target).await;
        }
    });
}

#[test]
fn a_block_device_keeps_the_contracts() {
    if !rustix::process::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "needs root for a loop device");
        eprintln!("SKIPPED: needs root for a loop device");
        return;
    }
    let lab = Lab::new();
    let device = run("losetup", &["--find", "--show", &raw(&lab)]).trim().to_owned();
    let outcome = std::panic::catch_unwind(|| {
        block_on(async {
            let disk: Disk = device.parse().unwrap();
            source_suite(&*open_source(&disk).await.unwrap(), &content()).await;
            let target = open_target(&disk, announced()).await.unwrap();
            assert!(!target.began_as_zeros());
            target_suite(&*target).await;
            let larger = Announced { size: SIZE + 1, ..announced() };
            assert_eq!(open_target(&disk, larger).await.unwrap_err().code(), "target-too-small");
        });
    });
    run("losetup", &["--detach", &device]);
    outcome.unwrap();
}

#[test]
fn a_name_in_dev_that_does_not_exist_is_not_created() {
    let disk: Disk = "/dev/no-such-disk".parse().unwrap();
    assert_eq!(block_on(open_target(&disk, announced())).unwrap_err().code(), "io");
    assert!(!std::path::Path::new("/dev/no-such-disk").exists());
}

#[test]
fn a_qcow2_image_keeps_the_contracts() {
    if !have("qemu-nbd") {
        return;
    }
    let lab = Lab::new();
    let image = lab.path("disk.qcow2");
    run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &raw(&lab), image.to_str().unwrap()]);
    block_on(async {
        let source = open_source(&Disk::Qcow2(image.clone())).await.unwrap();
        source_suite(&*source, &content()).await;
        drop(source);
        for (name, zeros) in [("new.qcow2", true), ("disk.qcow2", false)] {
            let target = open_target(&Disk::Qcow2(lab.path(name)), announced()).await.unwrap();
            assert_eq!(target.began_as_zeros(), zeros);
            target_suite(&*target).await;
        }
    });
}
