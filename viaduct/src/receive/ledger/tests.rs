use super::*;

fn ledger(began_as_zeros: bool) -> Ledger {
    Ledger::new(Geometry::new(10 << 20, 1 << 20).unwrap(), began_as_zeros)
}

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

#[test]
fn a_block_that_is_written_down_is_forgotten_before_it_is_written_over() {
    let ledger = ledger(true);
    ledger.apply(&Record::Data { index: 3, digest: digest(1) });
    ledger.apply(&Record::Zeros { blocks: 4..6 });
    let claim = |index, digest| ledger.claim_data(index, digest).unwrap();
    assert_eq!(claim(2, digest(2)), Writing { forget: None, on_zeros: true });
    assert_eq!(claim(3, digest(2)), Writing { forget: Some(3..4), on_zeros: false });
    assert_eq!(claim(4, digest(2)), Writing { forget: Some(4..5), on_zeros: true });
    ledger.begin_session();
    assert_eq!(claim(2, digest(2)), Writing { forget: None, on_zeros: false });
    assert_eq!(claim(3, digest(1)), Writing { forget: None, on_zeros: false });
}

#[test]
fn blocks_that_are_forgotten_ahead_are_still_there_and_are_written_down_again() {
    let ledger = ledger(false);
    for index in 1..6 {
        ledger.apply(&Record::Data { index, digest: digest(1) });
    }
    ledger.claim_same(4, digest(1)).unwrap();
    let claim = |index| ledger.claim_data(index, digest(2)).unwrap().forget;
    assert_eq!(claim(1), Some(1..4));
    // Before and after it is written down, the same is true of the others.
    assert_eq!(ledger.claim_same(2, digest(1)), Ok(false));
    ledger.apply(&Record::Forgotten { blocks: 1..4 });
    assert_eq!(claim(3), None);
    assert_eq!(claim(5), Some(5..6));
    ledger.apply(&Record::Data { index: 2, digest: digest(1) });
    ledger.begin_session();
    assert_eq!(ledger.have(0, 10).iter().map(|(index, _)| *index).collect::<Vec<_>>(), [2, 4, 5]);
}

#[test]
fn zeros_are_written_wherever_something_else_may_be() {
    let ledger = ledger(true);
    ledger.apply(&Record::Data { index: 1, digest: digest(1) });
    ledger.apply(&Record::Zeros { blocks: 2..4 });
    ledger.claim_data(4, digest(1)).unwrap();
    ledger.begin_session();
    let todo = ledger.claim_zeros(0..6).unwrap();
    assert_eq!(
        todo,
        [
            (0..1, Zeroing::Note),
            (1..2, Zeroing::Write { forget: true }),
            (2..4, Zeroing::Nothing),
            (4..5, Zeroing::Write { forget: false }),
            (5..6, Zeroing::Note),
        ]
    );
    let old = super::tests::ledger(false);
    assert_eq!(old.claim_zeros(6..10), Ok(vec![(6..10, Zeroing::Write { forget: false })]));
}

#[test]
fn a_block_is_settled_once_in_a_session() {
    let ledger = ledger(true);
    ledger.apply(&Record::Data { index: 1, digest: digest(1) });
    assert_eq!(ledger.claim_same(1, digest(2)), Err(Illegal::NotHere(1)));
    assert_eq!(ledger.claim_same(1, digest(1)), Ok(true));
    assert_eq!(ledger.claim_same(1, digest(1)), Err(Illegal::Twice(1)));
    assert_eq!(ledger.claim_data(1, digest(1)), Err(Illegal::Twice(1)));
    assert_eq!(ledger.claim_zeros(0..10), Err(Illegal::Twice(1)));
    assert_eq!(ledger.unsettled(), 9);
}

#[test]
fn what_was_seen_is_believed_until_it_is_written_over_or_the_session_ends() {
    let ledger = ledger(false);
    ledger.saw(1, digest(1));
    ledger.saw(2, digest(2));
    ledger.saw(3, digest(3));
    assert_eq!(ledger.claim_same(1, digest(1)), Ok(false));
    assert_eq!(ledger.claim_data(2, digest(9)), Ok(Writing { forget: None, on_zeros: false }));
    ledger.apply(&Record::Data { index: 1, digest: digest(1) });
    ledger.begin_session();
    assert_eq!(ledger.have(0, 10), [(1, digest(1))]);
    assert_eq!(ledger.claim_same(3, digest(3)), Err(Illegal::NotHere(3)));
    ledger.claim_same(1, digest(1)).unwrap();
    ledger.saw(1, digest(7));
    assert_eq!(ledger.have(0, 10), [(1, digest(1))]);
}

#[test]
fn a_block_is_asked_for_again_only_once_and_not_when_it_is_settled() {
    let ledger = ledger(true);
    ledger.claim_data(2, digest(1)).unwrap();
    assert_eq!((ledger.may_want(1), ledger.may_want(1), ledger.may_want(2)), (true, false, false));
}

#[test]
fn there_is_no_root_while_a_block_is_unknown() {
    let ledger = ledger(true);
    ledger.apply(&Record::Zeros { blocks: 0..9 });
    assert_eq!(ledger.root(), None);
    ledger.apply(&Record::Data { index: 9, digest: digest(1) });
    let root = ledger.root().unwrap();
    ledger.apply(&Record::Finished { root, stamp: 1 });
    assert_eq!(ledger.finished(), Some((root, 1)));
    ledger.apply(&Record::Forgotten { blocks: 0..1 });
    assert_eq!((ledger.finished(), ledger.root()), (None, None));
}

#[test]
fn what_was_sown_is_claimed_by_its_digest_or_written_over() {
    let ledger = ledger(true);
    for index in 0..4 {
        assert!(ledger.sow(index, u64::MAX));
        ledger.sown(index, Some(digest(index as u8)));
    }
    assert!(!ledger.sow(1, u64::MAX), "it was sown before");
    assert!(ledger.lies(1, digest(1)) && !ledger.lies(1, digest(2)));
    assert_eq!(ledger.claim_data(1, digest(1)), Ok(Writing { forget: None, on_zeros: false }));
    assert!(!ledger.lies(1, digest(1)), "it is claimed");
    assert_eq!(ledger.claim_data(2, digest(9)), Ok(Writing { forget: None, on_zeros: false }));
    assert_eq!(ledger.claim_zeros(3..5).unwrap()[0], (3..4, Zeroing::Write { forget: false }));
    assert!(!ledger.sow(4, u64::MAX), "it is settled");
    // Another session knows nothing of it, but that something may lie there.
    ledger.begin_session();
    assert!(!ledger.lies(0, digest(0)) && !ledger.sow(0, u64::MAX));
    assert_eq!(ledger.claim_zeros(0..1), Ok(vec![(0..1, Zeroing::Write { forget: false })]));
}

#[test]
fn what_is_sown_takes_no_room_that_is_needed() {
    let ledger = ledger(true);
    let room = (2 << 20) + 5;
    assert!(ledger.sow(0, room) && ledger.sow(1, room) && !ledger.sow(2, room));
    ledger.sown(0, Some(digest(0)));
    assert!(!ledger.sow(2, room));
    ledger.claim_data(0, digest(0)).unwrap();
    assert!(ledger.sow(2, room) && !ledger.sow(3, 0));
}

#[test]
fn nothing_is_sown_where_something_may_be() {
    let old = super::tests::ledger(false);
    assert!(!old.sow(1, u64::MAX));
    let ledger = ledger(true);
    ledger.apply(&Record::Data { index: 1, digest: digest(1) });
    ledger.apply(&Record::Zeros { blocks: 2..3 });
    assert!(!ledger.sow(1, u64::MAX) && !ledger.sow(2, u64::MAX));
}

#[test]
fn after_a_failure_or_much_in_vain_nothing_more_is_sown() {
    let failed = ledger(true);
    assert!(failed.sow(1, u64::MAX));
    failed.sown(1, None);
    assert!(!failed.sow(2, u64::MAX));
    assert_eq!(failed.claim_data(1, digest(1)), Ok(Writing { forget: None, on_zeros: false }));
    let vain = Ledger::new(Geometry::new(100 << 20, 1 << 20).unwrap(), true);
    let sown = (0..100).take_while(|index| {
        let sown = vain.sow(*index, u64::MAX);
        if sown {
            vain.sown(*index, Some(digest(1)));
            vain.claim_data(*index, digest(2)).unwrap();
        }
        sown
    });
    assert_eq!(sown.count(), 33);
}

#[test]
fn who_claims_a_block_waits_until_it_is_sown() {
    let ledger = ledger(true);
    assert!(ledger.sow(1, u64::MAX));
    std::thread::scope(|scope| {
        let claimed = scope.spawn(|| ledger.claim_zeros(0..3).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!claimed.is_finished());
        ledger.sown(1, Some(digest(1)));
        assert_eq!(claimed.join().unwrap()[1], (1..2, Zeroing::Write { forget: false }));
    });
}
