//! What a receiver lays into an empty target before it is claimed: the disk is the right one whatever its other disk holds,
//! wherever the line is cut, and a disk that is of no use is soon left alone.

use crate::killed::over_cuts;
use crate::lab::{Lab, MIB, disk, noise, same};
use proptest::prelude::*;
use viaduct::{Disk, ReceiveOptions};

const BLOCK: usize = 1 << 20;

/// What one block of the disk is, and what lies in its place at the receiver.
#[derive(Clone, Copy, Debug)]
enum Pair {
    Same,
    AlmostSame,
    OnlyThere,
    OnlyHere,
    Different,
    Moved,
    Nothing,
}

fn pairs() -> impl Strategy<Value = Vec<Pair>> {
    use Pair::{AlmostSame, Different, Moved, Nothing, OnlyHere, OnlyThere, Same};
    let pair = prop_oneof![
        4 => Just(Same), 2 => Just(AlmostSame), 2 => Just(OnlyThere), 1 => Just(OnlyHere), 2 => Just(Different),
        1 => Just(Moved), 2 => Just(Nothing)
    ];
    proptest::collection::vec(pair, 24)
}

/// The source, and the other disk of the receiver.
fn disks(pairs: &[Pair]) -> (Vec<u8>, Vec<u8>) {
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (number, pair) in pairs.iter().enumerate() {
        let [content, other] = [0, 100].map(|seed| noise(seed + number as u64, BLOCK as u64));
        let mut almost = content.clone();
        almost[70_000..74_096].fill(7);
        let zeros = || vec![0; BLOCK];
        let [of_here, of_there] = match pair {
            Pair::Same => [content.clone(), content],
            Pair::AlmostSame => [almost, content],
            Pair::OnlyThere => [zeros(), content],
            Pair::OnlyHere => [content, zeros()],
            Pair::Different => [content, other],
            Pair::Moved => [noise(number as u64 / 2, BLOCK as u64), content],
            Pair::Nothing => [zeros(), zeros()],
        };
        here.extend(of_here);
        there.extend(of_there);
    }
    (here, there)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn whatever_lies_in_the_same_place_the_disk_is_the_right_one(
        pairs in pairs(),
        cuts in proptest::collection::vec(1i64..3_000_000, 0..3),
        streams in 1u16..4,
        cut_off in prop_oneof![Just(0), Just(BLOCK + 4096), Just(3 * BLOCK / 2)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (here, there) = disks(&pairs);
        // Either may end in the middle of a block.
        let here = &here[..here.len() - cut_off / 3 / 4096 * 4096];
        let base = dir.path().join("base");
        std::fs::write(&base, &there[..there.len() - cut_off]).unwrap();
        let with_base = |options| ReceiveOptions {
            have: vec![Disk::File(base.clone())],
            verify_target: true,
            ..options
        };
        let carried = over_cuts(here, cuts, streams, BLOCK as u64, &with_base);
        prop_assert!(carried.verified && carried.target == here);
    }
}

#[test]
fn a_base_image_of_something_else_is_soon_left_alone() {
    let lab = Lab::new();
    let from = disk(&lab.path("source.raw"), 400 * MIB, &[(0, 400 * MIB)]);
    let base = lab.path("base.raw");
    std::fs::write(&base, noise(77, 400 * MIB)).unwrap();
    let to = lab.path("target.raw").display().to_string();
    let receiver = lab.receive(&to, &["--have", &base.display().to_string()]);
    let mut sender = lab.send(&from, &receiver.address(), &[]);
    // Near the end, when all of the base has been asked about.
    sender.until_done(390 * MIB);
    let written = receiver.told_by_kernel("io", "write_bytes").unwrap();
    sender.success();
    receiver.success();
    // Without the other disk it would be 390 MiB and what is under way.
    assert!(written < 650 * MIB, "{} MiB were written for 400", written / MIB);
    assert!(same(&lab.path("source.raw"), &lab.path("target.raw")));
}
