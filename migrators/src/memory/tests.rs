//! The simulated migrators keep the contract.

use std::time::Duration;

use fluidcloud_proto::Code;
use fluidcloud_proto::ids::DiskId;
use fluidcloud_proto::request::{RewriteRule, Transport};
use fluidcloud_proto::task::{Adaptation, Folding, Hardware, Rehearsed, TaskKey};
use fluidcloud_proto::topology::DiskFormat;
use fluidcloud_providers::memory::Guest;

use super::*;
use crate::conformance::{self, Case};

const SIZE: usize = 4096;

/// One kind of work on two fresh clouds.
struct Stage {
    name: &'static str,
    kind: MigratorKind,
    make: fn(&Scene) -> Work,
    scene: Mutex<Scene>,
}

#[derive(Clone)]
struct Scene {
    a: MemoryProvider,
    b: MemoryProvider,
    migrators: Vec<Arc<dyn Migrator>>,
    root: DiskPlace,
    volume: DiskPlace,
}

fn relocation() -> RelocationId {
    RelocationId(uuid::Uuid::from_u128(7))
}

fn disk(name: &str) -> DiskId {
    DiskId { component: "app".parse().unwrap(), disk: name.parse().unwrap() }
}

async fn scene(copied: bool) -> Scene {
    let root = Files::new(&[("/etc/shop.json", "data=/mnt/volume\n"), ("/bin/sh", "x")]).write(SIZE).unwrap();
    let volume = Files::new(&[("/one", "1"), ("/two", "2")]).write(SIZE).unwrap();
    let guest = Guest::new("shop").disk("sda", root.clone()).disk("sdb", volume.clone());
    let a = MemoryProvider::builder("a").guest(guest).build();
    let b = MemoryProvider::builder("b").witness(a.witness()).build();
    let mut places = Vec::new();
    for (name, bytes) in [("sda", &root), ("sdb", &volume)] {
        let order = DiskOrder {
            relocation: relocation(),
            disk: disk(name),
            size_bytes: SIZE as u64,
            expected_bytes: SIZE as u64,
            staging: name == "sdb",
            volume_type: None,
        };
        let place = b.create_disk(&order).await.unwrap();
        if copied {
            b.write_disk(&place, 0, bytes);
        }
        places.push(place);
    }
    let migrators = migrators(&[a.clone(), b.clone()]);
    Scene { a, b, migrators, root: places[0].clone(), volume: places[1].clone() }
}

fn guest_disk(name: &str, place: &DiskPlace) -> GuestDisk {
    let staging = name == "sdb";
    GuestDisk { disk: disk(name), place: place.clone(), guest_device: format!("/dev/{name}"), staging }
}

fn virtio() -> Hardware {
    Hardware {
        machine: "q35".into(),
        disk_bus: "virtio".into(),
        nic: "virtio".into(),
        format: DiskFormat::Raw,
    }
}

fn rule(pattern: &str) -> RewriteRule {
    RewriteRule { file: "/etc/shop.json".into(), pattern: pattern.into(), replace: "/srv".into() }
}

fn rewrite_order(scene: &Scene, pattern: &str) -> RewriteConfig {
    RewriteConfig { disks: vec![guest_disk("sda", &scene.root)], rules: vec![rule(pattern)] }
}

#[async_trait]
impl Case for Stage {
    fn name(&self) -> &str {
        self.name
    }

    fn migrator(&self) -> Arc<dyn Migrator> {
        lock(&self.scene).migrators.iter().find(|migrator| migrator.kind() == self.kind).unwrap().clone()
    }

    fn task(&self, epoch: Epoch) -> Task {
        let work = (self.make)(&lock(&self.scene));
        let step = StepId::Adapt("app".parse().unwrap());
        let key = TaskKey { relocation: relocation(), step, epoch };
        Task { key, kind: self.kind, site: "b".parse().unwrap(), lease_secs: 30, work }
    }

    async fn reset(&self) {
        let fresh = scene(self.name != "sync").await;
        *lock(&self.scene) = fresh;
    }

    async fn state(&self) -> Vec<u8> {
        let scene = lock(&self.scene).clone();
        [scene.b.disk_bytes(&scene.root), scene.b.disk_bytes(&scene.volume)]
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    }

    async fn untouched(&self) -> Vec<u8> {
        let scene = lock(&self.scene).clone();
        assert_eq!(scene.a.witness().illegal_acts(), Vec::<String>::new());
        let own = |name: &str| DiskPlace { path: format!("/own/shop-{name}"), format: DiskFormat::Raw };
        [scene.a.disk_bytes(&own("sda")), scene.a.disk_bytes(&own("sdb"))]
            .into_iter()
            .flatten()
            .flatten()
            .collect()
    }
}

async fn check(name: &'static str, kind: MigratorKind, make: fn(&Scene) -> Work) {
    let stage = Stage { name, kind, make, scene: Mutex::new(scene(false).await) };
    // Zero time lets it come to its first await; the clock stands still while it works.
    conformance::check(&stage, &[Duration::ZERO, Duration::from_millis(1)]).await;
}

#[tokio::test(start_paused = true)]
async fn preparing_keeps_the_contract() {
    check("prepare", MigratorKind::Image, |_| {
        let size_bytes = SIZE as u64;
        Work::PrepareDisk(PrepareDisk {
            disk: disk("sda"),
            source: None,
            size_bytes,
            expected_bytes: size_bytes,
            staging: false,
            volume_type: None,
        })
    })
    .await;
}

fn sync_work(scene: &Scene) -> Work {
    Work::SyncDisk(SyncDisk {
        disk: disk("sda"),
        size_bytes: SIZE as u64,
        source: "a".parse().unwrap(),
        from: DiskPlace { path: "/own/shop-sda".into(), format: DiskFormat::Raw },
        to: scene.root.clone(),
        transport: Transport::default(),
    })
}

#[tokio::test(start_paused = true)]
async fn syncing_keeps_the_contract() {
    check("sync", MigratorKind::Image, sync_work).await;
}

#[tokio::test(start_paused = true)]
async fn adapting_keeps_the_contract() {
    check("adapt", MigratorKind::Image, |scene| {
        let disks = vec![guest_disk("sda", &scene.root)];
        Work::AdaptGuest(AdaptGuest { disks, nics: Vec::new(), hardware: virtio() })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn folding_keeps_the_contract() {
    check("fold", MigratorKind::Volume, |scene| {
        Work::FoldVolume(FoldVolume {
            volume: guest_disk("sdb", &scene.volume),
            root: guest_disk("sda", &scene.root),
            into: "/srv/volume".into(),
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn rewriting_keeps_the_contract() {
    check("rewrite", MigratorKind::Rewrite, |scene| Work::RewriteConfig(rewrite_order(scene, "/mnt"))).await;
}

async fn perform(
    scene: &Scene,
    kind: MigratorKind,
    site: &str,
    work: Work,
    epoch: u64,
) -> Result<Output, Error> {
    let step = StepId::Adapt("app".parse().unwrap());
    let key = TaskKey { relocation: relocation(), step, epoch: Epoch(epoch) };
    let task = Task { key, kind, site: site.parse().unwrap(), lease_secs: 30, work };
    let migrator = scene.migrators.iter().find(|migrator| migrator.kind() == kind).unwrap();
    migrator.perform(&task, &Context::new().0).await
}

#[tokio::test]
async fn a_rehearsal_shows_the_diff_and_changes_nothing() {
    let scene = scene(true).await;
    let before = scene.b.disk_bytes(&scene.root);
    let rehearsed = rehearsed(&scene, rehearsal(&scene, "/srv/volume", rule("/mnt/volume"))).await.unwrap();
    assert_eq!((rehearsed.changes.len(), rehearsed.folded_bytes.as_slice()), (1, &[2_u64][..]));
    let diff = &rehearsed.files[0].diff;
    assert!(diff.contains("-data=/mnt/volume\n+data=/srv\n"), "{diff}");
    assert_eq!(scene.b.disk_bytes(&scene.root), before);
}

#[tokio::test]
async fn a_rehearsal_sees_what_the_steps_before_will_have_left() {
    let scene = scene(true).await;
    let folded = RewriteRule { file: "/srv/volume/one".into(), pattern: "1".into(), replace: "2".into() };
    assert_eq!(
        rehearsed(&scene, rehearsal(&scene, "/srv/volume", folded)).await.unwrap().files[0].matches,
        1
    );
    let adapted = RewriteRule { file: disk::HARDWARE.into(), pattern: "virtio".into(), replace: "x".into() };
    let refused = rehearsed(&scene, rehearsal(&scene, "/bin", adapted)).await.unwrap_err();
    assert_eq!(refused.to_failure().code, Code::NameTaken);
}

#[tokio::test]
async fn a_rehearsal_refuses_what_does_not_fit() {
    let scene = scene(true).await;
    let grown = RewriteRule { replace: "x".repeat(SIZE), ..rule("/mnt") };
    let refused = rehearsed(&scene, rehearsal(&scene, "/srv/volume", grown)).await.unwrap_err();
    assert_eq!(refused.to_failure().code, Code::NoRoom);
}

fn rehearsal(scene: &Scene, into: &str, rule: RewriteRule) -> RehearseGuest {
    RehearseGuest {
        disks: vec![guest_disk("sda", &scene.root), guest_disk("sdb", &scene.volume)],
        adapt: Some(Adaptation { nics: Vec::new(), hardware: virtio() }),
        folds: vec![Folding { volume: disk("sdb"), into: into.into() }],
        rules: vec![rule],
    }
}

async fn rehearsed(scene: &Scene, order: RehearseGuest) -> Result<Rehearsed, Error> {
    match perform(scene, MigratorKind::Rewrite, "b", Work::RehearseGuest(order), 1).await? {
        Output::Rehearsed(rehearsed) => Ok(rehearsed),
        other => panic!("not an answer to a rehearsal: {other:?}"),
    }
}

#[tokio::test]
async fn a_rule_that_matches_nothing_changes_nothing() {
    let scene = scene(true).await;
    let before = scene.b.disk_bytes(&scene.root);
    let work = Work::RewriteConfig(rewrite_order(&scene, "not there"));
    let error = perform(&scene, MigratorKind::Rewrite, "b", work, 1).await.unwrap_err();
    assert_eq!(error.to_failure().code, Code::NothingMatched);
    assert_eq!(scene.b.disk_bytes(&scene.root), before);
}

#[tokio::test]
async fn a_late_sync_of_an_older_epoch_is_fenced() {
    let scene = scene(false).await;
    perform(&scene, MigratorKind::Image, "b", sync_work(&scene), 3).await.unwrap();
    let late = perform(&scene, MigratorKind::Image, "b", sync_work(&scene), 2).await.unwrap_err();
    assert_eq!(late.to_failure().code, Code::Fenced);
}
