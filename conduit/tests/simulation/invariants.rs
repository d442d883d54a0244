//! What must hold after every case, whatever happened in it: the invariants of the design.

use fluidcloud_conduit::relocation::{Fact, Relocation, Stage, State};
use fluidcloud_conduit::report::report;
use fluidcloud_conduit::status::phase;
use fluidcloud_proto::ids::{DiskId, InstanceName};
use fluidcloud_proto::status::Phase;
use fluidcloud_proto::topology::{DiskFormat, DiskPlace};
use fluidcloud_providers::{Made, Provider};

use crate::world::{ADAPTED, APP_MAC, CONTENT, DB_MAC, FOLDED, REWRITTEN, World, content};

/// Panics with the case's name when one does not hold. Returns how it ended.
pub async fn hold(case: &str, world: &World, state: &Relocation) -> Phase {
    let ended = phase(state);
    let objections = world.objections();
    assert!(objections.is_empty(), "{case}: {objections:?}");
    source_is_as_it_was(case, world);
    exactly_one_runs(case, world, ended);
    match ended {
        Phase::Succeeded => moved(case, world, state).await,
        Phase::Failed | Phase::Canceled | Phase::RolledBack => nothing_is_left(case, world, state).await,
        Phase::Stuck => assert!(state.failure.is_some(), "{case}: stuck without a reason"),
        other => panic!("{case}: ended in {other:?}"),
    }
    let busy = world.worker_counts().lock().unwrap().busy.clone();
    assert!(busy.is_empty(), "{case}: work goes on after the end: {busy:?}");
    log_is_whole(case, world, state).await;
    ended
}

fn source_is_as_it_was(case: &str, world: &World) {
    for (name, disk, seed) in [("shop", "hda", 3), ("shop", "hdb", 5), ("shop-db", "hda", 11)] {
        let place = DiskPlace { path: format!("/own/{name}-{disk}"), format: DiskFormat::Raw };
        assert_eq!(
            world.a.disk_bytes(&place),
            Some(content(seed)),
            "{case}: disk {disk} of the source {name}"
        );
    }
}

fn exactly_one_runs(case: &str, world: &World, ended: Phase) {
    for mac in [APP_MAC, DB_MAC] {
        let running = world.witness.running_with(mac);
        let at: Vec<&str> = running.iter().map(|(provider, _)| provider.as_str()).collect();
        match ended {
            Phase::Succeeded => assert_eq!(at, ["cloud-b"], "{case}: {mac}"),
            // A person has to look; but never two.
            Phase::Stuck => assert!(at.len() <= 1, "{case}: {mac} at {at:?}"),
            _ if world.script.stopped => assert!(at.is_empty(), "{case}: {mac} at {at:?}"),
            _ => assert_eq!(at, ["cloud-a"], "{case}: {mac}"),
        }
    }
}

async fn moved(case: &str, world: &World, state: &Relocation) {
    let target = |component: &str, disk: &str| {
        let disk = DiskId { component: component.parse().unwrap(), disk: disk.parse().unwrap() };
        let place = state.prepared(&disk).unwrap_or_else(|| panic!("{case}: {disk} was prepared"));
        world.b.disk_bytes(place)
    };
    let root = target("app", "hda").unwrap_or_else(|| panic!("{case}: the root disk is gone"));
    assert_eq!(root[..CONTENT], content(3)[..CONTENT], "{case}: the bytes of the root disk");
    assert_eq!((root[ADAPTED], root[REWRITTEN]), (b'A', b'R'), "{case}: adapted and rewritten once");
    assert_eq!(root[FOLDED..FOLDED + 8], content(5)[..8], "{case}: the volume was folded in");
    let database = target("db", "hda").unwrap_or_else(|| panic!("{case}: the disk of db is gone"));
    assert_eq!(database[..CONTENT], content(11)[..CONTENT], "{case}: the bytes of the disk of db");

    let untidy = state.steps.iter().any(|step| step.state == State::Failed);
    let mut made = world.b.made_for(world.id).await.unwrap();
    made.sort();
    if !untidy {
        assert_eq!(target("app", "hdb"), None, "{case}: the staging disk is gone");
        let furniture = made.extract_if(.., |made| matches!(made, Made::Furniture { .. })).count();
        assert_eq!(furniture, report(state).furnished.len(), "{case}: all of it was made");
        assert_eq!(furniture, 4, "{case}: what the instances stand in, and an address");
        let image = Made::Image { name: "db-golden".into() };
        assert!(made.contains(&image), "{case}: {made:?}");
        assert_eq!(made.len(), 5, "{case}: two disks, two instances and the image: {made:?}");
        assert!(!made.iter().any(|made| matches!(made, Made::Scrap { .. })), "{case}: {made:?}");
    }
    for name in ["shop", "shop-db"] {
        let name: InstanceName = name.parse().unwrap();
        assert_eq!(world.a.kept_for(&name), Some(world.id), "{case}: the source {name} is marked");
        assert!(!world.a.starts_by_itself(&name), "{case}: the source {name} starts by itself");
        let starts = !world.script.stopped && !untidy;
        assert!(world.b.starts_by_itself(&name) || !starts, "{case}: {name} starts by itself as before");
    }
    kept(case, world, state);
    let report = report(state);
    assert_eq!(report.instances.len(), 2, "{case}");
    assert!(report.checks.iter().all(|check| check.passed && check.before == check.after), "{case}");
    assert_eq!(report.transfers.len(), 3, "{case}");
    assert!(
        report.transfers.iter().all(|transfer| transfer.verified && transfer.bytes_on_wire >= 64),
        "{case}"
    );
    assert_eq!(report.downtime_seconds.is_some(), !world.script.stopped, "{case}");
}

/// Each shows the disk as it was then, and is told of.
fn kept(case: &str, world: &World, state: &Relocation) {
    let snapshots = world.a.kept_bytes();
    assert_eq!(snapshots.len(), 1, "{case}: {snapshots:?}");
    assert_eq!((snapshots[0].0.as_str(), &snapshots[0].1[..]), ("db-before", &content(11)[..]), "{case}");
    let images = world.b.kept_bytes();
    assert_eq!(images.len(), 1, "{case}: {images:?}");
    assert_eq!(images[0].1[..CONTENT], content(11)[..CONTENT], "{case}: the root disk is in the image");
    assert_eq!(images[0].1[ADAPTED], b'A', "{case}: as it was launched");
    let told: Vec<String> = report(state).kept.into_iter().map(|kept| kept.name).collect();
    assert_eq!(told, ["db-before", "db-golden"], "{case}");
}

async fn nothing_is_left(case: &str, world: &World, state: &Relocation) {
    for cloud in [&world.a, &world.b] {
        let made = cloud.made_for(world.id).await.unwrap();
        assert!(made.is_empty(), "{case}: left at {}: {made:?}", cloud.id());
    }
    for name in ["shop", "shop-db"] {
        let name: InstanceName = name.parse().unwrap();
        assert_eq!(world.a.kept_for(&name), None, "{case}: the source {name} is not marked any more");
        let starts = world.a.starts_by_itself(&name);
        assert_eq!(starts, !world.script.stopped, "{case}: whether the source {name} starts by itself");
    }
    if phase(state) != Phase::Canceled {
        let failure = state.failure.as_ref().unwrap_or_else(|| panic!("{case}: failed without a reason"));
        assert!(!failure.remedy.is_empty(), "{case}: {failure}");
    }
    assert!(report(state).target.is_none(), "{case}: nothing runs at the target");
}

/// The log alone tells the same story, and from every prefix of it something goes on until the end.
async fn log_is_whole(case: &str, world: &World, state: &Relocation) {
    let log = world.store.load(world.id).await.unwrap();
    let mut live = Relocation::begin(world.id, &log[0]).unwrap();
    for (at, entry) in log.iter().enumerate().skip(1) {
        let begins = matches!(
            entry.fact,
            Fact::Admitted | Fact::StepIssued { .. } | Fact::StepLeased { .. } | Fact::UndoBegun { .. }
        );
        assert!(!(live.is_paused() && begins), "{case}: {:?} while it is paused", entry.fact);
        live = live.next(entry).unwrap_or_else(|illegal| panic!("{case}: fact {at}: {illegal}"));
        let waits = live.due().is_empty();
        let rests = matches!(live.stage, Stage::Ended { .. } | Stage::Pending) || live.waits_for_a_person();
        assert_eq!(waits, rests, "{case}: after {at} facts something is due exactly until it ends: {live:?}");
    }
    assert_eq!(live, *state, "{case}");
}
