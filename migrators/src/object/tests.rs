//! Copies between simulated clouds: what arrives, what a repetition costs, and what is noticed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fluidcloud_proto::Code;
use fluidcloud_proto::alone::{ContainerCopied, CopyContainer, CopyImage, ImageCopied};
use fluidcloud_proto::ids::{Epoch, RelocationId};
use fluidcloud_proto::plan::{MigratorKind, StepId};
use fluidcloud_proto::request::Visibility;
use fluidcloud_proto::task::{Output, Task, TaskKey, Work};
use fluidcloud_providers::memory::{MemoryProvider, Op, md5_of};
use fluidcloud_providers::{ContainerOrder, Object, ObjectKind, ObjectStore, Registry, Segment};
use tokio::sync::Mutex;

use super::ObjectMigrator;
use crate::conformance::{self, Case};
use crate::error::Error;
use crate::migrator::{Context, Migrator};

/// Two clouds, and the work on them.
struct Stage {
    a: MemoryProvider,
    b: MemoryProvider,
    relocation: RelocationId,
    work: Work,
}

fn container() -> Work {
    Work::CopyContainer(CopyContainer {
        component: "photos".parse().unwrap(),
        source: "a".parse().unwrap(),
        from: "photos".into(),
        to: "pictures".into(),
    })
}

fn image() -> Work {
    Work::CopyImage(CopyImage {
        component: "base".parse().unwrap(),
        source: "a".parse().unwrap(),
        id: "debian".into(),
        name: "debian-12".into(),
        visibility: Visibility::Private,
    })
}

fn object(name: &str) -> Object {
    let headers = BTreeMap::from([
        ("content-type".to_owned(), "text/plain".to_owned()),
        ("x-object-meta-of".to_owned(), name.to_owned()),
    ]);
    Object { name: name.into(), bytes: 0, digest: String::new(), kind: ObjectKind::Plain, headers }
}

fn segment(container: &str, name: &str, bytes: &[u8]) -> Segment {
    let (digest, bytes) = (Some(md5_of(bytes)), Some(bytes.len() as u64));
    Segment::Object { container: container.into(), name: name.into(), digest, bytes, range: None }
}

impl Stage {
    fn new(work: Work) -> Self {
        let a = MemoryProvider::builder("a").build();
        a.seed_container("photos", &[("color", "blue")]);
        for number in 0..10_u8 {
            a.seed_object("photos", object(&format!("{number}/plain")), &[number + 1; 100], &[]);
        }
        a.seed_object("photos", object("empty"), b"", &[]);
        a.seed_container("photos_segments", &[]);
        a.seed_container("others", &[]);
        a.seed_object("photos_segments", object("big/1"), b"one", &[]);
        a.seed_object("photos_segments", object("big/2"), b"two", &[]);
        a.seed_object("others", object("wide/1"), b"three", &[]);
        a.seed_object("others", object("not ours"), b"four", &[]);
        let listed =
            [segment("photos_segments", "big/1", b"one"), segment("photos_segments", "big/2", b"two")];
        a.seed_object("photos", Object { kind: ObjectKind::Static, ..object("big") }, b"onetwo", &listed);
        let kind = ObjectKind::Dynamic { container: "others".into(), prefix: "wide/".into() };
        a.seed_object("photos", Object { kind, ..object("wide") }, b"", &[]);
        a.seed_image("debian", &(0..1000).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
        let b = MemoryProvider::builder("b").witness(a.witness()).build();
        Self { a, b, relocation: RelocationId(uuid::Uuid::from_u128(7)), work }
    }

    fn migrator(&self) -> ObjectMigrator {
        let registry = Registry::default().with(Arc::new(self.a.clone())).with(Arc::new(self.b.clone()));
        ObjectMigrator::new(Arc::new(registry))
    }

    fn task(&self, epoch: u64) -> Task {
        let (relocation, component) = (self.relocation, "it".parse().unwrap());
        Task {
            key: TaskKey { relocation, step: StepId::Copy(component), epoch: Epoch(epoch) },
            kind: MigratorKind::Object,
            site: "b".parse().unwrap(),
            lease_secs: 30,
            work: self.work.clone(),
        }
    }

    async fn perform(&self, epoch: u64) -> Result<Output, Error> {
        let (context, _progress) = Context::new();
        self.migrator().perform(&self.task(epoch), &context).await
    }

    async fn copied(&self, epoch: u64) -> ContainerCopied {
        match self.perform(epoch).await.unwrap() {
            Output::ContainerCopied(copied) => copied,
            other => panic!("{other:?}"),
        }
    }

    async fn image(&self) -> Result<ImageCopied, Error> {
        match self.perform(1).await? {
            Output::ImageCopied(copied) => Ok(copied),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_container_arrives_with_all_that_belongs_to_it() {
    let stage = Stage::new(container());
    let copied = stage.copied(1).await;
    let (source, target) = (stage.a.all_objects(), stage.b.all_objects());
    let names = |all: &BTreeMap<String, BTreeMap<String, _>>, of: &str| -> Vec<String> {
        all[of].keys().cloned().collect()
    };
    assert_eq!(names(&target, "pictures"), names(&source, "photos"));
    assert_eq!(names(&target, "pictures_segments"), ["big/1", "big/2"]);
    assert_eq!(names(&target, "others"), ["wide/1"], "only what its manifests lead to");
    for (name, (object, bytes)) in &source["photos"] {
        let (there, arrived) = &target["pictures"][name];
        assert_eq!((&there.digest, &there.headers), (&object.digest, &object.headers), "{name}");
        assert!(bytes == arrived || object.kind == ObjectKind::Static, "{name}");
    }
    let kind = ObjectKind::Dynamic { container: "others".into(), prefix: "wide/".into() };
    assert_eq!(target["pictures"]["wide"].0.kind, kind);
    let metadata = BTreeMap::from([("color".to_owned(), "blue".to_owned())]);
    assert_eq!(stage.b.container_metadata("pictures"), Some(metadata));
    assert_eq!((copied.objects, copied.copied, copied.manifests), (13, 16, 2));
    assert_eq!(copied.segment_containers, ["others", "pictures_segments"]);
    assert_eq!((copied.reused, copied.gone), (0, 0));
    assert!(copied.digested >= 13, "{copied:?}");
    assert_eq!(stage.b.witness().illegal_acts(), [] as [String; 0]);
}

#[tokio::test]
async fn what_is_there_is_not_written_again_and_what_is_new_is() {
    let stage = Stage::new(container());
    let first = stage.copied(1).await;
    let again = stage.copied(2).await;
    assert_eq!((again.copied, again.bytes_copied, again.digest), (0, 0, first.digest.clone()));
    stage.a.seed_object("photos", object("3/plain"), b"another", &[]);
    stage.a.seed_object("photos", object("new"), b"new", &[]);
    stage.a.seed_object("others", object("wide/2"), b"five", &[]);
    stage.a.unseed_object("photos", "4/plain");
    let later = stage.copied(3).await;
    assert_eq!((later.copied, later.gone, later.objects), (3, 1, 13));
    assert_ne!(later.digest, first.digest);
    let there = stage.b.all_objects();
    assert_eq!(&there["pictures"]["3/plain"].1[..], b"another");
    assert!(!there["pictures"].contains_key("4/plain") && there["others"].contains_key("wide/2"));
}

#[tokio::test]
async fn an_object_that_expires_soon_stays_and_one_that_expires_later_says_so_there_too() {
    let stage = Stage::new(container());
    for (name, at) in [("soon", "1000"), ("later", "4102444800")] {
        let mut expiring = object(name);
        expiring.headers.insert("x-delete-at".into(), at.into());
        stage.a.seed_object("photos", expiring, b"x", &[]);
    }
    let copied = stage.copied(1).await;
    let there = stage.b.all_objects();
    assert_eq!(there["pictures"]["later"].0.headers["x-delete-at"], "4102444800");
    assert!(!there["pictures"].contains_key("soon"));
    assert_eq!(copied.gone, 1);
}

#[tokio::test]
async fn somebody_elses_container_is_not_touched() {
    let stage = Stage::new(container());
    stage.b.seed_container("pictures", &[]);
    let refused = stage.perform(1).await.unwrap_err().to_failure();
    assert_eq!(refused.code, Code::NameTaken);
    assert!(stage.b.all_objects()["pictures"].is_empty());
    stage.b.remove_container(stage.relocation, "pictures").await.unwrap();
    assert!(stage.b.all_objects().contains_key("pictures"), "undo leaves it too");
}

#[tokio::test]
async fn undo_removes_the_container_with_those_of_its_segments_and_no_other() {
    let stage = Stage::new(container());
    stage.copied(1).await;
    let other = ContainerOrder {
        relocation: RelocationId::new(),
        epoch: Epoch(1),
        name: "theirs".into(),
        metadata: BTreeMap::new(),
        segments_of: None,
    };
    stage.b.make_container(&other).await.unwrap();
    for _ in 0..2 {
        stage.b.remove_container(stage.relocation, "pictures").await.unwrap();
        assert_eq!(stage.b.all_objects().keys().collect::<Vec<_>>(), ["theirs"]);
    }
}

#[tokio::test]
async fn a_manifest_that_leads_to_itself_is_an_error() {
    let stage = Stage::new(container());
    let to_itself = [segment("photos", "snake", b"")];
    stage.a.seed_object("photos", Object { kind: ObjectKind::Static, ..object("snake") }, b"x", &to_itself);
    let error = stage.perform(1).await.unwrap_err();
    assert!(matches!(error, Error::Object(super::Error::TooDeep { .. })) && !error.retryable(), "{error}");
}

#[tokio::test]
async fn an_image_is_compared_with_what_both_services_say() {
    let stage = Stage::new(image());
    let copied = stage.image().await.unwrap();
    assert_eq!((copied.name.as_str(), copied.bytes), ("debian-12", 1000));
    assert_eq!(copied.compared, ["source md5", "target md5"]);
    assert_eq!(stage.b.image_bytes("debian-12"), stage.a.image_bytes("debian"));
    let again = stage.image().await.unwrap();
    assert_eq!((again.digest, again.compared), (copied.digest, copied.compared), "read at the target");
}

#[tokio::test]
async fn an_image_that_is_not_what_its_service_says_is_not_kept() {
    let stage = Stage::new(image());
    stage.a.damage_image("debian");
    let failure = stage.image().await.unwrap_err().to_failure();
    assert_eq!(failure.code, Code::Corrupted);
    assert!(failure.message.contains("md5"), "{failure}");
    assert_eq!(stage.b.image_bytes("debian-12"), None, "the next attempt begins anew");
    assert!(stage.b.calls().iter().any(|call| call.op == Op::DeleteImage));
}

/// The contract of migrators.
struct Copying(&'static str, fn() -> Work, Mutex<Stage>);

#[async_trait]
impl Case for Copying {
    fn name(&self) -> &str {
        self.0
    }
    fn migrator(&self) -> Arc<dyn Migrator> {
        Arc::new(self.2.try_lock().expect("nobody else").migrator())
    }
    fn task(&self, epoch: Epoch) -> Task {
        self.2.try_lock().expect("nobody else").task(epoch.0)
    }
    async fn reset(&self) {
        *self.2.lock().await = Stage::new(self.1());
    }
    async fn state(&self) -> Vec<u8> {
        let stage = self.2.lock().await;
        format!("{:?} {:?}", stage.b.all_objects(), stage.b.image_bytes("debian-12")).into()
    }
    async fn untouched(&self) -> Vec<u8> {
        let stage = self.2.lock().await;
        format!("{:?} {:?}", stage.a.all_objects(), stage.a.image_bytes("debian")).into()
    }
}

#[tokio::test(start_paused = true)]
async fn both_kinds_of_work_keep_the_contract() {
    for kind in ["container", "image"] {
        let work = if kind == "image" { image } else { container };
        let case = Copying(kind, work, Mutex::new(Stage::new(work())));
        conformance::check(&case, &[Duration::ZERO]).await;
    }
}
