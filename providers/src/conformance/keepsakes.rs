//! What stays: made once, found by whoever comes later, let be by settling, removed by its own undo only.

use fluidcloud_proto::ids::{ComponentName, RelocationId};
use fluidcloud_proto::kept::KeptKind;
use fluidcloud_proto::request::{ImageFormat, Visibility};

use super::{Fixture, instance_order, name, undo};
use crate::keepsakes::{KeepOrder, SnapshotOrder};
use crate::provider::Made;

fn component() -> ComponentName {
    "my-app.v2".parse().expect("a name")
}

pub(super) async fn all(fixture: &dyn Fixture) {
    let Ok(keepsakes) = fixture.provider().keepsakes() else { return };
    a_snapshot_is_taken_once_and_stays(fixture, &*keepsakes).await;
    an_image_is_made_once_and_stays(fixture, &*keepsakes).await;
}

async fn a_snapshot_is_taken_once_and_stays(fixture: &dyn Fixture, keepsakes: &dyn crate::Keepsakes) {
    let provider = fixture.provider();
    let (instance, relocation) = (name("kept"), RelocationId::new());
    fixture.make_foreign(&instance, false).await;
    let stamp = provider.disks_stamp(&instance).await.expect("a stamp");
    let order = SnapshotOrder {
        relocation,
        component: component(),
        instance: instance.clone(),
        name: "before".into(),
    };
    let first = keepsakes.take_snapshot(&order).await.expect("a snapshot");
    assert!(first.iter().any(|kept| kept.name == "before"), "{first:?}");
    assert!(first.iter().all(|kept| !kept.id.is_empty() && kept.size_bytes > 0), "{first:?}");
    let another = fixture.another().keepsakes().expect("keepsakes");
    let again = another.take_snapshot(&order).await.expect("the same");
    assert_eq!(again.len(), first.len(), "once: {again:?}");
    assert_eq!(again[0].id, first[0].id, "once: {again:?}");
    assert_eq!(provider.disks_stamp(&instance).await.expect("a stamp"), stamp, "its disks are as they were");
    provider.settle(relocation).await.expect("settle");
    let ids = |all: Vec<fluidcloud_proto::kept::Kept>| {
        let mut ids: Vec<String> = all.into_iter().map(|kept| kept.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(keepsakes.kept(relocation).await.expect("kept")), ids(first), "settling lets it be");
    another.drop_snapshot(RelocationId::new(), &component()).await.expect("nothing of others");
    assert!(!keepsakes.kept(relocation).await.expect("kept").is_empty());
    for keepsakes in [keepsakes, &*another] {
        keepsakes.drop_snapshot(relocation, &component()).await.expect("undo");
        assert_eq!(keepsakes.kept(relocation).await.expect("kept"), []);
    }
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), []);
}

async fn an_image_is_made_once_and_stays(fixture: &dyn Fixture, keepsakes: &dyn crate::Keepsakes) {
    let (provider, relocation) = (fixture.provider(), RelocationId::new());
    let made = instance_order(&*provider, relocation).await;
    fixture.write(&made.disks[0].1, b"as it was").await;
    provider.create_instance(&made).await.expect("an instance");
    let order = KeepOrder {
        relocation,
        component: component(),
        root: made.disks[0].1.clone(),
        name: name("golden").to_string(),
        format: ImageFormat::Qcow2,
        visibility: Visibility::Shared,
    };
    keepsakes.may_keep(&order).await.expect("it is welcome");
    let before = provider.made_for(relocation).await.expect("made_for");
    keepsakes.may_keep(&order).await.expect("it is welcome");
    assert_eq!(provider.made_for(relocation).await.expect("made_for"), before, "nothing is left of asking");
    let another = fixture.another().keepsakes().expect("keepsakes");
    keepsakes.set_aside(&order).await.expect("set aside");
    another.set_aside(&order).await.expect("set aside again");
    assert_eq!(provider.made_for(relocation).await.expect("made_for").len(), before.len() + 1, "once");
    let kept = keepsakes.keep_image(&order).await.expect("an image");
    assert_eq!((kept.kind, kept.name.as_str()), (KeptKind::Image, order.name.as_str()));
    assert_eq!((kept.format.as_str(), kept.visibility.as_str()), ("qcow2", "shared"), "{kept:?}");
    assert_eq!(another.keep_image(&order).await.expect("the same").id, kept.id);
    provider.settle(relocation).await.expect("settle");
    let left = provider.made_for(relocation).await.expect("made_for");
    assert!(left.contains(&Made::Image { name: order.name.clone() }), "settling lets it be: {left:?}");
    assert!(
        !left.iter().any(|made| matches!(made, Made::Scrap { .. })),
        "what was set aside is gone: {left:?}"
    );
    let listed = keepsakes.kept(relocation).await.expect("kept");
    assert_eq!(listed.iter().map(|kept| kept.id.as_str()).collect::<Vec<_>>(), [kept.id.as_str()]);
    for keepsakes in [keepsakes, &*another] {
        keepsakes.drop_image(relocation, &component()).await.expect("undo");
        keepsakes.drop_aside(relocation, &component()).await.expect("undo");
    }
    undo(&*provider, &made).await;
}
