//! The source is sacred: it is marked and unmarked, stopped and started, and nothing else.

use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::topology::Power;

use super::{Fixture, GRACE, expect_error, instance_order, name, undo};
use crate::error::Error;

pub(super) async fn all(fixture: &dyn Fixture) {
    for autostart in [true, false] {
        a_kept_source_stays_and_can_be_released(fixture, autostart).await;
    }
    a_source_runs_and_stops(fixture).await;
    what_is_written_shows_in_the_stamp(fixture).await;
}

async fn a_kept_source_stays_and_can_be_released(fixture: &dyn Fixture, autostart: bool) {
    let (provider, relocation, other) = (fixture.provider(), RelocationId::new(), RelocationId::new());
    let source = name("source");
    fixture.make_foreign(&source, autostart).await;
    let before = provider.inspect(&source).await.expect("inspect");
    let content = fixture.read(&before.disks[0].place).await;
    for caller in [fixture.provider(), fixture.another()] {
        caller.keep_source(&source, relocation, "moved to <b> & \"c\"").await.expect("keep_source");
        assert!(!fixture.starts_by_itself(&source).await);
    }
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), [], "it was kept, not made");
    provider.delete_instance(relocation, &source).await.expect("delete_instance");
    provider.settle(relocation).await.expect("settle");
    assert!(!fixture.starts_by_itself(&source).await, "a source that moved away must not start by itself");
    provider.release_source(&source, other).await.expect("release_source by another relocation");
    assert!(!fixture.starts_by_itself(&source).await);
    let kept = provider.inspect(&source).await.expect("inspect");
    assert_eq!(kept, before, "keeping changes nothing of it");
    assert_eq!(fixture.read(&before.disks[0].place).await, content);

    provider.keep_source(&source, relocation, "moved on").await.expect("keep_source with another note");
    assert!(!fixture.starts_by_itself(&source).await);
    assert!(provider.is_kept(&source, relocation).await.expect("is_kept"));
    assert!(!provider.is_kept(&source, other).await.expect("is_kept by another relocation"));
    for _ in 0..2 {
        provider.release_source(&source, relocation).await.expect("release_source");
        assert_eq!(fixture.starts_by_itself(&source).await, autostart, "it is as it was before");
        assert!(!provider.is_kept(&source, relocation).await.expect("is_kept"));
    }
    // One that was taken back by hand after it had moved away: what it did before its first move is not forgotten.
    provider.keep_source(&source, other, "moved away").await.expect("keep_source");
    provider
        .keep_source(&source, relocation, "moves again")
        .await
        .expect("keep_source by the next relocation");
    assert_eq!(provider.inspect(&source).await.expect("inspect").autostart, autostart);
    provider.release_source(&source, relocation).await.expect("release_source");
    assert_eq!(fixture.starts_by_itself(&source).await, autostart);
    expect_error!(provider.keep_source(&name("nobody"), relocation, ""), Error::UnknownInstance { .. });
}

async fn a_source_runs_and_stops(fixture: &dyn Fixture) {
    let (provider, source) = (fixture.provider(), name("source"));
    fixture.make_foreign(&source, false).await;
    provider.start(&source).await.expect("start");
    assert_eq!(provider.inspect(&source).await.expect("inspect").power, Power::Running);
    provider.stop(&source, GRACE).await.expect("stop");
    assert_eq!(provider.power(&source).await.expect("power"), Power::Stopped);
}

async fn what_is_written_shows_in_the_stamp(fixture: &dyn Fixture) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let order = instance_order(&*provider, relocation).await;
    provider.create_instance(&order).await.expect("create_instance");
    let before = provider.disks_stamp(&order.name).await.expect("disks_stamp").expect("a stamp");
    assert_eq!(fixture.another().disks_stamp(&order.name).await.expect("disks_stamp"), Some(before.clone()));
    fixture.read(&order.disks[1].1).await;
    assert_eq!(
        provider.disks_stamp(&order.name).await.expect("disks_stamp"),
        Some(before.clone()),
        "reading"
    );
    if fixture.sees_writing() {
        fixture.write(&order.disks[1].1, b"x").await;
    } else {
        // Then at least that the instance could write.
        provider.start(&order.name).await.expect("start");
    }
    assert_ne!(provider.disks_stamp(&order.name).await.expect("disks_stamp"), Some(before), "writing");
    undo(&*provider, &order).await;
    expect_error!(provider.disks_stamp(&order.name), Error::UnknownInstance { .. });
}
