//! The contract of those who do the work, and the choice of the right one for a task.

use std::sync::Arc;

use async_trait::async_trait;
use fluidcloud_proto::ids::RelocationId;
use fluidcloud_proto::plan::MigratorKind;
use fluidcloud_proto::progress::TransferProgress;
use fluidcloud_proto::task::{Output, Task, Work};
use fluidcloud_proto::topology::DiskPlace;
use fluidcloud_providers::{Moment, Provider, Registry, Site};
use tokio::sync::watch;

use crate::binary::ViaductBinary;
use crate::error::Error;
use crate::image::ImageMigrator;
use crate::object::ObjectMigrator;
use crate::rewrite::RewriteMigrator;
use crate::volume::VolumeMigrator;
use crate::window::WindowSite;

/// One kind of work at a site.
///
/// - **Idempotent.** A task done twice is the same as once: `perform` that finds the work of an earlier attempt done
///   answers what that attempt would have answered; that finds it half done goes on or begins again from a state
///   that nobody else has seen.
/// - **Cancel-safe.** The future may be dropped at any await point, and the process killed at any instant. What it
///   had started at a site is ended; the disks are left so that the same task can be performed again.
/// - **Fenced.** `task.key.epoch` is recorded at the site before a disk is changed. Work of a lower epoch is ended
///   and, when it comes later, refused; work of the same or a higher epoch takes over.
/// - **The source is sacred.** Nothing is ever written to a disk of the source.
/// - Progress is told through the context as often as there is some; whoever listens keeps the newest.
#[async_trait]
pub trait Migrator: Send + Sync + std::fmt::Debug {
    fn kind(&self) -> MigratorKind;

    async fn perform(&self, task: &Task, context: &Context) -> Result<Output, Error>;

    /// After `perform` was dropped: returns when nothing of it runs at the site any more. Bounded by itself; an
    /// error means that it cannot be known.
    async fn halt(&self, task: &Task) -> Result<(), Error>;
}

/// What a migrator is given beside its task.
#[derive(Clone, Debug)]
pub struct Context {
    pub progress: Progress,
}

impl Context {
    pub fn new() -> (Self, watch::Receiver<Option<TransferProgress>>) {
        let (sender, receiver) = watch::channel(None);
        (Self { progress: Progress(sender) }, receiver)
    }
}

/// How far the work is; the newest wins.
#[derive(Clone, Debug)]
pub struct Progress(watch::Sender<Option<TransferProgress>>);

impl Progress {
    pub fn tell(&self, progress: TransferProgress) {
        self.0.send_replace(Some(progress));
    }
}

/// The migrators of one worker, one of each kind.
#[derive(Clone, Debug)]
pub struct Migrators(Vec<Arc<dyn Migrator>>);

impl Migrators {
    /// Those that work at real sites.
    pub fn new(registry: Arc<Registry>, viaduct: ViaductBinary) -> Self {
        Self(vec![
            Arc::new(ImageMigrator::new(registry.clone(), viaduct.clone())),
            Arc::new(VolumeMigrator::new(registry.clone(), viaduct.clone())),
            Arc::new(RewriteMigrator::new(registry.clone(), viaduct)),
            Arc::new(ObjectMigrator::new(registry)),
        ])
    }

    /// Those that are given, such as [`crate::memory::migrators`].
    pub fn of(migrators: Vec<Arc<dyn Migrator>>) -> Self {
        Self(migrators)
    }

    pub fn choose(&self, kind: MigratorKind) -> Result<Arc<dyn Migrator>, Error> {
        let found = self.0.iter().find(|migrator| migrator.kind() == kind);
        found.cloned().ok_or(Error::NoMigrator(kind))
    }
}

/// Disks at hand at a site of the provider.
pub(crate) async fn open(
    provider: &dyn Provider,
    relocation: RelocationId,
    places: impl IntoIterator<Item = &DiskPlace>,
    moment: Moment,
) -> Result<Arc<dyn Site>, Error> {
    if !provider.has_site() {
        return Err(Error::NoSite { provider: provider.id().to_string() });
    }
    let places: Vec<DiskPlace> = places.into_iter().cloned().collect();
    Ok(provider.open(relocation, &places, moment).await?)
}

/// Disks of a source at hand: where the provider lets nothing of ours run beside them, on this host, by way of images.
pub async fn open_source(
    provider: &dyn Provider,
    relocation: RelocationId,
    places: impl IntoIterator<Item = &DiskPlace>,
    moment: Moment,
) -> Result<Arc<dyn Site>, Error> {
    let places: Vec<&DiskPlace> = places.into_iter().collect();
    let Some(outlet) = provider.outlet(relocation).await? else {
        return open(provider, relocation, places, moment).await;
    };
    let mut windows = Vec::new();
    for place in places {
        windows.push((place.path.clone(), outlet.window(relocation, place, moment).await?));
    }
    Ok(Arc::new(WindowSite::open(provider.id(), outlet.dir(), windows).await?))
}

/// For messages: what a task asks for.
pub(crate) fn name_of(work: &Work) -> &'static str {
    match work {
        Work::PrepareDisk(_) => "prepare_disk",
        Work::SyncDisk(_) => "sync_disk",
        Work::AdaptGuest(_) => "adapt_guest",
        Work::FoldVolume(_) => "fold_volume",
        Work::RehearseGuest(_) => "rehearse_guest",
        Work::RewriteConfig(_) => "rewrite_config",
        Work::CopyImage(_) => "copy_image",
        Work::CopyContainer(_) => "copy_container",
    }
}
