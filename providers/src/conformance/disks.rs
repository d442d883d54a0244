//! Disks: made once, exact, never over another, removed with what lies beside them.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::DiskFormat;

use super::{Fixture, disk_bytes, disk_id, disk_order, expect_error};
use crate::error::Error;
use crate::provider::{DiskOrder, Made};

pub(super) async fn all(fixture: &dyn Fixture) {
    a_disk_made_twice_is_one_and_keeps_its_content(fixture).await;
    a_staging_disk_is_raw(fixture).await;
    two_callers_at_once_make_one_disk(fixture).await;
    a_disk_without_room_is_refused_and_nothing_is_made(fixture).await;
    a_disk_goes_with_what_lies_beside_it_and_no_other(fixture).await;
    settling_removes_scraps_and_keeps_disks(fixture).await;
}

async fn a_disk_made_twice_is_one_and_keeps_its_content(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = disk_order(relocation, "sda");
    let place = provider.create_disk(&order).await.expect("create_disk");
    assert_eq!(place.format, provider.hardware().format);
    let content = fixture.read(&place).await;
    assert_eq!(content.size_bytes, disk_bytes(&*provider));
    assert!(content.is_zeros, "a new disk must read as zeros");

    fixture.write(&place, b"content").await;
    assert_eq!(fixture.another().create_disk(&order).await.expect("create_disk again"), place);
    assert!(fixture.read(&place).await.start.starts_with(b"content"), "making it again must not touch it");

    let other_size = DiskOrder { size_bytes: order.size_bytes * 2, ..order };
    expect_error!(provider.create_disk(&other_size), Error::NameTaken { .. });
    assert!(fixture.read(&place).await.start.starts_with(b"content"), "a refusal must not touch it");

    let made = provider.made_for(relocation).await.expect("made_for");
    assert_eq!(made, [Made::Disk { path: place.path }]);
    provider.delete_disk(relocation, &disk_id("sda")).await.expect("delete_disk");
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), []);
}

async fn a_staging_disk_is_raw(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = DiskOrder { staging: true, ..disk_order(relocation, "sdb") };
    let place = provider.create_disk(&order).await.expect("create_disk");
    assert_eq!(place.format, DiskFormat::Raw);
    assert_eq!(fixture.read(&place).await.size_bytes, disk_bytes(&*provider));
    provider.delete_disk(relocation, &order.disk).await.expect("delete_disk");
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), []);
}

async fn two_callers_at_once_make_one_disk(fixture: &dyn Fixture) {
    let (one, other, relocation) = (fixture.provider(), fixture.another(), RelocationId::new());
    let order = disk_order(relocation, "sda");
    let (first, second) = futures::join!(one.create_disk(&order), other.create_disk(&order));
    let place = first.expect("create_disk");
    assert_eq!(second.expect("create_disk at the same time"), place);
    assert_eq!(one.made_for(relocation).await.expect("made_for"), [Made::Disk { path: place.path }]);
    let disk = disk_id("sda");
    let (first, second) =
        futures::join!(one.delete_disk(relocation, &disk), other.delete_disk(relocation, &disk));
    first.and(second).expect("delete_disk at the same time");
}

async fn a_disk_without_room_is_refused_and_nothing_is_made(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = DiskOrder { expected_bytes: u64::MAX / 4, ..disk_order(relocation, "sda") };
    expect_error!(provider.create_disk(&order), Error::NoRoom { .. });
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), []);
}

async fn a_disk_goes_with_what_lies_beside_it_and_no_other(fixture: &dyn Fixture) {
    let (provider, relocation, other) = (fixture.provider(), RelocationId::new(), RelocationId::new());
    let place = provider.create_disk(&disk_order(relocation, "sda")).await.expect("create_disk");
    let volume = provider.create_disk(&disk_order(relocation, "sdb")).await.expect("create_disk");
    let others = provider.create_disk(&disk_order(other, "sda")).await.expect("create_disk");
    fixture.leave_scraps(relocation, &place).await;
    let made = provider.made_for(relocation).await.expect("made_for");
    assert!(made.iter().any(|made| matches!(made, Made::Scrap { .. })), "scraps must be found: {made:?}");

    for _ in 0..2 {
        provider.delete_disk(relocation, &disk_id("sda")).await.expect("delete_disk");
        let left = [Made::Disk { path: volume.path.clone() }];
        assert_eq!(provider.made_for(relocation).await.expect("made_for"), left);
        assert_eq!(
            provider.made_for(other).await.expect("made_for"),
            [Made::Disk { path: others.path.clone() }]
        );
    }
    provider.delete_disk(relocation, &disk_id("sdb")).await.expect("delete_disk");
    provider.delete_disk(other, &disk_id("sda")).await.expect("delete_disk");
}

async fn settling_removes_scraps_and_keeps_disks(fixture: &dyn Fixture) {
    let (provider, relocation, other) = (fixture.provider(), RelocationId::new(), RelocationId::new());
    let place = provider.create_disk(&disk_order(relocation, "sda")).await.expect("create_disk");
    let others = provider.create_disk(&disk_order(other, "sda")).await.expect("create_disk");
    fixture.write(&place, b"content").await;
    fixture.leave_scraps(relocation, &place).await;
    fixture.leave_scraps(other, &others).await;
    let others_before = provider.made_for(other).await.expect("made_for");
    for _ in 0..2 {
        provider.settle(relocation).await.expect("settle");
        let made = provider.made_for(relocation).await.expect("made_for");
        assert_eq!(made, [Made::Disk { path: place.path.clone() }]);
    }
    assert!(fixture.read(&place).await.start.starts_with(b"content"));
    assert_eq!(provider.made_for(other).await.expect("made_for"), others_before);
    provider.delete_disk(relocation, &disk_id("sda")).await.expect("delete_disk");
    provider.delete_disk(other, &disk_id("sda")).await.expect("delete_disk");
    assert_eq!(provider.made_for(other).await.expect("made_for"), []);
}
