//! Damage: whatever is written over the metadata of a file system, the survey does not panic, and, where its maker gave it
//! checksums, leaves out nothing that lives. Without checksums a map may be damaged so that it still adds up; its own
//! kernel would believe it too.

use super::images::{MIB, can_mount, fill, make, poke};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use viaduct::{Disk, LiveSource, Source, open_source};

const ROUNDS: u64 = 300;

/// What is read, or that it is everything.
async fn live(image: &Path) -> Vec<Range<u64>> {
    let inner: Arc<dyn Source> = open_source(&Disk::File(image.to_owned())).await.unwrap().into();
    let live = LiveSource::open(inner).await.unwrap();
    let (mut ranges, mut at) = (Vec::new(), 0);
    while let Some(range) = live.next_data(at).await.unwrap() {
        at = range.end;
        ranges.push(range);
    }
    ranges
}

/// Whether all of `inner` is in `outer`; both are sorted.
fn covers(outer: &[Range<u64>], inner: &[Range<u64>]) -> bool {
    inner.iter().all(|piece| {
        let mut at = piece.start;
        for range in outer {
            if range.start <= at && range.end > at {
                at = range.end;
            }
        }
        at >= piece.end
    })
}

/// Numbers that are different every time, and told when they find something.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % end.max(1)
    }
}

fn survives(mkfs: &str, tool: &str, checksums: bool) {
    if !can_mount(&[tool]) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = make(dir.path(), 320 * MIB, mkfs);
    fill(&image, 0, 10);
    // Every byte there may be damaged, but only in what is not zeros: those are mostly free.
    let bytes = std::fs::read(&image).unwrap();
    let sectors: Vec<usize> =
        (0..bytes.len() / 512).filter(|at| bytes[at * 512..][..512].iter().any(|byte| *byte != 0)).collect();
    // Structures with numbers, as opposed to noise, are near the front; half of the damage goes there.
    let front = sectors.partition_point(|sector| *sector < 2048).max(1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let truth = runtime.block_on(live(&image));
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut dice = Dice(seed);
    for round in 0..ROUNDS {
        let mut hurt = Vec::new();
        for _ in 0..=dice.below(3) {
            let among = if dice.below(2) == 0 { front } else { sectors.len() };
            let at = sectors[dice.below(among as u64) as usize] * 512 + dice.below(512) as usize;
            hurt.push(at);
            poke(&image, at as u64, &[dice.below(256) as u8]);
        }
        let found = runtime.block_on(live(&image));
        assert!(
            !checksums || covers(&found, &truth),
            "seed {seed} round {round}: {hurt:?} made {found:?} of {truth:?}"
        );
        let file = File::options().write(true).open(&image).unwrap();
        hurt.iter().for_each(|at| file.write_all_at(&bytes[*at..=*at], *at as u64).unwrap());
    }
}

#[test]
fn a_damaged_ext4_is_never_read_too_little_of() {
    survives("mkfs.ext4 -q", "mkfs.ext4", true);
}

#[test]
fn a_damaged_ext4_of_small_blocks_is_never_read_too_little_of() {
    survives("mkfs.ext4 -q -b 1024 -O meta_bg,^resize_inode", "mkfs.ext4", true);
}

#[test]
fn a_damaged_xfs_is_never_read_too_little_of() {
    survives("mkfs.xfs -q", "mkfs.xfs", true);
}

#[test]
fn a_damaged_btrfs_is_never_read_too_little_of() {
    survives("mkfs.btrfs -q", "mkfs.btrfs", true);
}

#[test]
fn a_damaged_ext2_is_no_danger_to_the_survey() {
    survives("mkfs.ext2 -q", "mkfs.ext2", false);
}
